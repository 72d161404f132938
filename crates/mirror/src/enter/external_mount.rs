//! The mirror where others reach it: at a directory of the mount namespace that this process came from.
//!
//! The mounts there do not vanish with a process as those inside do. They are made by the command's
//! process and taken away by the supervisor, or by the server where that was killed. All three know them by
//! their source in the mount table, which no other run has: where the mirror could not be mounted, or
//! somebody has unmounted it, nothing there is this run's, and nobody there is ended. The directory itself is
//! removed only where it was made here, nothing is mounted on it any more and it is empty.
//!
//! The directory is opened once, and mounted on and unmounted by its descriptor: whoever renames it, or what it
//! lies in, moves the mirror along.

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

/// Where `/proc` is in the namespace of the directory.
const PROCESS: &str = "/proc";

/// A mount namespace, and the root that a process has in it.
#[derive(Debug)]
pub(super) struct MountNamespace {
    mounts: OwnedFd,
    root: OwnedFd,
}

impl MountNamespace {
    /// That of this process.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub(super) fn current() -> io::Result<Self> {
        let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { mounts: open("/proc/self/ns/mnt", OFlags::RDONLY)?, root: open("/", OFlags::PATH)? })
    }

    /// Enters it; the working directory is its root then. This thread must have a root of its own.
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
}

/// The directory, and the namespace that it is in.
#[derive(Debug)]
pub(super) struct ExternalMount {
    namespace: MountNamespace,
    /// Where it was when it was opened.
    place: PathBuf,
    mount_directory: MountDirectory,
    /// The source of this run's mirror there in the mount table, which no other run's has.
    mark: String,
    /// Whether the mirror was taken away.
    left: AtomicBool,
}

/// A directory that was opened once, and a name of it.
#[derive(Debug)]
struct MountDirectory {
    directory: OwnedFd,
    /// Where its name is, and the name.
    parent: OwnedFd,
    name: OsString,
    /// Whether it was made here.
    made: bool,
}

/// How long it is waited for what another run has mounted over the mirror to go away, and how often looked.
const OVER: (u32, Duration) = (100, Duration::from_millis(10));

impl ExternalMount {
    /// Makes the directory ready; it is made, for this user alone, where it is missing. `namespace` is where the
    /// mirror is to be mounted, which this process is still in, and `table` the mounts there.
    ///
    /// # Errors
    ///
    /// If it can be no place for a mirror: it is no directory, is not empty, something is mounted on it, or
    /// somebody else may have put it where everybody may write.
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
            return Err(io::Error::other("something is mounted there already"));
        }
        match fs::read_dir(self.mount_directory.path())?.next() {
            None => Ok(()),
            Some(_) => Err(io::Error::from_raw_os_error(libc::ENOTEMPTY)),
        }
    }

    /// Where it was when it was opened.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// The directory below the mirror.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.mount_directory.directory
    }

    /// Opens the root of the mirror, which this thread has just mounted on the directory.
    ///
    /// # Errors
    ///
    /// `ESTALE` where the directory's name leads elsewhere by now.
    pub(super) fn root(&self) -> io::Result<OwnedFd> {
        let root = self.mount_directory.open_name()?;
        let stat = walk::look(&root)?;
        let device = (stat.stx_dev_major, stat.stx_dev_minor);
        if self.own_mounts()?.iter().any(|mount| mount.device == device) {
            return Ok(root);
        }
        Err(io::Error::from_raw_os_error(libc::ESTALE))
    }

    /// Opens a place of the root in the namespace of the directory, which this thread is in: the same file as
    /// `known`.
    ///
    /// # Errors
    ///
    /// `ESTALE` where it is another one.
    pub(super) fn find(&self, place: &[u8], known: &OwnedFd) -> io::Result<OwnedFd> {
        let found = walk::open(&self.namespace.root, place)?;
        let of = |file: &OwnedFd| walk::look(file).map(|stat| walk::identity(&stat));
        if of(&found)? == of(known)? { Ok(found) } else { Err(io::Error::from_raw_os_error(libc::ESTALE)) }
    }

    /// Enters the namespace of the directory.
    ///
    /// # Errors
    ///
    /// Those of setns(2) and chroot(2).
    pub(super) fn enter(&self) -> io::Result<()> {
        self.namespace.enter()
    }

    /// The source that the mount table shows for the mounts there.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Sees to it that the mirror that was just mounted, by this thread, lies right on the directory: another run
    /// may have chosen the same one at the same time.
    ///
    /// # Errors
    ///
    /// `EBUSY` where it lies on something that is mounted there.
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

    /// Whether this run has mounted it there, the root of the mirror or another volume, wherever it is by now.
    fn is_own(&self, mount: &Mount) -> bool {
        is_mirror(mount) && mount.source == self.mark.as_bytes()
    }

    /// The mounts of this run in the namespace of the directory, which this thread is in.
    fn own_mounts(&self) -> io::Result<Vec<Mount>> {
        let mounts = parse_all(&fs::read("/proc/thread-self/mountinfo")?);
        Ok(mounts.into_iter().filter(|mount| self.is_own(mount)).collect())
    }

    /// The processes that have the mirror as their root, entered by chroot(2), but for this one and those in
    /// `spared`.
    pub(super) fn inhabitants(&self, spared: &[Pid]) -> Vec<Pid> {
        self.there(|| {
            let devices = self.own_mounts()?.iter().map(|mount| mount.device).collect::<Vec<Device>>();
            Ok(namespace_processes::rooted_in(&devices, spared))
        })
        .unwrap_or_default()
    }

    /// Kills those who have the mirror as their root, and waits until they are gone.
    pub(super) fn end_all(&self) {
        namespace_processes::kill_all(|| self.inhabitants(&[]));
    }

    /// Takes the mounts away, and then the directory where it was made here. Called again it does nothing.
    ///
    /// # Errors
    ///
    /// If the mirror is still mounted there; the directory is left then.
    pub(super) fn leave(&self) -> io::Result<()> {
        if self.left.load(Ordering::Acquire) {
            return Ok(());
        }
        self.there(|| {
            while self.is_mounted()? {
                // The name in `/proc` leads to the directory, and from there to what lies over it (umount(2)).
                unmount(self.mount_directory.path(), UnmountFlags::DETACH)?;
            }
            self.mount_directory.remove();
            Ok(())
        })?;
        self.left.store(true, Ordering::Release);
        Ok(())
    }

    /// Removes the directory where it was made here and nothing was mounted.
    pub(super) fn discard(&self) {
        self.mount_directory.remove();
        self.left.store(true, Ordering::Release);
    }

    /// Whether the mirror is mounted at the directory, over all else. What lies over it is given time to go away.
    fn is_mounted(&self) -> io::Result<bool> {
        for _ in 0..OVER.0 {
            let place = self.mount_directory.place()?;
            let table = fs::read("/proc/thread-self/mountinfo")?;
            let own = |mount: &Mount| self.is_own(mount) && mount.place == place.as_os_str().as_bytes();
            // Where it was renamed meanwhile the table has its mount elsewhere.
            let is_still = self.mount_directory.place()? == place;
            if is_still && parse(&table).iter().any(own) {
                return Ok(true);
            }
            if is_still && !parse_all(&table).iter().any(own) {
                return Ok(false);
            }
            std::thread::sleep(OVER.1);
        }
        Err(io::Error::other("something else is mounted over it"))
    }

    /// Does something in the namespace of the directory, in a thread of its own.
    fn there<T: Send>(&self, action: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                compat_sys::unshare_directory_and_mask()?;
                self.enter()?;
                action()
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of ours has failed")))
        })
    }
}

impl MountDirectory {
    /// Opens a directory, or makes it.
    fn open(place: &Path) -> io::Result<Self> {
        // Where the path ends in no name (`..`) it can only be there already.
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
            // The opened link is read: nobody can exchange it meanwhile.
            let target = rustix::fs::readlinkat(&directory, c"", Vec::new())?;
            return Self::found(open_directory(&parent, Path::new(OsStr::from_bytes(target.as_bytes())))?);
        }
        if walk::kind(&stat) != FileType::Directory {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        Ok(Self { directory, parent, name: name.to_owned(), made })
    }

    /// A directory that was there.
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

    /// Its path for a system call that takes no descriptor.
    fn path(&self) -> PathBuf {
        walk::path_of(Path::new(PROCESS), &self.directory)
    }

    /// Where it is now.
    fn place(&self) -> io::Result<PathBuf> {
        fs::read_link(self.path())
    }

    /// Opens what its name leads to, and no link.
    fn open_name(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.parent, &self.name, flags, Mode::empty())?)
    }

    /// Whether its name leads to it, and to nothing that is mounted there.
    fn is_named(&self) -> bool {
        let of = |file: &OwnedFd| walk::look(file).map(|stat| walk::identity(&stat));
        self.open_name().and_then(|named| Ok(of(&named)? == of(&self.directory)?)).unwrap_or(false)
    }

    /// Removes it where it was made here, nothing is mounted on it, and it is empty. Another run may just be
    /// binding what it lies in, with the mirror that was there.
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
        "it lies where everybody may write and belongs to somebody else",
    )
}

/// A source that no other run's mounts have.
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
