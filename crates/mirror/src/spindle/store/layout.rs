//! The files of the cache's directory:
//!
//! ```text
//! DIR/                  --cache-dir, or compat-spindle-UID in the temporary directory
//!   run-PID-N/          the objects of one run; removed at its end
//!     lock              locked (flock) while the run is alive
//!     new-N             a content that is being written
//!     64 hex digits     an object, named by the SHA-256 digest of its content
//!   kept/               the objects that `--keep` keeps, with the same names
//!     index             facts about files of the share
//! ```
//!
//! Only files with these names are ever removed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::digest::Digest;
use crate::enter::private_directory;

/// The directory of the kept objects.
pub(super) const KEPT: &str = "kept";
/// The lock file of a directory.
const LOCK: &str = "lock";
/// The beginning of the name of a content that is being written.
pub(super) const NEW: &str = "new-";
/// The beginning of the name of a run's directory.
const RUN: &str = "run-";
/// The number of names that a run tries for its directory.
const ATTEMPTS: u32 = 1000;

/// A directory that this process has locked.
#[derive(Debug)]
pub(super) struct LockedDirectory {
    /// The directory, open for reading.
    pub directory: OwnedFd,
    /// The parent, and the name in it.
    base: OwnedFd,
    name: String,
    _lock: OwnedFd,
}

impl LockedDirectory {
    /// Creates a directory for this run.
    ///
    /// # Errors
    ///
    /// Those of mkdirat(2), and those of the lock.
    pub(super) fn for_run(base: &OwnedFd) -> io::Result<Self> {
        for number in 0..ATTEMPTS {
            let name = format!("{RUN}{}-{number}", std::process::id());
            match rustix::fs::mkdirat(base, &name, Mode::RWXU) {
                // A process of another container can have the same number.
                Err(Errno::EXIST) => continue,
                outcome => outcome?,
            }
            // Between its creation and its lock, another start may take the directory for a dead one.
            match Self::open(base, name) {
                Ok(Some(made)) => return Ok(made),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("every name for the directory of this run is taken"))
    }

    /// Opens the directory of kept objects, and creates it if necessary. Returns `None` if another run uses it.
    ///
    /// # Errors
    ///
    /// If it is not private to this user, and those of the lock.
    pub(super) fn kept(base: &OwnedFd) -> io::Result<Option<Self>> {
        drop(private_directory::made(base, KEPT)?);
        Self::open(base, KEPT.to_owned())
    }

    /// Opens and locks an existing directory. Returns `None` if another process has it.
    fn open(base: &OwnedFd, name: String) -> io::Result<Option<Self>> {
        let found = private_directory::existing(base, &*name)?;
        if is_mount(base, &found)? {
            return Err(io::Error::other("another file system is mounted on it"));
        }
        let Some(lock) = private_directory::lock(&found, LOCK)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&found, ".", flags, Mode::empty())?;
        // systemd-tmpfiles(8) does not remove old files from a directory with a lock.
        let _ = rustix::fs::flock(&directory, FlockOperation::NonBlockingLockShared);
        let opened = Self { directory, base: base.try_clone()?, name, _lock: lock };
        Ok(opened.is_named().then_some(opened))
    }

    /// Whether the name leads to this directory: nobody has removed it before it was locked.
    fn is_named(&self) -> bool {
        let named = rustix::fs::statat(&self.base, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let own = rustix::fs::fstat(&self.directory);
        named.is_ok_and(|named| own.is_ok_and(|own| (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)))
    }

    /// Removes the contents that are not complete. Only this run can be writing here.
    pub(super) fn remove_unfinished(&self) {
        self.remove_files(|name| name.starts_with(NEW.as_bytes()));
    }

    /// Removes the files of the store and the directory. Other files stay, and the directory with them.
    pub(super) fn remove(&self) {
        self.remove_files(|name| name.starts_with(NEW.as_bytes()) || Digest::parse(name).is_some());
        // The lock file is removed last, so that nobody takes the directory for an abandoned one before.
        let _ = rustix::fs::unlinkat(&self.directory, LOCK, AtFlags::empty());
        let _ = rustix::fs::unlinkat(&self.base, &self.name, AtFlags::REMOVEDIR);
    }

    fn remove_files(&self, is_ours: impl Fn(&[u8]) -> bool) {
        for name in names(&self.directory).unwrap_or_default() {
            if is_ours(&name) {
                // Without AT_REMOVEDIR, directories stay. Links are removed and not followed.
                let _ = rustix::fs::unlinkat(&self.directory, &name[..], AtFlags::empty());
            }
        }
    }

    /// The objects that earlier runs left, the least recently used first, and their sizes.
    ///
    /// # Errors
    ///
    /// Those of getdents64(2).
    pub(super) fn objects(&self) -> io::Result<Vec<(Digest, u64)>> {
        let mut found = Vec::new();
        for name in names(&self.directory)? {
            let Some(digest) = Digest::parse(&name) else { continue };
            let Ok(stat) = look(&self.directory, &name) else { continue };
            if is_regular(&stat) {
                // The time of access may be as old as a day (relatime), so both times count.
                let used = stat.stx_atime.tv_sec.max(stat.stx_mtime.tv_sec);
                found.push((used, digest, stat.stx_size));
            }
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, digest, size)| (digest, size)).collect())
    }
}

/// Removes the directories of runs that have ended without doing it: their locks are free.
pub(super) fn remove_dead(base: &OwnedFd) {
    for name in names(base).unwrap_or_default() {
        if let Some(name) = run_name(&name)
            && let Ok(Some(dead)) = LockedDirectory::open(base, name)
        {
            dead.remove();
        }
    }
}

/// The name of a run's directory: `run-PID-N`.
fn run_name(name: &[u8]) -> Option<String> {
    let numbers = name.strip_prefix(RUN.as_bytes())?;
    let mut parts = numbers.split(|byte| *byte == b'-');
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let are_numbers = parts.next().is_some_and(is_number) && parts.next().is_some_and(is_number);
    (are_numbers && parts.next().is_none()).then(|| String::from_utf8(name.to_vec()).ok())?
}

/// The names in a directory, without `.` and `..`.
fn names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut found = Vec::new();
    for entry in Dir::new(rustix::fs::openat(directory, ".", flags, Mode::empty())?)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            found.push(name);
        }
    }
    Ok(found)
}

/// The attributes of a file of the cache. No link is followed.
pub(super) fn look(directory: impl AsFd, name: &[u8]) -> io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    Ok(rustix::fs::statx(directory, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?)
}

pub(super) fn is_regular(stat: &Statx) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.stx_mode.into()).is_file()
}

/// Whether another file system is mounted on a directory in `base`.
fn is_mount(base: &OwnedFd, directory: &OwnedFd) -> io::Result<bool> {
    let place = |directory| {
        let stat = look(directory, b"")?;
        // Linux 5.8 shows the mount. Before, a mount of the same file system is not recognised.
        let mount = (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id);
        io::Result::Ok((stat.stx_dev_major, stat.stx_dev_minor, mount))
    };
    Ok(place(base)? != place(directory)?)
}
