//! The mirror at a directory of the original mount namespace, at which other processes reach it.
//!
//! Unlike the mounts inside, these mounts do not vanish with a process. The process of the command makes them. The
//! supervisor unmounts them, or the server does if the supervisor was killed. All three recognise the mounts by their
//! source in the mount table, which is unique to this run. If the mirror could not be mounted, or somebody unmounted
//! it, nothing at the directory belongs to this run, and no process there is killed. The directory itself is removed
//! only if this run created it, nothing is mounted on it and it is empty.
//!
//! The directory is opened once. Mounting and unmounting use its descriptor. If the directory or a directory above it
//! is renamed, the mirror moves along.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::Error;
use super::mount_table::{Device, Mount, lies_in, parse, parse_all};
use super::namespace_processes;
use super::plan::is_mirror;
use super::walk;

/// The path of `/proc` in the namespace of the directory.
const PROCESS: &str = "/proc";

/// A mount namespace and the root of a process in it.
#[derive(Debug)]
pub(super) struct MountNamespace {
    mounts: OwnedFd,
    root: OwnedFd,
}

impl MountNamespace {
    /// The namespace and root of this process.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub(super) fn current() -> io::Result<Self> {
        let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { mounts: open("/proc/self/ns/mnt", OFlags::RDONLY)?, root: open("/", OFlags::PATH)? })
    }

    /// Enters the namespace. The working directory becomes its root. This thread must not share its root with others.
    ///
    /// # Errors
    ///
    /// Those of setns(2) and chroot(2).
    pub(super) fn enter(&self) -> io::Result<()> {
        use std::os::fd::AsFd as _;
        move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        fchdir(&self.root)?;
        Ok(chroot(".")?)
    }

    /// The root.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Copies of the descriptors of the namespace and the root.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub(super) fn keys(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([self.mounts.try_clone()?, self.root.try_clone()?])
    }

    /// Runs an action in the namespace, in a separate thread.
    ///
    /// # Errors
    ///
    /// Those of unshare(2), setns(2), chroot(2) and of the action.
    pub(super) fn there<T: Send>(&self, action: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread =
                std::thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, || {
                    compat_sys::unshare_directory_and_mask()?;
                    self.enter()?;
                    action()
                })?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("an internal thread failed")))
        })
    }
}

/// The directory and its namespace.
#[derive(Debug)]
pub(super) struct ExternalMount {
    namespace: MountNamespace,
    /// The path of the directory when it was opened.
    place: PathBuf,
    mount_directory: MountDirectory,
    /// The source of the mounts of this run in the mount table, unique to the run.
    mark: String,
    /// Whether the mirror was unmounted.
    left: AtomicBool,
}

/// A directory that was opened once, and one of its names.
#[derive(Debug)]
struct MountDirectory {
    directory: OwnedFd,
    /// The parent directory of the name, and the name.
    parent: OwnedFd,
    name: OsString,
    /// Whether this run created it.
    made: bool,
}

/// How often and in which interval to check for a mount of another run that covers the mirror.
const OVER: (u32, Duration) = (100, Duration::from_millis(10));

impl ExternalMount {
    /// Prepares the directory. If it does not exist, it is created with access for this user only. `namespace` is the
    /// mount namespace for the mirror, which this process is still in. `table` is its mount table.
    ///
    /// # Errors
    ///
    /// If the directory cannot hold a mirror: it is not a directory, is not empty, is a mount point, or another user
    /// may have created it in a directory that everyone can write to.
    pub(super) fn new(place: &Path, namespace: MountNamespace, table: &[u8]) -> Result<Self, Error> {
        let failed = |source| Error::MountPath { path: place.to_owned(), source };
        let mount_directory = MountDirectory::open(place).map_err(failed)?;
        let (place, left) = (mount_directory.place().map_err(failed)?, AtomicBool::new(false));
        let outside = Self { namespace, place, mount_directory, mark: mark(), left };
        if let Err(source) = outside.assert_free(table) {
            outside.discard();
            return Err(failed(source));
        }
        Ok(outside)
    }

    fn assert_free(&self, table: &[u8]) -> io::Result<()> {
        let place = self.place.as_os_str().as_bytes();
        if parse(table).iter().any(|mount| lies_in(&mount.place, place)) {
            return Err(io::Error::other("a file system is already mounted there"));
        }
        match fs::read_dir(self.mount_directory.path())?.next() {
            None => Ok(()),
            Some(_) => Err(io::Error::from_raw_os_error(libc::ENOTEMPTY)),
        }
    }

    /// The path of the directory when it was opened.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// The directory under the mirror.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.mount_directory.directory
    }

    /// Opens the root of the mirror, which this thread has just mounted on the directory.
    ///
    /// # Errors
    ///
    /// `ESTALE` if the name of the directory now leads elsewhere.
    pub(super) fn root(&self) -> io::Result<OwnedFd> {
        let root = self.mount_directory.open_name()?;
        let stat = walk::look(&root)?;
        let device = (stat.stx_dev_major, stat.stx_dev_minor);
        if self.own_mounts()?.iter().any(|mount| mount.device == device) {
            return Ok(root);
        }
        Err(io::Error::from_raw_os_error(libc::ESTALE))
    }

    /// Opens a place of the root in the namespace of the directory, which this thread is in. It must be the same file
    /// as `known`.
    ///
    /// # Errors
    ///
    /// `ESTALE` if it is a different file.
    pub(super) fn find(&self, place: &[u8], known: &OwnedFd) -> io::Result<OwnedFd> {
        walk::open_known(&self.namespace.root, place, known)
    }

    /// Enters the namespace of the directory.
    ///
    /// # Errors
    ///
    /// Those of setns(2) and chroot(2).
    pub(super) fn enter(&self) -> io::Result<()> {
        self.namespace.enter()
    }

    /// The source of these mounts in the mount table.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Checks that the mirror, which this thread has just mounted, is directly on the directory. Another run may have
    /// used the same directory at the same time.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the mirror covers another mount.
    pub(super) fn assert_first(&self) -> io::Result<()> {
        let mounts = parse_all(&fs::read("/proc/thread-self/mountinfo")?);
        let below = |mount: &Mount| {
            mounts.iter().any(|other| other.number == mount.parent && other.place == mount.place)
        };
        if mounts.iter().any(|mount| self.is_own(mount) && below(mount)) {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        Ok(())
    }

    /// Whether this run made this mount, wherever it is now: the root of the mirror or another volume.
    fn is_own(&self, mount: &Mount) -> bool {
        is_mirror(mount) && mount.source == self.mark.as_bytes()
    }

    /// The mounts of this run in the namespace of the directory, which this thread is in.
    fn own_mounts(&self) -> io::Result<Vec<Mount>> {
        let mounts = parse_all(&fs::read("/proc/thread-self/mountinfo")?);
        Ok(mounts.into_iter().filter(|mount| self.is_own(mount)).collect())
    }

    /// The processes with the mirror as their root (chroot(2)), except for this one and those in `spared`.
    pub(super) fn inhabitants(&self, spared: &[Pid]) -> Vec<Pid> {
        self.there(|| {
            let devices = self.own_mounts()?.iter().map(|mount| mount.device).collect::<Vec<Device>>();
            Ok(namespace_processes::rooted_in(&devices, spared))
        })
        .unwrap_or_default()
    }

    /// Kills all processes with the mirror as their root, and waits until they are gone.
    pub(super) fn end_all(&self) {
        namespace_processes::kill_all(|| self.inhabitants(&[]));
    }

    /// Unmounts the mirror, then removes the directory if this run created it. A second call does nothing.
    ///
    /// # Errors
    ///
    /// If the mirror is still mounted. The directory is kept in this case.
    pub(super) fn leave(&self) -> io::Result<()> {
        if self.left.load(Ordering::Acquire) {
            return Ok(());
        }
        self.there(|| {
            while self.is_mounted()? {
                // The name in `/proc` leads to the directory, and from there to the mount that covers it (umount(2)).
                unmount(self.mount_directory.path(), UnmountFlags::DETACH)?;
            }
            self.mount_directory.remove();
            Ok(())
        })?;
        self.left.store(true, Ordering::Release);
        Ok(())
    }

    /// Removes the directory if this run created it and nothing was mounted.
    pub(super) fn discard(&self) {
        self.mount_directory.remove();
        self.left.store(true, Ordering::Release);
    }

    /// Whether the mirror is the topmost mount at the directory. A mount that covers it gets some time to vanish.
    fn is_mounted(&self) -> io::Result<bool> {
        for _ in 0..OVER.0 {
            let place = self.mount_directory.place()?;
            let table = fs::read("/proc/thread-self/mountinfo")?;
            let own = |mount: &Mount| self.is_own(mount) && mount.place == place.as_os_str().as_bytes();
            // If the directory was renamed meanwhile, the table shows its mount elsewhere.
            let is_still = self.mount_directory.place()? == place;
            if is_still && parse(&table).iter().any(own) {
                return Ok(true);
            }
            if is_still && !parse_all(&table).iter().any(own) {
                return Ok(false);
            }
            std::thread::sleep(OVER.1);
        }
        Err(io::Error::other("another file system is mounted over it"))
    }

    /// Runs an action in the namespace of the directory, in a separate thread.
    fn there<T: Send>(&self, action: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        self.namespace.there(action)
    }
}

impl MountDirectory {
    /// Opens a directory, or creates it.
    fn open(place: &Path) -> io::Result<Self> {
        // A path that does not end in a name (`..`) can only be an existing directory.
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
            return Self::found(open_directory(CWD, place)?);
        };
        let parent =
            open_directory(CWD, if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        let made = match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&parent, name, step, Mode::empty())?;
        let stat = walk::look(&directory)?;
        if !walk::is_trusted(&walk::look(&parent)?, &stat) {
            return Err(not_ours());
        }
        if !made && walk::kind(&stat) == FileType::Symlink {
            // The link is read through its descriptor, so nobody can replace it meanwhile.
            let target = rustix::fs::readlinkat(&directory, c"", Vec::new())?;
            return Self::found(open_directory(&parent, Path::new(OsStr::from_bytes(target.as_bytes())))?);
        }
        if walk::kind(&stat) != FileType::Directory {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        Ok(Self { directory, parent, name: name.to_owned(), made })
    }

    /// A directory that already existed.
    fn found(directory: OwnedFd) -> io::Result<Self> {
        let place = fs::read_link(walk::path_of(Path::new(PROCESS), &directory))?;
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        };
        let root = open_directory(CWD, Path::new("/"))?;
        let parent = walk::open(root, parent.as_os_str().as_bytes())?;
        if !walk::is_trusted(&walk::look(&parent)?, &walk::look(&directory)?) {
            return Err(not_ours());
        }
        let mount_directory = Self { directory, parent, name: name.to_owned(), made: false };
        if mount_directory.is_named() {
            Ok(mount_directory)
        } else {
            Err(io::Error::from_raw_os_error(libc::ESTALE))
        }
    }

    /// The path of the directory for system calls that do not take a descriptor.
    fn path(&self) -> PathBuf {
        walk::path_of(Path::new(PROCESS), &self.directory)
    }

    /// The current path of the directory.
    fn place(&self) -> io::Result<PathBuf> {
        fs::read_link(self.path())
    }

    /// Opens the directory by its name, without following a link.
    fn open_name(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.parent, &self.name, flags, Mode::empty())?)
    }

    /// Whether the name leads to this directory, and not to a mount on it.
    fn is_named(&self) -> bool {
        let of = |file: &OwnedFd| walk::look(file).map(|stat| walk::identity(&stat));
        self.open_name().and_then(|named| Ok(of(&named)? == of(&self.directory)?)).unwrap_or(false)
    }

    /// Removes the directory if this run created it, nothing is mounted on it and it is empty. It can be busy for a
    /// short time while another run binds the directory above it.
    fn remove(&self) {
        for _ in 0..100 {
            if !self.made || !self.is_named() {
                return;
            }
            match rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR) {
                Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
    }
}

fn open_directory(at: impl std::os::fd::AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

fn not_ours() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it belongs to another user, and everyone can write to its directory",
    )
}

/// A source that is unique to the mounts of this run.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("compat-{}-{:x}", std::process::id(), now.as_nanos())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    const TABLE: &[u8] = b"27 1 0:1 / / rw - ext4 a rw\n";

    fn here() -> MountNamespace {
        MountNamespace::current().expect("a namespace")
    }

    fn open(place: &Path) -> Result<ExternalMount, Error> {
        ExternalMount::new(place, here(), TABLE)
    }

    #[test]
    fn a_missing_directory_is_made_and_can_be_discarded() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("new");
        let outside = open(&place).expect("it is made");
        assert!(place.is_dir() && outside.mount_directory.made);
        assert_eq!(outside.place(), place.canonicalize().expect("it is there"));
        outside.discard();
        assert!(!place.exists());
    }

    #[test]
    fn what_is_in_use_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = |table: &[u8]| {
            ExternalMount::new(directory.path(), here(), table).expect_err("it is refused").to_string()
        };
        let table =
            [TABLE, format!("30 27 0:2 / {} rw - tmpfs t rw\n", directory.path().display()).as_bytes()]
                .concat();
        assert_eq!(error(&table), format!("could not mount the mirror at {}", directory.path().display()));
        fs::write(directory.path().join("file"), "").expect("a file");
        error(TABLE);
        assert!(open(&directory.path().join("file")).is_err());
        assert!(open(&directory.path().join("no/directory")).is_err());
    }

    #[test]
    fn a_link_of_ones_own_is_followed_and_its_target_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().canonicalize().expect("it is there").join("real");
        fs::create_dir(&real).expect("a directory");
        symlink("real", directory.path().join("link")).expect("a link");
        let outside = open(&directory.path().join("link")).expect("it is followed");
        assert_eq!((outside.place(), outside.mount_directory.made), (&*real, false));
        outside.discard();
        assert!(real.is_dir());
    }

    #[test]
    fn what_somebody_else_has_put_where_everybody_may_write_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("empty")).expect("a directory");
        fs::create_dir(directory.path().join("sticky")).expect("a directory");
        let sticky = directory.path().join("sticky");
        fs::create_dir(sticky.join("theirs")).expect("a directory");
        symlink(directory.path().join("empty"), sticky.join("link")).expect("a link");
        let both = || [open(&sticky.join("theirs")).is_ok(), open(&sticky.join("link")).is_ok()];
        fs::set_permissions(&sticky, fs::Permissions::from_mode(0o1777)).expect("it is ours");
        assert_eq!(both(), [true, true]);
        chown(sticky.join("theirs"), Some(1234), None).expect("it is ours");
        std::os::unix::fs::lchown(sticky.join("link"), Some(1234), None).expect("it is ours");
        assert_eq!(both(), [false, false]);
    }

    #[test]
    fn one_that_was_renamed_is_known_and_what_took_its_name_is_not_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().canonicalize().expect("it is there");
        let outside = open(&real.join("new")).expect("it is made");
        fs::rename(real.join("new"), real.join("moved")).expect("it is ours");
        symlink("/etc", real.join("new")).expect("a link");
        assert_eq!(outside.mount_directory.place().expect("it is there"), real.join("moved"));
        assert!(outside.root().is_err());
        fs::remove_file(real.join("new")).expect("it is ours");
        fs::create_dir(real.join("new")).expect("a directory");
        outside.discard();
        assert!(real.join("new").is_dir() && real.join("moved").is_dir());
    }
}
