//! The mirror where others reach it: at a folder of the mount namespace that this process came from.
//!
//! The mounts there do not vanish with a process as those inside do. They are made by the command's
//! process and taken away by the supervisor, or by the server where that was killed. All three know them by
//! their source in the mount table, which no other run has: where the mirror could not be mounted, or
//! somebody has unmounted it, nothing there is this run's, and nobody there is ended. The folder itself is
//! removed only where it was made here, nothing is mounted on it any more and it is empty.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind_recursive, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{Pid, chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::Error;
use super::inside;
use super::mount_table::{Device, Mount, lies_in, parse, parse_all};
use super::plan::is_mirror;
use crate::sys;

/// A mount namespace, and the root that a process has in it.
#[derive(Debug)]
pub struct Namespace {
    mounts: OwnedFd,
    root: OwnedFd,
}

impl Namespace {
    /// That of this process.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn current() -> io::Result<Self> {
        let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { mounts: open("/proc/self/ns/mnt", OFlags::RDONLY)?, root: open("/", OFlags::PATH)? })
    }

    /// Enters it; the working directory is its root then. This thread must have a root of its own.
    ///
    /// # Errors
    ///
    /// Those of setns(2) and chroot(2).
    pub fn enter(&self) -> io::Result<()> {
        use std::os::fd::AsFd as _;
        move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        fchdir(&self.root)?;
        Ok(chroot(".")?)
    }
}

/// The folder, and the namespace that it is in.
#[derive(Debug)]
pub struct Outside {
    namespace: Namespace,
    place: PathBuf,
    /// Whether the folder was made here.
    made: bool,
    /// What the mount table shows as the source of this run's mirror there, and of no other's.
    mark: String,
    /// Whether the mirror was taken away.
    left: AtomicBool,
}

/// How long it is waited for what another run has mounted over the mirror to go away, and how often looked.
const OVER: (u32, Duration) = (100, Duration::from_millis(10));

impl Outside {
    /// Makes the folder ready; it is made, for this user alone, where it is missing. `namespace` is where
    /// the mirror is to be mounted, and `table` the mounts there.
    ///
    /// # Errors
    ///
    /// Where it can be no place for a mirror: it is no folder, is not empty, or something is mounted
    /// on it.
    pub fn new(place: &Path, namespace: Namespace, table: &[u8]) -> Result<Self, Error> {
        let failed = |source| Error::MountPath { path: place.to_owned(), source };
        let made = match fs::DirBuilder::new().mode(0o700).create(place) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let (place, left) = (place.canonicalize().map_err(failed)?, AtomicBool::new(false));
        let outside = Self { namespace, place, made, mark: mark(), left };
        let mounted = parse(table).iter().any(|mount| lies_in(&mount.place, outside.bytes()));
        if mounted {
            return Err(failed(io::Error::other("something is mounted there already")));
        }
        match fs::read_dir(&outside.place).map_err(failed)?.next() {
            None => Ok(outside),
            Some(_) => Err(failed(io::Error::from_raw_os_error(libc::ENOTEMPTY))),
        }
    }

    /// Where it is.
    pub fn place(&self) -> &Path {
        &self.place
    }

    fn bytes(&self) -> &[u8] {
        self.place.as_os_str().as_bytes()
    }

    /// A path of the root as it is called in the mirror.
    pub fn inner(&self, path: &[u8]) -> PathBuf {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if path.is_empty() { self.place.clone() } else { self.place.join(OsStr::from_bytes(path)) }
    }

    /// Enters the namespace of the folder.
    ///
    /// # Errors
    ///
    /// Those of setns(2) and chroot(2).
    pub fn enter(&self) -> io::Result<()> {
        self.namespace.enter()
    }

    /// Binds a place of the root into the mirror, with what is mounted in it but for mirrors. Nothing of it
    /// is shared with the place, so that what is unmounted here is unmounted nowhere else.
    ///
    /// # Errors
    ///
    /// Those of mount(2) and move_mount(2).
    pub fn bind(&self, place: &[u8], copy: Option<OwnedFd>) -> io::Result<()> {
        let target = self.inner(place);
        match copy {
            Some(copy) => move_mount(copy, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?,
            // Who ends this process right here leaves what is shared.
            None => {
                mount_bind_recursive(OsStr::from_bytes(place), &target)?;
                mount_change(&target, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            }
        }
        take_mirrors_out(&target, Path::new("/proc"))
    }

    /// What is shown as the source of the mounts there.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Sees to it that the mirror that was just mounted, by this thread, lies right on the folder: another run
    /// may have chosen the same one at the same time.
    ///
    /// # Errors
    ///
    /// `EBUSY` where it lies on something that is mounted there.
    pub fn assert_first(&self) -> io::Result<()> {
        let mounts = parse_all(&fs::read("/proc/thread-self/mountinfo")?);
        let below =
            |mount: &Mount| mounts.iter().any(|other| other.number == mount.parent && self.is_at(other));
        match mounts.iter().any(|mount| self.is_own(mount) && self.is_at(mount) && below(mount)) {
            true => Err(io::Error::from_raw_os_error(libc::EBUSY)),
            false => Ok(()),
        }
    }

    fn is_at(&self, mount: &Mount) -> bool {
        mount.place == self.bytes()
    }

    /// Whether this run has mounted it there, the root of the mirror or another volume.
    fn is_own(&self, mount: &Mount) -> bool {
        is_mirror(mount) && mount.source == self.mark.as_bytes() && lies_in(&mount.place, self.bytes())
    }

    /// The processes that have the mirror as their root, entered by chroot(2), but for this one and those in
    /// `spared`.
    pub fn inhabitants(&self, spared: &[Pid]) -> Vec<Pid> {
        self.there(|| {
            let mounts = parse_all(&fs::read("/proc/thread-self/mountinfo")?);
            let devices = mounts.iter().filter(|mount| self.is_own(mount)).map(|mount| mount.device);
            Ok(inside::rooted_in(&devices.collect::<Vec<Device>>(), spared))
        })
        .unwrap_or_default()
    }

    /// Kills those who have the mirror as their root, and waits until they are gone.
    pub fn end_all(&self) {
        inside::kill_all(|| self.inhabitants(&[]));
    }

    /// Takes the mounts away, and then the folder where it was made here. Called again it does nothing.
    ///
    /// # Errors
    ///
    /// Where the mirror is still mounted there; the folder is left then.
    pub fn leave(&self) -> io::Result<()> {
        if self.left.load(Ordering::Acquire) {
            return Ok(());
        }
        self.there(|| {
            while self.is_mounted()? {
                unmount(&self.place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
            }
            if self.made {
                remove_empty(&self.place);
            }
            Ok(())
        })?;
        self.left.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the mirror is mounted at the folder, and what the folder's name leads to. What lies over it is
    /// given time to go away.
    fn is_mounted(&self) -> io::Result<bool> {
        for _ in 0..OVER.0 {
            let table = fs::read("/proc/thread-self/mountinfo")?;
            let own = |mount: &Mount| self.is_own(mount) && self.is_at(mount);
            if parse(&table).iter().any(own) {
                return Ok(true);
            }
            if !parse_all(&table).iter().any(own) {
                return Ok(false);
            }
            std::thread::sleep(OVER.1);
        }
        Err(io::Error::other("something else is mounted over it"))
    }

    /// Does something in the namespace of the folder, in a thread of its own.
    fn there<T: Send>(&self, action: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sys::unshare_folder_and_mask()?;
                self.enter()?;
                action()
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of ours has failed")))
        })
    }
}

/// A copy of what is mounted at a place of this process's namespace, and in it, attached to nothing yet. In a
/// namespace whose mounts are private it shares nothing with anybody. Nothing where the kernel has no such
/// copies (before Linux 5.2) or a filter of system calls forbids them.
///
/// # Errors
///
/// Those of open_tree(2).
pub fn copy_mounts(place: &[u8]) -> io::Result<Option<OwnedFd>> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    match open_tree(CWD, OsStr::from_bytes(place), flags) {
        Ok(copy) => Ok(Some(copy)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Unmounts the mirrors, of this run and of others, that have come into a bound folder with what is mounted
/// in it. Nothing else is unmounted by that: what is mounted there is private. `process` is where `/proc` is
/// reached without a mirror between.
///
/// # Errors
///
/// Those of reading the table of mounts.
pub fn take_mirrors_out(bound: &Path, process: &Path) -> io::Result<()> {
    let table = fs::read(process.join("thread-self/mountinfo"))?;
    let mirrors = parse(&table).into_iter().filter(is_mirror);
    for mirror in mirrors.filter(|mirror| lies_in(&mirror.place, bound.as_os_str().as_bytes())) {
        // One that is in another is gone with it.
        let place = Path::new(OsStr::from_bytes(&mirror.place));
        let _ = unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
    Ok(())
}

/// Removes a folder on which nothing is mounted, if it is empty. Another run may just be binding what it
/// lies in, with the mirror that was there.
fn remove_empty(place: &Path) {
    for _ in 0..100 {
        match fs::remove_dir(place) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            _ => return,
        }
    }
}

/// A source that no other run's mounts have.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("compat-{}-{:x}", std::process::id(), now.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"27 1 0:1 / / rw - ext4 a rw\n";

    fn here() -> Namespace {
        Namespace::current().expect("a namespace")
    }

    #[test]
    fn a_missing_folder_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("new");
        let outside = Outside::new(&place, here(), TABLE).expect("it is made");
        assert!(place.is_dir() && outside.made);
        assert_eq!(outside.inner(b"/"), place.canonicalize().expect("it is there"));
        assert_eq!(outside.inner(b"/etc/x"), place.canonicalize().expect("it is there").join("etc/x"));
    }

    #[test]
    fn what_is_in_use_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let error =
            |table: &[u8]| Outside::new(folder.path(), here(), table).expect_err("it is refused").to_string();
        let table =
            [TABLE, format!("30 27 0:2 / {} rw - tmpfs t rw\n", folder.path().display()).as_bytes()].concat();
        assert_eq!(error(&table), format!("could not mount the mirror at {}", folder.path().display()));
        fs::write(folder.path().join("file"), "").expect("a file");
        error(TABLE);
        assert!(Outside::new(&folder.path().join("file"), here(), TABLE).is_err());
        assert!(Outside::new(&folder.path().join("no/folder"), here(), TABLE).is_err());
    }
}
