//! A file that has no name until it is whole (open(2), `O_TMPFILE`; linkat(2)): whatever ends this process, nothing is
//! left of it.
//!
//! Where a file system or the kernel cannot do that, and for the instant in which a file of the same name is replaced,
//! it has a name of its own (`.compat-N-…`) and an exclusive lock on it (flock(2)) for as long as its process lives. What
//! is left of a process that was killed then has a lock that is free: [`remove_abandoned`].

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

/// The beginning of the names.
const PREFIX: &str = ".compat-";
/// How old a file is at the least that is taken for abandoned: a lock is taken an instant after its file is made.
const AGE: Duration = Duration::from_secs(2);
/// How often a name is tried that is taken.
const ATTEMPTS: u32 = 100;

/// A file on its way.
#[derive(Debug)]
pub struct Temporary {
    file: File,
    directory: PathBuf,
    /// Its name, if it cannot be without.
    named: Option<PathBuf>,
}

impl Temporary {
    /// A new file in a directory, which will be readable by all, as far as the umask lets.
    ///
    /// # Errors
    ///
    /// If the directory cannot be written to.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        // Without /proc a file cannot be given its name.
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
        Err(io::Error::other("too many files of its temporary name"))
    }

    /// The file.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name; a file that has it is replaced.
    ///
    /// # Errors
    ///
    /// If that cannot be done; nothing is left then.
    pub fn persist(mut self, path: &Path) -> io::Result<()> {
        if self.named.is_none() {
            match self.link(path) {
                Err(Errno::EXIST) => {}
                outcome => return outcome.map_err(Into::into),
            }
            // Only a rename replaces.
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
            self.named.as_ref().ok_or_else(|| io::Error::other("too many files of its temporary name"))?;
        fs::rename(from, path)?;
        self.named = None;
        Ok(())
    }

    /// Gives the file its name, unless one has it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`], or where it cannot be done; nothing is left then.
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

/// Says that this process is alive. Where a file system knows no locks, nothing can be said.
fn lock(file: &File) {
    let _ = flock(file, FlockOperation::NonBlockingLockExclusive);
}

fn name() -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{count}-{:08x}", std::process::id(), fastrand::u32(..)).into()
}

/// Removes from a directory what processes left that were killed; how many files that were.
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

/// Whether the process that a file is named after is gone. One of another machine or container looks gone too: its lock
/// says that it is not.
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
        // The largest number that a process can have is 2^22.
        fs::write(directory.path().join(".compat-99999999-0-dead"), "").unwrap();
        assert_eq!(remove_abandoned(directory.path()), 2);
        assert_eq!(names(directory.path()), [".compat-2-living", ".compat-young", ".compat.lock", "other"]);
    }
}
