//! Where the ranks of a node meet: a Unix socket in a directory that is this user's alone, under the job's name.
//!
//! The lead holds a lock on a file beside the socket for as long as it lives, so that a socket that a killed lead
//! has left is told from one in use: whoever gets the lock takes it away and makes its own. The directory is
//! opened once, checked, and reached by its descriptor from then on.

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Statx};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::error::Error;
use super::walk;

/// The end that the lock's name adds to the socket's.
const LOCK: &str = ".lock";

/// The user that stands for all whom a user namespace has no number for, if `/proc` does not say.
const OVERFLOW: u32 = 65534;

/// How long a lead that fails waits for those that are about to connect.
const REFUSAL: Duration = Duration::from_millis(200);

/// The directories in which ranks meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// The one that the user has named; no other is looked at then.
    named: Option<PathBuf>,
    /// Those that a system makes for each user, where they are there.
    runtime: Vec<PathBuf>,
    /// The one that is made where none of those is there.
    temporary: PathBuf,
}

impl Directories {
    /// Those of this user: the named one, or the run-time directory, or else one in `/tmp`.
    pub fn of_user(named: Option<PathBuf>) -> Self {
        let user = geteuid().as_raw();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.into_iter().chain([format!("/run/user/{user}").into()]).collect();
        Self { named, runtime, temporary: format!("/tmp/compat-{user}").into() }
    }

    /// The directory in which a lead makes its socket; it is made where it is missing.
    fn for_lead(&self) -> Result<OwnedFd, Error> {
        if let Some(named) = &self.named {
            return made(named).map_err(|source| closed(named, source));
        }
        let own = self.runtime.iter().find_map(|path| existing(path).ok());
        own.map_or_else(|| made(&self.temporary).map_err(|source| closed(&self.temporary, source)), Ok)
    }

    /// Those in which a lead may have made its socket, as far as they are there: not all ranks may have been
    /// started with the same environment.
    fn for_guest(&self) -> Result<Vec<OwnedFd>, Error> {
        let last = self.named.as_ref().unwrap_or(&self.temporary);
        let others = if self.named.is_some() { &[][..] } else { &self.runtime };
        let mut found: Vec<OwnedFd> = others.iter().filter_map(|path| existing(path).ok()).collect();
        match existing(last) {
            Ok(directory) => found.push(directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(closed(last, source)),
        }
        Ok(found)
    }
}

fn closed(path: &Path, source: io::Error) -> Error {
    Error::Meeting { path: path.to_owned(), source }
}

/// Opens a directory that is this user's alone, and makes it where it is missing.
fn made(path: &Path) -> io::Result<OwnedFd> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => existing(path),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory that is this user's alone. The last name of the path is no link.
fn existing(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    assert_own(&walk::look(&directory)?, geteuid().as_raw())?;
    Ok(directory)
}

fn assert_own(stat: &Statx, user: u32) -> io::Result<()> {
    let fault = match walk::kind(stat) {
        FileType::Directory if stat.stx_uid != user => {
            format!("it belongs to another user ({})", stat.stx_uid)
        }
        FileType::Directory if stat.stx_mode & 0o077 != 0 => {
            format!("others may enter it (mode {:o})", stat.stx_mode & 0o7777)
        }
        FileType::Directory => return Ok(()),
        _ => "it is no directory".to_owned(),
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, fault))
}

/// The lead's place: nobody else has it while this is there. A copy of this process that drops it leaves it to
/// the process that has taken it.
pub(super) struct LeadLock {
    directory: OwnedFd,
    name: String,
    _lock: OwnedFd,
    owner: u32,
}

impl fmt::Debug for LeadLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LeadLock").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LeadLock {
    /// Takes the lead's place of a meeting, with the socket that others come to; nothing where somebody has it.
    ///
    /// # Errors
    ///
    /// If no directory is this user's alone.
    pub(super) fn take(
        directories: &Directories,
        meeting: &str,
    ) -> Result<Option<(Self, UnixListener)>, Error> {
        let directory = directories.for_lead()?;
        let failed = |source| Error::Meeting { path: shown(&directory), source };
        let Some(lock) = lock(&directory, meeting).map_err(failed)? else { return Ok(None) };
        let listener = listen(&directory, meeting).map_err(failed)?;
        let lock = Self { directory, name: meeting.to_owned(), _lock: lock, owner: std::process::id() };
        Ok(Some((lock, listener)))
    }
}

impl Drop for LeadLock {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // The lock goes last: who waits for it finds nothing left.
            for name in [self.name.clone(), format!("{}{LOCK}", self.name)] {
                let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
            }
        }
    }
}

/// The lead's side of a node's meeting, before the mirror is there.
#[derive(Debug)]
pub struct LeadSocket {
    /// The lead's place, for as long as others may come.
    pub(super) lock: LeadLock,
    pub(super) listener: UnixListener,
    /// How many ranks the node has, the lead included, where that is known.
    pub(super) expected: Option<u32>,
    /// How long the lead waits for those that have not come when its own command has ended.
    pub(super) patience: Duration,
}

impl LeadSocket {
    /// Answers those who wait for the lead that there will be no mirror.
    pub(super) fn refuse(self) {
        let deadline = Instant::now() + REFUSAL;
        let _ = self.listener.set_nonblocking(true);
        while Instant::now() < deadline {
            match self.listener.accept() {
                // A rank that has gone meanwhile needs no answer.
                Ok((mut stream, _)) => drop(stream.write_all(b"n")),
                Err(_) => std::thread::sleep(REFUSAL / 20),
            }
        }
    }
}

/// Connects to the lead of a meeting; nothing where there is none yet.
///
/// # Errors
///
/// If a directory that is to be this user's alone is not.
pub(super) fn connect(directories: &Directories, meeting: &str) -> Result<Option<UnixStream>, Error> {
    let mut found = directories.for_guest()?.into_iter();
    Ok(found.find_map(|directory| UnixStream::connect(socket(&directory, meeting)).ok()))
}

/// The lock of a meeting; nothing where somebody has it.
fn lock(directory: &OwnedFd, meeting: &str) -> io::Result<Option<OwnedFd>> {
    let name = format!("{meeting}{LOCK}");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(directory, &name, flags, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // The one before takes its file away: that one's lock keeps nobody out.
    let named = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW);
    let stat = rustix::fs::fstat(&lock)?;
    Ok(named.is_ok_and(|named| named.st_ino == stat.st_ino && named.st_dev == stat.st_dev).then_some(lock))
}

/// Makes the socket, in the place of one that a killed lead has left.
fn listen(directory: &OwnedFd, meeting: &str) -> io::Result<UnixListener> {
    match rustix::fs::unlinkat(directory, meeting, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let listener = UnixListener::bind(socket(directory, meeting))?;
    // The creation mask may have closed it to this user, too.
    rustix::fs::chmodat(directory, meeting, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    Ok(listener)
}

/// The path of a socket in an open directory, as short as the address of a socket has to be (unix(7)).
fn socket(directory: &OwnedFd, meeting: &str) -> PathBuf {
    walk::path_of(Path::new("/proc"), directory).join(meeting)
}

fn shown(directory: &OwnedFd) -> PathBuf {
    let path = walk::path_of(Path::new("/proc"), directory);
    std::fs::read_link(&path).unwrap_or(path)
}

/// Whether this number of a user may stand for several: for all that a user namespace has no number for. The lead
/// of an ordinary user is in one that knows that user alone.
pub(super) fn is_of_several(user: u32) -> bool {
    let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    user == overflow.and_then(|number| number.trim().parse().ok()).unwrap_or(OVERFLOW)
}

/// Why the process at the other end is not to be believed.
pub(super) fn peer_fault(peer: compat_sys::Peer, own: u32) -> Option<String> {
    match peer {
        compat_sys::Peer { user, .. } if user != own || is_of_several(user) => {
            Some(format!("is of another user ({user})"))
        }
        compat_sys::Peer { process: 0, .. } => {
            Some("is in another container, where its processes are not seen".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    const MEETING: &str = "compat-record-test";

    fn in_one(path: &Path) -> Directories {
        Directories { named: None, runtime: vec![path.join("none")], temporary: path.join("own") }
    }

    fn why(result: Result<Option<(LeadLock, UnixListener)>, Error>) -> String {
        let error = result.expect_err("it is refused");
        let source = std::error::Error::source(&error).expect("a reason").to_string();
        format!("{error}: {source}")
    }

    #[test]
    fn one_leads_and_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let directories = in_one(directory.path());
        assert!(connect(&directories, MEETING).expect("no directory yet").is_none());
        let (lock, listener) = LeadLock::take(&directories, MEETING).expect("ours").expect("nobody has it");
        assert!(LeadLock::take(&directories, MEETING).expect("ours").is_none());
        assert!(connect(&directories, MEETING).expect("ours").is_some());
        assert!(connect(&directories, "compat-record-other").expect("ours").is_none());
        drop((lock, listener));
        assert_eq!(fs::read_dir(directory.path().join("own")).expect("it stays").count(), 0);
        assert!(LeadLock::take(&directories, MEETING).expect("ours").is_some());
    }

    #[test]
    fn what_a_killed_lead_has_left_is_taken_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let directories = in_one(directory.path());
        let (mut lock, listener) =
            LeadLock::take(&directories, MEETING).expect("ours").expect("nobody has it");
        // As another process it takes nothing away.
        lock.owner = 0;
        drop((lock, listener));
        assert_eq!(fs::read_dir(directory.path().join("own")).expect("it stays").count(), 2);
        assert!(connect(&directories, MEETING).expect("ours").is_none());
        let (_lock, _listener) = LeadLock::take(&directories, MEETING).expect("ours").expect("nobody has it");
        assert!(connect(&directories, MEETING).expect("ours").is_some());
    }

    #[test]
    fn a_directory_that_is_not_this_users_alone_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = directory.path().join("own");
        let directories = in_one(directory.path());
        let refused =
            || (why(LeadLock::take(&directories, MEETING)), connect(&directories, MEETING).is_err());
        let expect = |fault: &str| {
            let message = format!("the ranks of this node cannot meet in {}: {fault}", own.display());
            assert_eq!(refused(), (message, true));
        };
        fs::create_dir(&own).expect("a directory");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o750)).expect("it is ours");
        expect("others may enter it (mode 750)");
        if geteuid().is_root() {
            fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).expect("it is ours");
            chown(&own, Some(1234), None).expect("it is ours");
            expect("it belongs to another user (1234)");
        }
        fs::rename(&own, directory.path().join("real")).expect("it is ours");
        symlink("real", &own).expect("a link");
        expect("it is no directory");
        assert_eq!(fs::read_dir(directory.path().join("real")).expect("it is there").count(), 0);
    }

    #[test]
    fn a_run_time_directory_comes_first_where_it_is_this_users_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = directory.path().join("run");
        fs::create_dir(&runtime).expect("a directory");
        let directories = Directories { runtime: vec![runtime.clone()], ..in_one(directory.path()) };
        let is_in = |path: &Path| {
            let (_lock, _listener) =
                LeadLock::take(&directories, MEETING).expect("ours").expect("nobody has it");
            assert!(connect(&directories, MEETING).expect("ours").is_some());
            path.join(MEETING).exists()
        };
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).expect("it is ours");
        assert!(is_in(&directory.path().join("own")));
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("it is ours");
        assert!(is_in(&runtime));
    }

    #[test]
    fn the_number_of_those_without_one_is_known() {
        assert!(!is_of_several(0) && !is_of_several(1000));
        let overflow = fs::read_to_string("/proc/sys/kernel/overflowuid").expect("a number");
        assert!(is_of_several(overflow.trim().parse().expect("a number")));
    }

    #[test]
    fn only_this_users_processes_that_can_be_seen_are_believed() {
        let fault = |process, user, own| peer_fault(compat_sys::Peer { process, user }, own);
        assert_eq!(fault(7, 1000, 1000), None);
        assert_eq!(fault(7, 1001, 1000).as_deref(), Some("is of another user (1001)"));
        assert_eq!(fault(7, 0, 1000).as_deref(), Some("is of another user (0)"));
        assert!(fault(0, 1000, 1000).is_some_and(|fault| fault.contains("another container")));
        let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").expect("a number");
        let overflow = overflow.trim().parse().expect("a number");
        assert!(fault(7, overflow, overflow).is_some(), "it may be anybody");
    }
}
