//! The meeting point of the ranks of a node: a Unix socket with the name of the job, in a private directory of this
//! user.
//!
//! The lead holds a lock on a file beside the socket while it is alive. The lock distinguishes a socket in use from one
//! that a killed lead left behind. A rank that gets the lock replaces the socket. The directory is opened and checked
//! once, and then reached through its descriptor.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::background::ReadyReport;
use super::error::Error;
use super::private_directory::{self, existing, made};
use super::walk;

/// The suffix of the lock file.
const LOCK: &str = ".lock";

/// The user that stands for all users without a number in a user namespace, if `/proc` does not specify it.
const OVERFLOW: u32 = 65534;

/// The time for which a failing lead replies to ranks that are about to connect.
const REFUSAL: Duration = Duration::from_millis(200);

/// The directories in which ranks can meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// The directory that the user named. If it is set, no other directory is used.
    named: Option<PathBuf>,
    /// The directories that a system creates for each user, if they exist.
    runtime: Vec<PathBuf>,
    /// The directory that is created if none of those exists.
    temporary: PathBuf,
}

impl Directories {
    /// The directories of this user: the named one, or the runtime directory, or else a directory in `/tmp`.
    pub fn of_user(named: Option<PathBuf>) -> Self {
        let user = geteuid().as_raw();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.into_iter().chain([format!("/run/user/{user}").into()]).collect();
        Self { named, runtime, temporary: format!("/tmp/compat-{user}").into() }
    }

    /// Opens the directory for the socket of a lead, and creates it if necessary.
    fn for_lead(&self) -> Result<OwnedFd, Error> {
        if let Some(named) = &self.named {
            return made(CWD, named).map_err(|source| closed(named, source));
        }
        let own = self.runtime.iter().find_map(|path| existing(CWD, path).ok());
        own.map_or_else(|| made(CWD, &self.temporary).map_err(|source| closed(&self.temporary, source)), Ok)
    }

    /// Opens the existing directories in which a lead may have created its socket. Ranks may have different
    /// environments.
    fn for_guest(&self) -> Result<Vec<OwnedFd>, Error> {
        let last = self.named.as_ref().unwrap_or(&self.temporary);
        let others = if self.named.is_some() { &[][..] } else { &self.runtime };
        let mut found: Vec<OwnedFd> = others.iter().filter_map(|path| existing(CWD, path).ok()).collect();
        match existing(CWD, last) {
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

/// The lock of the lead, which nobody else can have at the same time. It is released when the process that took it
/// drops it, and not by a forked copy.
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
    /// Takes the lead of a meeting and creates its socket. Returns `None` if another process has the lead.
    ///
    /// # Errors
    ///
    /// If no directory is private to this user.
    pub(super) fn take(
        directories: &Directories,
        meeting: &str,
    ) -> Result<Option<(Self, UnixListener)>, Error> {
        let directory = directories.for_lead()?;
        let failed = |source| Error::Meeting { path: shown(&directory), source };
        let Some(lock) = private_directory::lock(&directory, &format!("{meeting}{LOCK}")).map_err(failed)?
        else {
            return Ok(None);
        };
        let listener = listen(&directory, meeting).map_err(failed)?;
        Ok(Some((Self::of(directory, meeting, lock), listener)))
    }

    fn of(directory: OwnedFd, meeting: &str, lock: OwnedFd) -> Self {
        Self { directory, name: meeting.to_owned(), _lock: lock, owner: std::process::id() }
    }
}

impl Drop for LeadLock {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // The lock file is removed last, so that the next lead finds nothing left.
            for name in [self.name.clone(), format!("{}{LOCK}", self.name)] {
                let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
            }
        }
    }
}

/// The lead's side of a meeting, before the mirror exists.
#[derive(Debug)]
pub struct LeadSocket {
    /// The lock of the lead, held while other ranks may come.
    pub(super) lock: LeadLock,
    pub(super) listener: UnixListener,
    pub(super) purpose: Purpose,
}

/// The processes that meet at a socket.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The ranks of a parallel job.
    Ranks(ExpectedRanks),
    /// The members of a session.
    Session {
        /// The time without members after which the session ends.
        idle: Duration,
        ready: ReadyReport,
    },
}

/// The ranks for which the lead waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedRanks {
    /// The number of ranks of the node, including the lead, if known.
    pub number: Option<u32>,
    /// The time for which the lead waits for missing ranks after its own command has ended.
    pub patience: Duration,
}

impl LeadSocket {
    /// Replies to waiting ranks that there will be no mirror.
    pub(super) fn refuse(self) {
        let deadline = Instant::now() + REFUSAL;
        let _ = self.listener.set_nonblocking(true);
        while Instant::now() < deadline {
            match self.listener.accept() {
                // A rank that has disconnected does not need a reply.
                Ok((mut stream, _)) => drop(stream.write_all(b"n")),
                Err(_) => std::thread::sleep(REFUSAL / 20),
            }
        }
    }
}

/// Connects to the lead of a meeting. Returns `None` if there is no lead yet.
///
/// # Errors
///
/// If a directory that must be private to this user is not.
pub(super) fn connect(directories: &Directories, meeting: &str) -> Result<Option<UnixStream>, Error> {
    let mut found = directories.for_guest()?.into_iter();
    Ok(found.find_map(|directory| UnixStream::connect(socket(&directory, meeting)).ok()))
}

/// Returns the names of the meetings with this prefix, in order. Removes those whose lead was killed.
///
/// # Errors
///
/// If a directory that must be private to this user is not.
pub(super) fn meetings(directories: &Directories, prefix: &str) -> Result<Vec<String>, Error> {
    let mut found = BTreeSet::new();
    for directory in directories.for_guest()? {
        let failed = |source| Error::Meeting { path: shown(&directory), source };
        let entries = std::fs::read_dir(walk::path_of(Path::new("/proc"), &directory)).map_err(failed)?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.filter(|name| name.starts_with(prefix)) {
            let meeting = name.strip_suffix(LOCK).unwrap_or(&name);
            match private_directory::lock(&directory, &format!("{meeting}{LOCK}")) {
                // Nobody holds it. Its drop removes the socket and the lock file.
                Ok(Some(lock)) => {
                    let directory = directory.try_clone().map_err(failed)?;
                    drop(LeadLock::of(directory, meeting, lock));
                }
                Ok(None) => drop(found.insert(meeting.to_owned())),
                Err(source) => return Err(failed(source)),
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Creates the socket, and replaces one that a killed lead left behind.
fn listen(directory: &OwnedFd, meeting: &str) -> io::Result<UnixListener> {
    match rustix::fs::unlinkat(directory, meeting, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let listener = UnixListener::bind(socket(directory, meeting))?;
    // The creation mask may have removed this user's permissions, too.
    rustix::fs::chmodat(directory, meeting, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    Ok(listener)
}

/// The path of a socket in an open directory. It fits the length limit of a socket address (unix(7)).
fn socket(directory: &OwnedFd, meeting: &str) -> PathBuf {
    walk::path_of(Path::new("/proc"), directory).join(meeting)
}

fn shown(directory: &OwnedFd) -> PathBuf {
    let path = walk::path_of(Path::new("/proc"), directory);
    std::fs::read_link(&path).unwrap_or(path)
}

/// Whether this user number may stand for several users: all those without a number in a user namespace. The lead of an
/// ordinary user is in a namespace that maps only that user.
pub(super) fn is_of_several(user: u32) -> bool {
    let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    user == overflow.and_then(|number| number.trim().parse().ok()).unwrap_or(OVERFLOW)
}

/// Returns the reason for not trusting the process at the other end.
pub(super) fn peer_fault(peer: compat_sys::Peer, own: u32) -> Option<String> {
    match peer {
        compat_sys::Peer { user, .. } if user != own || is_of_several(user) => {
            Some(format!("belongs to another user ({user})"))
        }
        compat_sys::Peer { process: 0, .. } => {
            Some("is in another container, so its processes are not visible".to_owned())
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
        // A lock of another process removes nothing.
        lock.owner = 0;
        drop((lock, listener));
        assert_eq!(fs::read_dir(directory.path().join("own")).expect("it stays").count(), 2);
        assert!(connect(&directories, MEETING).expect("ours").is_none());
        let (_lock, _listener) = LeadLock::take(&directories, MEETING).expect("ours").expect("nobody has it");
        assert!(connect(&directories, MEETING).expect("ours").is_some());
    }

    #[test]
    fn meetings_are_listed_and_dead_ones_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let directories = in_one(directory.path());
        let names = || meetings(&directories, "compat-record-").expect("ours");
        assert_eq!(names(), [""; 0]);
        let (lock, listener) = LeadLock::take(&directories, MEETING).expect("ours").expect("nobody has it");
        let (mut dead, other) =
            LeadLock::take(&directories, "compat-record-dead").expect("ours").expect("nobody has it");
        dead.owner = 0;
        drop((dead, other));
        fs::write(directory.path().join("own/compat-record-lost.lock"), "").expect("a file");
        fs::write(directory.path().join("own/another"), "").expect("a file");
        assert_eq!(names(), [MEETING]);
        drop((lock, listener));
        assert_eq!(names(), [""; 0]);
        assert_eq!(fs::read_dir(directory.path().join("own")).expect("it stays").count(), 1);
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
        expect("other users can enter it (mode 750)");
        if geteuid().is_root() {
            fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).expect("it is ours");
            chown(&own, Some(1234), None).expect("it is ours");
            expect("it belongs to another user (1234)");
        }
        fs::rename(&own, directory.path().join("real")).expect("it is ours");
        symlink("real", &own).expect("a link");
        expect("it is not a directory");
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
        assert_eq!(fault(7, 1001, 1000).as_deref(), Some("belongs to another user (1001)"));
        assert_eq!(fault(7, 0, 1000).as_deref(), Some("belongs to another user (0)"));
        assert!(fault(0, 1000, 1000).is_some_and(|fault| fault.contains("another container")));
        let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").expect("a number");
        let overflow = overflow.trim().parse().expect("a number");
        assert!(fault(7, overflow, overflow).is_some(), "it may be anybody");
    }
}
