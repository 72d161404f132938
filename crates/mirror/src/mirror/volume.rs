//! One mirrored volume: the state that all its threads share.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, Mode, OFlags, Statx};
use rustix::io::Errno;

use super::admission::Admission;
use super::attribute;
use super::cache::CachedVolume;
use super::handle_cache::{HandleCache, Holders};
use super::long_path::DEEPEST;
use super::node::{self, Node};
use super::number::NodeId;
use super::observer::{Action, Caller, Event, Observer};
use super::open_file::{OpenDirectory, OpenFile, OpenTable, is_mappable};
use super::open_handle::OpenHandle;
use super::retry::Retries;
use super::sharing::Sharing;
use super::table::NodeTable;
use super::wire::{ROOT, Validity, write_entry, write_forgotten_attributes};

/// `OVERLAYFS_SUPER_MAGIC` (`linux/magic.h`).
const OVERLAY: rustix::fs::FsWord = 0x794c_7630;

/// How a volume is mirrored.
#[derive(Clone, Debug)]
pub struct Options {
    /// The place of the volume in the mirror, which begins with `/`. Paths of events start with it.
    pub place: Vec<u8>,
    /// Further places of the volume in the mirror: bind mounts of the first. The kernel does not reveal which
    /// place a caller used.
    pub further: Vec<Vec<u8>>,
    /// The only user and group of the session's user namespace. `None` if the session can act for any user.
    pub only_user: Option<(u32, u32)>,
    /// The rules for how long the kernel may cache names and attributes, for all volumes of the session.
    /// Missing names are never cached.
    pub sharing: Arc<Sharing>,
    /// Whether callers without all rights may only read. This is so if the system has access rules that this
    /// process cannot check for them.
    pub closed_to_others: bool,
    /// The stacking depth of the file systems below: 1 for one on a device or in memory, 2 for an overlay.
    pub depth: u32,
    /// The limit on descriptors for directories, for all volumes that share it.
    pub descriptors: Arc<Holders>,
    /// Whether the volume is mounted read-only. Then reads of provided files bypass this process. An open for
    /// writing must use the original, and no such open can meet one for reading.
    pub read_only: bool,
    /// Whether every read and write is sent to this process, which counts the bytes. Nothing bypasses it, and
    /// the page cache holds only programs and mappings.
    pub counts_bytes: bool,
}

/// A volume and the kernel's knowledge about it.
pub struct Volume {
    pub(super) device: Arc<OwnedFd>,
    pub(super) options: Options,
    pub(super) table: NodeTable,
    pub(super) handles: HandleCache,
    pub(super) files: OpenTable<OpenFile>,
    pub(super) directories: OpenTable<OpenDirectory>,
    pub(super) retries: Retries,
    /// The size of the root in the last reply to the kernel. It is used only if the root is a file.
    pub(super) root_size: AtomicU64,
    /// The minor version of the kernel's protocol.
    pub(super) protocol: AtomicU32,
    /// Whether the kernel may bypass this process. It is false after the first refusal.
    pub(super) passthrough: AtomicBool,
    /// Whether the volume has access control lists.
    pub(super) acl: bool,
    /// The state of a cached volume.
    pub(super) cached: Option<CachedVolume>,
    /// This volume, for work in the background.
    pub(super) me: OnceLock<Weak<Self>>,
    /// Whether changes turn files into others: an overlay copies files from its lower directories.
    copies: bool,
    observer: Option<Arc<dyn Observer>>,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Volume").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Volume {
    /// Creates a volume. `device` is the open `/dev/fuse` that is or will be mounted. `root` is the directory
    /// or file to mirror (`O_PATH` is enough).
    ///
    /// # Errors
    ///
    /// If the attributes of the root cannot be read.
    pub fn new(
        device: OwnedFd,
        root: OwnedFd,
        options: Options,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, Errno> {
        let stat = attribute::of_file(&root)?;
        let acl = options.only_user.is_none() && has_access_lists(&root);
        let copies = rustix::fs::fstatfs(&root)?.f_type == OVERLAY;
        let handles = HandleCache::new(Arc::clone(&options.descriptors));
        Ok(Self {
            device: Arc::new(device),
            table: NodeTable::new(Node::root(ROOT, root, &stat)),
            handles,
            files: OpenTable::default(),
            directories: OpenTable::default(),
            retries: Retries::default(),
            root_size: AtomicU64::new(0),
            protocol: AtomicU32::new(0),
            passthrough: AtomicBool::new(false),
            acl,
            copies,
            options,
            cached: None,
            me: OnceLock::new(),
            observer,
        })
    }

    /// Returns the device, which is ready to be read while a request waits.
    pub fn device(&self) -> &OwnedFd {
        &self.device
    }

    /// Returns the number of open files and directories whose release has not been recorded.
    pub(crate) fn open_count(&self) -> usize {
        self.files.count() + self.directories.count()
    }

    /// Returns the node of a number with a descriptor of it.
    pub(super) fn handle(&self, number: NodeId) -> Result<(Arc<Node>, Arc<OwnedFd>), Errno> {
        let node = self.table.node(number)?;
        let handle = self.reach(&node)?;
        Ok((node, handle))
    }

    /// Returns the node's descriptor ([`HandleCache::open`]).
    pub(super) fn reach(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>, Errno> {
        self.with_room(|| self.handles.open(node))
    }

    /// Runs an action that needs a descriptor. If none is left, descriptors that are held only for speed, or
    /// so that open files outlive their names, are released and the action is repeated.
    pub(super) fn with_room<T>(&self, act: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        let result = act();
        if !matches!(result, Err(Errno::MFILE)) {
            return result;
        }
        OpenHandle::keep_no_more();
        self.files.all().iter().for_each(|open| open.node.give_back());
        self.handles.give_back();
        act()
    }

    /// Returns the node's attributes. The node is not opened if its directory has a descriptor.
    pub(super) fn stat(&self, node: &Arc<Node>) -> Result<Statx, Errno> {
        let mut stat = match node.held() {
            Some(handle) => attribute::of_file(&*handle)?,
            // The node may have been moved a moment ago, so it is searched for.
            None => self.stat_by_name(node).or_else(|error| match error {
                Errno::STALE | Errno::ACCESS => attribute::of_file(&*self.reach(node)?),
                other => Err(other),
            })?,
        };
        if node.is_elsewhere() {
            attribute::closed(&mut stat);
            node.tell(&stat);
            return Ok(stat);
        }
        self.show(&mut stat, || self.may_write(node));
        node.tell(&stat);
        if node.number == ROOT {
            self.root_size.store(stat.stx_size, Ordering::Relaxed);
        }
        Ok(stat)
    }

    fn stat_by_name(&self, node: &Arc<Node>) -> Result<Statx, Errno> {
        let (parent, name) = node.named_place().ok_or(Errno::STALE)?;
        let directory = self.reach(&parent)?;
        let stat = attribute::of_name(directory.as_fd(), &name).map_err(|error| match error {
            Errno::NOENT => Errno::STALE,
            other => other,
        })?;
        if attribute::FileIdentity::of(&stat) == node.identity() { Ok(stat) } else { Err(Errno::STALE) }
    }

    pub(super) fn may_write(&self, node: &Arc<Node>) -> bool {
        let handle = self.reach(node);
        handle.is_ok_and(|handle| rustix::fs::access(self_path(&handle), Access::WRITE_OK).is_ok())
    }

    /// Shows the user as the owner of files that the user may write anyway (`/tmp`). In a user namespace with
    /// one user, all other owners have no number, and the kernel lets nobody write to their files.
    pub(super) fn show(&self, stat: &mut Statx, may_write: impl FnOnce() -> bool) {
        let Some((user, group)) = self.options.only_user else { return };
        let foreign = stat.stx_uid != user || stat.stx_gid != group;
        // Access control lists show their rights to write in the bits of the group.
        let may_write = || stat.stx_mode & 0o022 != 0 && may_write();
        if foreign && attribute::kind(stat) != libc::S_IFLNK && (stat.stx_uid == user || may_write()) {
            (stat.stx_uid, stat.stx_gid) = (user, group);
        }
    }

    /// Looks up `name` in `parent`, counts the lookup and writes the reply.
    pub(super) fn answer_entry(
        &self,
        out: &mut Vec<u8>,
        parent: &Arc<Node>,
        directory: &OwnedFd,
        name: &[u8],
    ) -> Result<Arc<Node>, Errno> {
        let asked = Instant::now();
        // The kernel holds no lock of the directory when it only checks whether a name is still the same. The
        // result must not be stored after a later move.
        let look = || attribute::of_name(directory.as_fd(), name);
        let keep = |stat| (self.table.found(&stat, parent, name), stat);
        let (node, stat) = self.handles.between_moves(parent.number, look, keep)?;
        self.write_found(out, directory, name, &node, asked, stat);
        Ok(node)
    }

    /// Counts a lookup of a node that was found by its number and writes the reply.
    pub(super) fn answer_node(&self, out: &mut Vec<u8>, node: &Arc<Node>) -> Result<(), Errno> {
        let stat = self.stat(node)?;
        self.table.found_again(node);
        write_entry(out, node.number, &stat, self.validity(node, &stat));
        Ok(())
    }

    /// Like [`Self::answer_entry`], for a thread that retries. A descriptor holds the node, so the thread
    /// reaches it whatever happens to the name.
    pub(super) fn answer_retry(
        &self,
        out: &mut Vec<u8>,
        parent: &Arc<Node>,
        directory: &OwnedFd,
        name: &[u8],
        thread: u32,
    ) -> Result<Arc<Node>, Errno> {
        let asked = Instant::now();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let look = || {
            let file = self.with_room(|| rustix::fs::openat(directory, name, flags, Mode::empty()))?;
            Ok((attribute::of_file(&file)?, file))
        };
        let keep = |(stat, file)| (self.table.found(&stat, parent, name), stat, file);
        let (node, stat, file) = match self.handles.between_moves(parent.number, look, keep) {
            // The node is found without a descriptor and may be lost once more.
            Err(Errno::MFILE) => return self.answer_entry(out, parent, directory, name),
            found => found?,
        };
        if !node.is_directory()
            && !node.is_elsewhere()
            && !attribute::leaves_mount(directory, &file, &stat).unwrap_or(true)
        {
            if self.cached.is_some() {
                // Releasing it after the call would take it from others, too.
                self.hold(&node, &Arc::new(file));
            } else {
                node.hold(&Arc::new(file));
                self.retries.found(thread, &node);
            }
        }
        self.write_found(out, directory, name, &node, asked, stat);
        Ok(node)
    }

    fn write_found(
        &self,
        out: &mut Vec<u8>,
        directory: &OwnedFd,
        name: &[u8],
        node: &Arc<Node>,
        asked: Instant,
        mut stat: Statx,
    ) {
        if let Some(cached) = &self.cached
            && !node.is_elsewhere()
        {
            self.note(cached, node, &stat, asked, node.facts().ticket());
        }
        if node.is_elsewhere() {
            attribute::closed(&mut stat);
        } else {
            self.show(&mut stat, || {
                rustix::fs::accessat(directory, name, Access::WRITE_OK, AtFlags::empty()).is_ok()
            });
        }
        node.tell(&stat);
        write_entry(out, node.number, &stat, self.validity(node, &stat));
    }

    /// Admits another open of the caller.
    pub(super) fn admit(&self, caller: Caller) -> Result<Admission, Errno> {
        // In a namespace with one user, nobody else needs the descriptors that the user takes.
        let user = if self.options.only_user.is_some() { 0 } else { caller.user };
        self.options.descriptors.admissions.admit(user)
    }

    /// Returns the file's current owner.
    pub(super) fn owner(&self, node: &Arc<Node>) -> Result<(u32, u32), Errno> {
        let stat = attribute::of_file(&*self.reach(node)?)?;
        Ok((stat.stx_uid, stat.stx_gid))
    }

    /// Checks that the kernel decides with the node's current attributes, and returns them.
    ///
    /// # Errors
    ///
    /// If the kernel may have decided with others (`ESTALE`). It requests the attributes and tries again.
    pub(super) fn confirm(&self, node: &Arc<Node>) -> Result<node::AccessAttributes, Errno> {
        let (asked, ticket) = (Instant::now(), node.facts().ticket());
        let stat = attribute::of_file(&*self.reach(node)?)?;
        if let Some(cached) = &self.cached {
            // The kernel's next request is answered with these.
            self.note(cached, node, &stat, asked, ticket);
        }
        let now = node::AccessAttributes::of(&stat);
        if node.told().is_none_or(|told| told == now) {
            return Ok(now);
        }
        self.forget_attributes(node);
        // The kernel has yet to request the attributes with which it decides from here on.
        node.tell_access(now);
        Err(Errno::STALE)
    }

    /// Returns the directories on the way to the node whose attributes differ from those that the kernel
    /// knows. The kernel must request them again.
    pub(super) fn changed_above(&self, node: &Arc<Node>) -> Result<Vec<Arc<OwnedFd>>, Errno> {
        let mut changed = Vec::new();
        let mut above = node.named_place();
        for _ in 0..DEEPEST {
            let Some((parent, _)) = above else { break };
            if self.confirm(&parent) == Err(Errno::STALE) {
                changed.push(self.reach(&parent)?);
            }
            above = parent.named_place();
        }
        Ok(changed)
    }

    /// Makes the kernel request the node's attributes before it uses them again.
    pub(super) fn forget_attributes(&self, node: &Node) {
        let mut message = Vec::new();
        write_forgotten_attributes(&mut message, node.number);
        // A failure means that the kernel has no such node or has unmounted the volume.
        let _ = rustix::io::write(&self.device, &message);
    }

    /// Whether callers without all rights may not write.
    pub(super) fn is_closed_to_others(&self) -> bool {
        self.options.closed_to_others
    }

    /// Records a change of the file behind this descriptor, or of the directory's content. An overlay may
    /// have copied the file. The copy has another device, inode number and birth time, but is the same file.
    pub(super) fn changed(&self, node: &Node, handle: &OwnedFd) {
        if self.copies
            && let Ok(stat) = attribute::of_file(handle)
            && attribute::FileIdentity::of(&stat) != node.identity()
        {
            self.table.became(node, &stat);
        }
        self.change(node);
    }

    /// Returns how long the kernel may cache the file. A file with several names is looked up each time, so
    /// that the name in use is known.
    pub(super) fn validity(&self, node: &Node, stat: &Statx) -> Validity {
        let Validity { entry, attributes } = match &self.cached {
            Some(cached) => cached.validity(node, &self.options.sharing),
            None => self.options.sharing.validity(),
        };
        // A store through a mapping changes the times below without the kernel's knowledge.
        let is_mapped = node.with_opens(None, |opens| opens.passed > 0 && opens.mappable > 0);
        Validity {
            entry: if attribute::has_several_names(stat) && self.cached.is_none() {
                Duration::ZERO
            } else {
                entry
            },
            attributes: if is_mapped { Duration::ZERO } else { attributes },
        }
    }

    /// Like [`Self::validity`], for a file that is about to be opened with these flags.
    pub(super) fn validity_of_opened(&self, node: &Node, stat: &Statx, flags: u32) -> Validity {
        let validity = self.validity(node, stat);
        let is_mapped = is_mappable(flags) && self.passthrough.load(Ordering::Relaxed);
        Validity { attributes: if is_mapped { Duration::ZERO } else { validity.attributes }, ..validity }
    }

    /// Whether the volume has an observer.
    pub(super) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Notifies the observer. `path` is called only if there is one.
    pub(super) fn tell(
        &self,
        caller: Caller,
        path: impl FnOnce() -> Vec<u8>,
        action: Action<'_>,
        error: Option<Errno>,
    ) {
        if let Some(observer) = &self.observer {
            let path = self.placed(path());
            observer.observe(&Event { caller, path: &path, action, error });
        }
    }

    /// Returns a path of this volume as a path of the whole mirror.
    pub(super) fn placed(&self, path: Vec<u8>) -> Vec<u8> {
        match (&*self.options.place, &*path) {
            (b"/", _) => path,
            (place, _) => placed_at(place, &path),
        }
    }

    /// Returns all paths of the whole mirror for a path of this volume.
    pub(super) fn all_placed(&self, path: Vec<u8>) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> =
            self.options.further.iter().map(|place| placed_at(place, &path)).collect();
        all.push(self.placed(path));
        all
    }

    /// Opens the file behind a descriptor with these flags of open(2).
    pub(super) fn reopen(&self, handle: &OwnedFd, flags: u32) -> Result<OwnedFd, Errno> {
        // The mirror's pages need no alignment, and the link in /proc must be followed.
        let unwanted = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_DIRECT;
        let flags = flags & !(unwanted as u32) & !Action::EXECUTE;
        let flags = OFlags::from_bits_retain(flags) | OFlags::CLOEXEC;
        self.with_room(|| rustix::fs::open(self_path(handle), flags, Mode::empty()))
    }

    /// Returns the file of an open. If the kernel has bypassed this process so far, it is opened now.
    pub(super) fn file_of<'a>(&self, open: &'a OpenFile) -> Result<&'a File, Errno> {
        open.file(|| {
            let handle = self.reach(&open.node)?;
            let file = self.reopen(&handle, open.flags).or_else(|error| match error {
                // The file may have become append-only, which does not affect existing opens.
                Errno::PERM => self.reopen(&handle, open.flags | libc::O_APPEND as u32),
                other => Err(other),
            });
            file.map(File::from)
        })
    }

    /// Stops passthrough after the kernel has refused it.
    pub(super) fn give_up_passthrough(&self) {
        self.passthrough.store(false, Ordering::Relaxed);
    }
}

/// Returns a path of a volume that is mounted at this place.
fn placed_at(place: &[u8], path: &[u8]) -> Vec<u8> {
    if path == b"/" { place.to_vec() } else { [place, path].concat() }
}

/// Returns the name of a descriptor in `/proc`, through which the file can be opened again.
pub(super) fn self_path(file: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn has_access_lists(root: &OwnedFd) -> bool {
    let mut none = [0_u8; 0];
    let answer = rustix::fs::getxattr(self_path(root), c"system.posix_acl_access", &mut none[..]);
    matches!(answer, Ok(_) | Err(Errno::NODATA | Errno::RANGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    fn volume(directory: &std::path::Path) -> Volume {
        let open = |path: &std::path::Path| {
            rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the file exists")
        };
        let options = Options {
            place: b"/".to_vec(),
            further: Vec::new(),
            only_user: None,
            sharing: Sharing::new(Duration::ZERO),
            closed_to_others: false,
            depth: 1,
            descriptors: Holders::new(16),
            read_only: false,
            counts_bytes: false,
        };
        Volume::new(open("/dev/null".as_ref()), open(directory), options, None).expect("a volume")
    }

    /// `/proc` is a separate mount on every machine that runs the tests.
    #[test]
    fn what_is_mounted_in_a_volume_is_seen_closed_and_not_reached() {
        let volume = volume("/".as_ref());
        let root = volume.handles.open(&volume.table.root).expect("the root");
        volume.answer_entry(&mut Vec::new(), &volume.table.root, &root, b"proc").expect("the file exists");
        let stat = attribute::of_name(root.as_fd(), b"proc").expect("a directory");
        let node = volume.table.known(&stat).expect("a node");
        let shown = volume.stat(&node).expect("the attributes are shown");
        assert_eq!((u32::from(shown.stx_mode), shown.stx_size), (libc::S_IFDIR, 0));
        assert_eq!(volume.handle(node.number).err(), Some(Errno::ACCESS));
        let retry = volume.answer_retry(&mut Vec::new(), &volume.table.root, &root, b"proc", 1).map(drop);
        assert_eq!((retry, volume.reach(&node).err()), (Ok(()), Some(Errno::ACCESS)));
    }

    #[test]
    fn who_looks_at_a_name_waits_for_the_move_that_is_under_way() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a"), "").expect("a file");
        let volume = volume(directory.path());
        let root = volume.handles.open(&volume.table.root).expect("the root");
        let look = || volume.answer_entry(&mut Vec::new(), &volume.table.root, &root, b"a");
        look().expect("the file exists");
        let stat = rustix::fs::statx(CWD, path("a"), AtFlags::empty(), attribute::WANTED).expect("a file");
        let node = volume.table.known(&stat).expect("a node");
        std::thread::scope(|scope| {
            let moving = volume.handles.moving([ROOT; 2]);
            let looking = scope.spawn(look);
            std::thread::sleep(Duration::from_millis(50));
            std::fs::rename(path("a"), path("b")).expect("a rename");
            node.moved(&volume.table.root, b"b");
            drop(moving);
            assert_eq!(looking.join().expect("no panic").map(drop), Err(Errno::NOENT));
        });
        assert_eq!(node.path(), b"/b");
    }

    #[test]
    fn a_move_that_is_kept_waiting_keeps_nobody_else() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("d")).expect("a directory");
        std::fs::write(directory.path().join("a"), "").expect("a file");
        let volume = volume(directory.path());
        let root = volume.handles.open(&volume.table.root).expect("the root");
        let look = || volume.answer_entry(&mut Vec::new(), &volume.table.root, &root, b"a");
        // Its system call waits for somebody who holds the directory.
        let elsewhere = volume.handles.moving([NodeId(4711); 2]);
        assert_eq!(look().map(drop), Ok(()));
        let here = volume.handles.moving([ROOT; 2]);
        assert_eq!(look().map(drop), Ok(()), "a lookup waits for the move for a moment");
        drop((elsewhere, here));
    }
}
