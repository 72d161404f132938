//! Creates files that have no name until they are complete (open(2), `O_TMPFILE`, and linkat(2)). However this
//! process ends, no partial file is left.
//!
//! If the file system or the kernel does not support this, and for the instant in which a file of the same name
//! is replaced, the file has a temporary name (`.compat-N-…`). It also has an exclusive lock (flock(2)) for the
//! lifetime of its process. The lock of a file whose process was killed is free, and [`remove_abandoned`]
//! removes the file.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat, open};
use rustix::io::Errno;

/// The prefix of temporary names.
const PREFIX: &str = ".compat-";
/// The minimum age of an abandoned file. A lock is taken an instant after its file is created.
const AGE: Duration = Duration::from_secs(2);
/// The number of attempts if a name is taken.
const ATTEMPTS: u32 = 100;

/// A file that is not complete yet.
#[derive(Debug)]
pub struct Temporary {
    file: File,
    directory: PathBuf,
    /// Its temporary name, if it must have one.
    named: Option<PathBuf>,
}

impl Temporary {
    /// Creates a file in a directory. It will be readable by all users, as far as the umask allows.
    ///
    /// # Errors
    ///
    /// If the directory is not writable.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        // Without /proc, a file without a name cannot get one.
        if Path::new("/proc/self/fd").exists()
            && let Ok(file) = open(directory, flags, Mode::from_raw_mode(0o666))
        {
            return Ok(Self { file: file.into(), directory: directory.to_owned(), named: None });
        }
        for _ in 0..ATTEMPTS {
            let path = directory.join(name());
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o666).open(&path) {
                Ok(file) => {
                    lock(&file);
                    return Ok(Self { file, directory: directory.to_owned(), named: Some(path) });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many temporary files with its name"))
    }

    /// The file.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name and replaces an existing file.
    ///
    /// # Errors
    ///
    /// If that fails. No file is left then.
    pub fn persist(mut self, path: &Path) -> io::Result<()> {
        if self.named.is_none() {
            match self.link(path) {
                Err(Errno::EXIST) => {}
                outcome => return outcome.map_err(Into::into),
            }
            // Only a rename can replace a file.
            for _ in 0..ATTEMPTS {
                let other = self.directory.join(name());
                lock(&self.file);
                match self.link(&other) {
                    Err(Errno::EXIST) => {}
                    outcome => {
                        outcome?;
                        self.named = Some(other);
                        break;
                    }
                }
            }
        }
        let from =
            self.named.as_ref().ok_or_else(|| io::Error::other("too many temporary files with its name"))?;
        fs::rename(from, path)?;
        self.named = None;
        Ok(())
    }

    /// Gives the file its name, unless a file with that name exists.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`], or another error. No file is left then.
    pub fn persist_new(self, path: &Path) -> io::Result<()> {
        match &self.named {
            None => self.link(path).map_err(Into::into),
            Some(from) => fs::hard_link(from, path),
        }
    }

    fn link(&self, path: &Path) -> rustix::io::Result<()> {
        let descriptor = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(CWD, descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.named.take() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Marks the file's process as alive. On a file system without locks, nothing is marked.
fn lock(file: &File) {
    let _ = flock(file, FlockOperation::NonBlockingLockExclusive);
}

fn name() -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{count}-{:08x}", std::process::id(), fastrand::u32(..)).into()
}

/// Removes the files that killed processes left in a directory. Returns the number of removed files.
pub fn remove_abandoned(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let ours = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(PREFIX);
    entries.flatten().filter(|entry| ours(entry) && remove_if_abandoned(&entry.path())).count()
}

fn remove_if_abandoned(path: &Path) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else { return false };
    let is_old = found.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age >= AGE);
    if !found.is_file() || !(is_old || is_ownerless(path)) {
        return false;
    }
    let Ok(file) = super::open_regular(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && fs::remove_file(path).is_ok()
}

/// Whether the process in a file's name is gone. A process of another machine or container looks gone too, but
/// then the lock shows that it is alive.
fn is_ownerless(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
    let Some(owner) = owner.filter(|owner| *owner > 0).and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    rustix::process::test_kill_process(owner) == Err(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_whole_and_replaces_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for content in ["first", "second"] {
            let mut file = Temporary::new(directory.path()).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            file.persist(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        let third = Temporary::new(directory.path()).unwrap();
        assert_eq!(third.persist_new(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        Temporary::new(directory.path()).unwrap().persist_new(&directory.path().join("b")).unwrap();
        drop(Temporary::new(directory.path()).unwrap());
        assert_eq!(names(directory.path()), ["a", "b"]);
        assert!(Temporary::new(&path).is_err());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - AGE * 2;
        let file = |name: &str| {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
            file
        };
        drop(file(".compat-1-left"));
        drop(file(".compat.lock"));
        drop(file("other"));
        let living = file(".compat-2-living");
        lock(&living);
        fs::write(directory.path().join(".compat-young"), "").unwrap();
        // The highest process ID is 2^22.
        fs::write(directory.path().join(".compat-99999999-0-dead"), "").unwrap();
        assert_eq!(remove_abandoned(directory.path()), 2);
        assert_eq!(names(directory.path()), [".compat-2-living", ".compat-young", ".compat.lock", "other"]);
    }
}
