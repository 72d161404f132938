//! One mirrored volume: what all threads that serve it share.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, Mode, OFlags, Statx};
use rustix::io::Errno;

use super::admission::Admission;
use super::attribute;
use super::handle_cache::{HandleCache, Holders};
use super::long_path::DEEPEST;
use super::node::{self, Node};
use super::number::NodeId;
use super::observer::{Action, Caller, Event, Observer};
use super::open_file::{OpenDirectory, OpenFile, OpenTable, is_mappable};
use super::open_handle::OpenHandle;
use super::provider::Provider;
use super::retry::Retries;
use super::sharing::Sharing;
use super::table::NodeTable;
use super::wire::{ROOT, Validity, write_entry, write_forgotten_attributes};

/// `OVERLAYFS_SUPER_MAGIC` (`linux/magic.h`).
const OVERLAY: rustix::fs::FsWord = 0x794c_7630;

/// How a volume is mirrored.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the volume lies in the mirror, begun with `/`; paths of events start with it.
    pub place: Vec<u8>,
    /// Further places in the mirror at which it lies, as bind mounts of the first. Which one a caller came through the
    /// kernel does not tell.
    pub further: Vec<Vec<u8>>,
    /// The only user and group of the session's user namespace; nothing where the session can act for
    /// any user.
    pub only_user: Option<(u32, u32)>,
    /// How long the kernel may remember names and attributes, for all volumes of the session. Names that lead
    /// nowhere are asked for each time.
    pub sharing: Arc<Sharing>,
    /// Whether callers without all rights may read only: the system has access rules that this process cannot
    /// check for them.
    pub closed_to_others: bool,
    /// How deep file systems are stacked below: 1 for one that lies on a device or in memory, 2 for an
    /// overlay.
    pub depth: u32,
    /// The descriptors that may be held for directories, of all volumes that share them.
    pub descriptors: Arc<Holders>,
    /// Whether the volume is mounted read-only. What is provided is read past this process then: no open for
    /// writing, which must go to the original, can meet one for reading.
    pub read_only: bool,
    /// Whether each read and write is to come to this process, which counts them: nothing goes past it, and nothing
    /// but programs and mappings is kept in the page cache.
    pub counts_bytes: bool,
}

/// A volume and what the kernel knows of it.
pub struct Volume {
    pub(super) device: Arc<OwnedFd>,
    pub(super) options: Options,
    pub(super) table: NodeTable,
    pub(super) handles: HandleCache,
    pub(super) files: OpenTable<OpenFile>,
    pub(super) directories: OpenTable<OpenDirectory>,
    pub(super) retries: Retries,
    /// The size of the root that the kernel was told last, which is of use where it is a file.
    pub(super) root_size: AtomicU64,
    /// Whether reads may go past this process; given up at the first refusal.
    pub(super) passthrough: AtomicBool,
    /// Whether the volume has access control lists.
    pub(super) acl: bool,
    /// Who serves what is read from elsewhere.
    pub(super) provider: Option<Arc<dyn Provider>>,
    /// Whether files become others when they are changed: an overlay copies them from its lower directories.
    copies: bool,
    observer: Option<Arc<dyn Observer>>,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Volume").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Volume {
    /// A volume: `device` is the open `/dev/fuse` that is or will be mounted, `root` the directory or file
    /// to mirror (`O_PATH` is enough).
    ///
    /// # Errors
    ///
    /// If the root cannot be looked at.
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
            passthrough: AtomicBool::new(false),
            acl,
            copies,
            options,
            provider: None,
            observer,
        })
    }

    /// What is opened for reading alone is asked of `provider` first.
    #[must_use]
    pub fn provided_by(mut self, provider: Arc<dyn Provider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The device, which is ready to be read while a request waits.
    pub fn device(&self) -> &OwnedFd {
        &self.device
    }

    /// How many files and directories are open whose closing has not been told.
    pub(crate) fn open_count(&self) -> usize {
        self.files.count() + self.directories.count()
    }

    /// The node of a number with a descriptor of it.
    pub(super) fn handle(&self, number: NodeId) -> Result<(Arc<Node>, Arc<OwnedFd>), Errno> {
        let node = self.table.node(number)?;
        let handle = self.reach(&node)?;
        Ok((node, handle))
    }

    /// The node's descriptor ([`HandleCache::open`]).
    pub(super) fn reach(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>, Errno> {
        self.with_room(|| self.handles.open(node))
    }

    /// Does something that takes a descriptor, once more where none was left: those that are held for speed,
    /// or so that open files outlive their names, are given back for it.
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

    /// The node's attributes, without opening it where its directory is at hand.
    pub(super) fn stat(&self, node: &Arc<Node>) -> Result<Statx, Errno> {
        let mut stat = match node.held() {
            Some(handle) => attribute::of_file(&*handle)?,
            // Where it was moved a moment ago, it is looked for.
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

    fn may_write(&self, node: &Arc<Node>) -> bool {
        let handle = self.reach(node);
        handle.is_ok_and(|handle| rustix::fs::access(self_path(&handle), Access::WRITE_OK).is_ok())
    }

    /// In a user namespace with one user, all other owners have no number, and the kernel lets nobody
    /// write to what they own. Where the user may write all the same (`/tmp`), the user is shown.
    fn show(&self, stat: &mut Statx, may_write: impl FnOnce() -> bool) {
        let Some((user, group)) = self.options.only_user else { return };
        let foreign = stat.stx_uid != user || stat.stx_gid != group;
        if foreign && attribute::kind(stat) != libc::S_IFLNK && (stat.stx_uid == user || may_write()) {
            (stat.stx_uid, stat.stx_gid) = (user, group);
        }
    }

    /// Looks at `name` in `parent`, counts a look-up of it and writes the answer.
    pub(super) fn answer_entry(
        &self,
        out: &mut Vec<u8>,
        parent: &Arc<Node>,
        directory: &OwnedFd,
        name: &[u8],
    ) -> Result<Arc<Node>, Errno> {
        // The kernel holds no lock of the directory where it only looks whether a name is still the same: what
        // is found must not be kept in mind after a move that came later.
        let look = || attribute::of_name(directory.as_fd(), name);
        let keep = |stat| (self.table.found(&stat, parent, name), stat);
        let (node, stat) = self.handles.between_moves(parent.number, look, keep)?;
        self.write_found(out, directory, name, &node, stat);
        Ok(node)
    }

    /// Counts a look-up of a node that was found by its number and writes the answer.
    pub(super) fn answer_node(&self, out: &mut Vec<u8>, node: &Arc<Node>) -> Result<(), Errno> {
        let stat = self.stat(node)?;
        self.table.found_again(node);
        write_entry(out, node.number, &stat, self.validity(node, &stat));
        Ok(())
    }

    /// The same for a thread that was sent back: it will meet what it finds now, whatever becomes of the name.
    pub(super) fn answer_retry(
        &self,
        out: &mut Vec<u8>,
        parent: &Arc<Node>,
        directory: &OwnedFd,
        name: &[u8],
        thread: u32,
    ) -> Result<Arc<Node>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let look = || {
            let file = self.with_room(|| rustix::fs::openat(directory, name, flags, Mode::empty()))?;
            Ok((attribute::of_file(&file)?, file))
        };
        let keep = |(stat, file)| (self.table.found(&stat, parent, name), stat, file);
        let (node, stat, file) = match self.handles.between_moves(parent.number, look, keep) {
            // It is found without one, and may be lost once more.
            Err(Errno::MFILE) => return self.answer_entry(out, parent, directory, name),
            found => found?,
        };
        if !node.is_directory()
            && !node.is_elsewhere()
            && !attribute::leaves_mount(directory, &file, &stat).unwrap_or(true)
        {
            node.hold(&Arc::new(file));
            self.retries.found(thread, &node);
        }
        self.write_found(out, directory, name, &node, stat);
        Ok(node)
    }

    fn write_found(
        &self,
        out: &mut Vec<u8>,
        directory: &OwnedFd,
        name: &[u8],
        node: &Arc<Node>,
        mut stat: Statx,
    ) {
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

    /// Admits one more open of the caller.
    pub(super) fn admit(&self, caller: Caller) -> Result<Admission, Errno> {
        // In a namespace of one user nobody else needs what the user takes.
        let user = if self.options.only_user.is_some() { 0 } else { caller.user };
        self.options.descriptors.admissions.admit(user)
    }

    /// The file's owner as it is now.
    pub(super) fn owner(&self, node: &Arc<Node>) -> Result<(u32, u32), Errno> {
        let stat = attribute::of_file(&*self.reach(node)?)?;
        Ok((stat.stx_uid, stat.stx_gid))
    }

    /// Sees to it that the kernel decides with the attributes that the node has now, which are returned.
    ///
    /// # Errors
    ///
    /// `ESTALE` where it may have decided with others: it asks for them, and tries again.
    pub(super) fn confirm(&self, node: &Arc<Node>) -> Result<node::AccessAttributes, Errno> {
        let now = node::AccessAttributes::of(&attribute::of_file(&*self.reach(node)?)?);
        if node.told().is_none_or(|told| told == now) {
            return Ok(now);
        }
        self.forget_attributes(node);
        // What the kernel decides with from here on it has yet to ask for.
        node.tell_access(now);
        Err(Errno::STALE)
    }

    /// The directories that a path to the node leads through and that have other attributes than the kernel knows, which
    /// is to ask for them.
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

    /// The kernel is to ask for the node's attributes before it uses them again.
    pub(super) fn forget_attributes(&self, node: &Node) {
        let mut message = Vec::new();
        write_forgotten_attributes(&mut message, node.number);
        // Where the kernel does not take it, it has no such node, or has been unmounted.
        let _ = rustix::io::write(&self.device, &message);
    }

    /// Whether callers without all rights may not write.
    pub(super) fn is_closed_to_others(&self) -> bool {
        self.options.closed_to_others
    }

    /// The file behind this descriptor was changed, or something in the directory: an overlay may have
    /// copied it, which shows as another device, number and time of birth of what is the same file.
    pub(super) fn changed(&self, node: &Node, handle: &OwnedFd) {
        if self.copies
            && let Ok(stat) = attribute::of_file(handle)
            && attribute::FileIdentity::of(&stat) != node.identity()
        {
            self.table.became(node, &stat);
        }
    }

    /// How long the kernel may remember the file. A file with several names is looked up each time, so
    /// that it is known by which name it is met.
    pub(super) fn validity(&self, node: &Node, stat: &Statx) -> Validity {
        let Validity { entry, attributes } = self.options.sharing.validity();
        // A store through a mapping changes the times below, and the kernel does not know of it.
        let is_mapped = node.with_opens(None, |opens| opens.passed > 0 && opens.mappable > 0);
        Validity {
            entry: if attribute::has_several_names(stat) { Duration::ZERO } else { entry },
            attributes: if is_mapped { Duration::ZERO } else { attributes },
        }
    }

    /// The same for a file that is going to be opened with these flags.
    pub(super) fn validity_of_opened(&self, node: &Node, stat: &Statx, flags: u32) -> Validity {
        let validity = self.validity(node, stat);
        let is_mapped = is_mappable(flags) && self.passthrough.load(Ordering::Relaxed);
        Validity { attributes: if is_mapped { Duration::ZERO } else { validity.attributes }, ..validity }
    }

    /// Whether anybody wants to be told.
    pub(super) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Tells the observer; `path` is only made where there is one.
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

    /// A path of this volume as a path of the whole mirror.
    pub(super) fn placed(&self, path: Vec<u8>) -> Vec<u8> {
        match (&*self.options.place, &*path) {
            (b"/", _) => path,
            (place, _) => placed_at(place, &path),
        }
    }

    /// All paths that a path of this volume has in the whole mirror.
    pub(super) fn all_placed(&self, path: Vec<u8>) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> =
            self.options.further.iter().map(|place| placed_at(place, &path)).collect();
        all.push(self.placed(path));
        all
    }

    /// Opens what a descriptor stands for, with these flags of open(2).
    pub(super) fn reopen(&self, handle: &OwnedFd, flags: u32) -> Result<OwnedFd, Errno> {
        // The mirror's pages need no alignment, and the link in /proc must be followed.
        let unwanted = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_DIRECT;
        let flags = flags & !(unwanted as u32) & !Action::EXECUTE;
        let flags = OFlags::from_bits_retain(flags) | OFlags::CLOEXEC;
        self.with_room(|| rustix::fs::open(self_path(handle), flags, Mode::empty()))
    }

    /// The file of an open, opened now where the kernel went past this process so far.
    pub(super) fn file_of<'a>(&self, open: &'a OpenFile) -> Result<&'a File, Errno> {
        open.file(|| {
            let handle = self.reach(&open.node)?;
            let file = self.reopen(&handle, open.flags).or_else(|error| match error {
                // It may only be appended to by now, which is not for what is open already.
                Errno::PERM => self.reopen(&handle, open.flags | libc::O_APPEND as u32),
                other => Err(other),
            });
            file.map(File::from)
        })
    }

    /// Reads go past this process no more, as the kernel refused it.
    pub(super) fn give_up_passthrough(&self) {
        self.passthrough.store(false, Ordering::Relaxed);
    }
}

/// A path of a volume that lies at this place.
fn placed_at(place: &[u8], path: &[u8]) -> Vec<u8> {
    if path == b"/" { place.to_vec() } else { [place, path].concat() }
}

/// The name of a descriptor in `/proc`, through which a file is reached again.
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
            rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("it is there")
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

    /// `/proc` is a mount of its own wherever tests run.
    #[test]
    fn what_is_mounted_in_a_volume_is_seen_closed_and_not_reached() {
        let volume = volume("/".as_ref());
        let root = volume.handles.open(&volume.table.root).expect("the root");
        volume.answer_entry(&mut Vec::new(), &volume.table.root, &root, b"proc").expect("it is there");
        let stat = attribute::of_name(root.as_fd(), b"proc").expect("a directory");
        let node = volume.table.known(&stat).expect("a node");
        let shown = volume.stat(&node).expect("it is shown");
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
        look().expect("it is there");
        let stat = rustix::fs::statx(CWD, path("a"), AtFlags::empty(), attribute::WANTED).expect("a file");
        let node = volume.table.known(&stat).expect("a node");
        std::thread::scope(|scope| {
            let moving = volume.handles.moving([ROOT; 2]);
            let looking = scope.spawn(look);
            std::thread::sleep(Duration::from_millis(50));
            std::fs::rename(path("a"), path("b")).expect("its new name");
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
        assert_eq!(look().map(drop), Ok(()), "for a moment it is waited for");
        drop((elsewhere, here));
    }
}
