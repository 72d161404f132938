//! Sessions: one mirror for many commands of a user on a node, called members.
//!
//! [`start`] creates the mirror in the background. Its supervisor has its own session (setsid(2)), no terminal and no
//! streams. Members reach it at a Unix socket with the name of the session, in a private directory of this user
//! (`rendezvous`). They enter the mirror as the ranks of a parallel job do (`join`), and each has its own supervisor
//! outside. `COMPAT_SESSION_DIR` names another directory, for jobs whose runtime directory differs from that of the
//! process that starts the session. The session ends on request ([`end`]), when it had no member for its idle time, or with its processes.
//!
//! The supervisor holds a lock while the session exists. [`start`] and [`list`] remove what a killed session left
//! behind.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use super::background::{Failure, start};
pub use super::session_id::{Id, InvalidId};

use super::error::Error;
use super::namespace_access::{Refusal, ask};
use super::rendezvous::Directories;
use super::session_client::{connect, request, wait_for_end};
use super::session_listener::Request;
use super::share::Share;
use super::{Outcome, rendezvous};

/// The time for which a command tries to join.
const PATIENCE: Duration = Duration::from_secs(10);

/// The interval between attempts to join.
const PACE: Duration = Duration::from_millis(5);

/// The time that a session may take to report its status.
const STATUS_LIMIT: Duration = Duration::from_secs(1);

/// The time that a session may take to report its figures. It may have to wait for the server.
const FIGURES_LIMIT: Duration = Duration::from_secs(5);

/// The time that a session may take to end. Its members may take five seconds of it.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The variable that names the directory of the sockets.
const DIRECTORY: &str = "COMPAT_SESSION_DIR";

/// The beginning of the socket's name.
pub(super) const PREFIX: &str = "compat-session-";

/// A session of this user on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name of the session.
    pub id: Id,
    /// The status. `None` if the session did not report it within a second.
    pub status: Option<Status>,
}

/// The status of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The process ID of its supervisor.
    pub process: u32,
    /// The time at which the mirror was ready, in whole seconds.
    pub since: SystemTime,
    /// The number of members that are running.
    pub members: u32,
    /// The mirrored shares.
    pub shares: Vec<Share>,
}

impl Status {
    /// The form in which it is sent: fields that end with a zero byte, the shares last.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut fields =
            [u64::from(self.process), since, self.members.into()].map(|number| number.to_string()).to_vec();
        for Share { place, kind, source, network } in &self.shares {
            // A path that is not text is for display only.
            let place = place.to_string_lossy().into_owned();
            fields.extend([place, kind.clone(), source.clone(), u8::from(*network).to_string()]);
        }
        fields.iter().flat_map(|field| field.bytes().chain([0])).collect()
    }

    /// Parses that form.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\0')?;
        let fields: Vec<&str> = text.split('\0').collect();
        let (numbers, shares) = fields.split_at_checked(3)?;
        let shares = shares.chunks_exact(4).map(|share| Share {
            place: PathBuf::from(share[0]),
            kind: share[1].to_owned(),
            source: share[2].to_owned(),
            network: share[3] == "1",
        });
        Some(Self {
            process: numbers[0].parse().ok()?,
            since: UNIX_EPOCH + Duration::from_secs(numbers[1].parse().ok()?),
            members: numbers[2].parse().ok()?,
            shares: shares.collect(),
        })
    }
}

/// The directories in which sockets of sessions can be: the one in the variable `COMPAT_SESSION_DIR`, or those of the
/// user.
pub(super) fn directories() -> Directories {
    let named = std::env::var_os(DIRECTORY).filter(|path| !path.is_empty()).map(PathBuf::from);
    // The background process has another working directory.
    Directories::of_user(named.map(|path| std::path::absolute(&path).unwrap_or(path)))
}

/// The name of a session's socket.
pub(super) fn meeting(id: &Id) -> String {
    format!("{PREFIX}{id}")
}

/// Runs a command as a member of a session, and waits for it.
///
/// # Errors
///
/// If the session does not exist, is ending, or cannot be entered. No command was run in these cases.
pub fn join(id: &Id, command: &[OsString], directory: &Path) -> Result<Outcome, Error> {
    let failed = |what: &str| Error::Session { id: id.clone(), what: what.to_owned() };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(PACE);
        match ask(connect(id)?, Request::Join as u32, left) {
            Ok(Some(access)) => {
                return super::join(command, directory, access).map_err(|error| match error {
                    Error::Join(source) => Error::SessionJoin { id: id.clone(), source },
                    other => other,
                });
            }
            Ok(None) if Instant::now() > deadline => return Err(failed("did not admit this command")),
            // The node may have too many processes for a moment.
            Ok(None) => std::thread::sleep(PACE),
            Err(Refusal::Untrusted(what)) => return Err(failed(&what)),
            Err(Refusal::Never) => return Err(failed("is ending")),
            Err(Refusal::Unknown) => return Err(failed("does not recognise this process or user")),
        }
    }
}

/// Returns the sessions of this user on this node, by their names. Removes the sockets of sessions that were killed.
///
/// # Errors
///
/// If a directory that must be private to this user is not.
pub fn list() -> Result<Vec<Listed>, Error> {
    let mut found = Vec::new();
    let names = rendezvous::meetings(&directories(), PREFIX).map_err(of_session)?;
    for id in names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse::<Id>().ok()) {
        let Ok(stream) = connect(&id) else { continue };
        let status = request(&id, stream, Request::Status, STATUS_LIMIT).ok();
        found.push(Listed { id, status: status.and_then(|bytes| Status::parse(&bytes)) });
    }
    Ok(found)
}

/// Ends a session and waits for its end. Its members receive SIGTERM, and are killed after five seconds.
///
/// # Errors
///
/// If the session does not exist, or does not end within 30 seconds.
pub fn end(id: &Id) -> Result<(), Error> {
    let stream = connect(id)?;
    let waiting = stream.try_clone().map_err(|source| Error::SessionJoin { id: id.clone(), source })?;
    request(id, stream, Request::End, STATUS_LIMIT)?;
    wait_for_end(id, waiting, END_LIMIT)
}

/// Returns the figures of a session so far ([`super::Service::figures`]).
///
/// # Errors
///
/// If the session does not exist or does not report them.
pub fn figures(id: &Id) -> Result<Vec<u8>, Error> {
    request(id, connect(id)?, Request::Figures, FIGURES_LIMIT)
}

/// An error about the directory in which ranks meet, as one about sessions.
pub(super) fn of_session(error: Error) -> Error {
    match error {
        Error::Meeting { path, source } => Error::SessionDirectory { path, source },
        other => other,
    }
}

/// Fails if other users could pass for this user.
pub(super) fn assert_one_user() -> Result<(), Error> {
    let user = rustix::process::geteuid().as_raw();
    if rendezvous::is_of_several(user) {
        let what = format!("user {user} stands for all users without a number here");
        let source = io::Error::new(io::ErrorKind::PermissionDenied, what);
        return Err(Error::SessionDirectory { path: "/tmp".into(), source });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_arrives_as_it_was_sent() {
        let share = |place: &str, network| Share {
            place: place.into(),
            kind: "nfs4".to_owned(),
            source: String::new(),
            network,
        };
        let since = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for shares in [vec![], vec![share("/data", true)], vec![share("/a\nb", false), share("/ä", true)]] {
            let status = Status { process: 4711, since, members: 3, shares };
            assert_eq!(Status::parse(&status.to_bytes()), Some(status));
        }
        assert_eq!(Status::parse(b"4711\0cut"), None);
        assert_eq!(Status::parse(b""), None);
    }
}
