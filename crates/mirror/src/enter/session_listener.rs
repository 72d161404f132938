//! The supervisor's side of a session. It admits any number of members, and replies to questions about the session.
//!
//! The request is one of the numbers of [`Request`] in four bytes. A member is admitted as in `admission`. The reply to
//! another request is `y`, then the length in four bytes and the bytes, or `n` if the session has none. `l` means that
//! the session is ending.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Signal, getpid, kill_process};

use super::admission::{Admission, Caller, listen};
use super::figures_channel::FiguresChannel;
use super::rendezvous::LeadLock;
use super::server;
use super::session::Status;
use super::share::Share;

/// A request to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// To run a command in the mirror.
    Join = 0,
    /// For the status of the session ([`Status`]).
    Status = 1,
    /// For the figures of the server.
    Figures = 2,
    /// To end the session. The connection is closed when it has ended.
    End = 3,
}

impl Request {
    fn of(number: u32) -> Option<Self> {
        [Self::Join, Self::Status, Self::Figures, Self::End]
            .into_iter()
            .find(|request| *request as u32 == number)
    }
}

/// The listener of a session.
pub(super) struct SessionListener {
    _lock: LeadLock,
    shared: Arc<ListenerState>,
    idle: Duration,
}

struct ListenerState {
    members: Mutex<Members>,
    admission: Admission,
    figures: Arc<FiguresChannel>,
    since: SystemTime,
    shares: Vec<Share>,
}

struct Members {
    inside: u32,
    /// The number of the next member.
    next: u32,
    closed: bool,
    /// The start of the session, or the end of its last member.
    idle_since: Instant,
}

impl ListenerState {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Status {
        let process = std::process::id();
        Status { process, since: self.since, members: self.members().inside, shares: self.shares.clone() }
    }
}

impl SessionListener {
    /// Admits members in separate threads.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(super) fn open(
        (lock, listener): (LeadLock, UnixListener),
        idle: Duration,
        admission: Admission,
        figures: Arc<FiguresChannel>,
        shares: Vec<Share>,
    ) -> io::Result<Self> {
        // Each member has a connection.
        server::raise_file_limit();
        let members = Members { inside: 0, next: 0, closed: false, idle_since: Instant::now() };
        let (members, since) = (Mutex::new(members), SystemTime::now());
        let shared = Arc::new(ListenerState { members, admission, figures, since, shares });
        listen(listener, Arc::clone(&shared), serve)?;
        Ok(Self { _lock: lock, shared, idle })
    }

    /// Whether the session has had no member for its idle time. After that, no member is admitted.
    pub(super) fn is_idle(&self) -> bool {
        let mut members = self.shared.members();
        members.closed |= members.inside == 0 && members.idle_since.elapsed() >= self.idle;
        members.closed
    }

    /// Admits no more members.
    pub(super) fn close(&self) {
        self.shared.members().closed = true;
    }
}

fn serve(shared: &ListenerState, mut caller: Caller) -> io::Result<()> {
    match Request::of(caller.request) {
        Some(Request::Join) => join(shared, &mut caller),
        Some(Request::Status) => reply(&mut caller, &shared.status().to_bytes()),
        Some(Request::Figures) => match shared.figures.ask() {
            Some(figures) => reply(&mut caller, &figures),
            None => caller.stream.write_all(b"n"),
        },
        Some(Request::End) => {
            shared.members().closed = true;
            kill_process(getpid(), Signal::TERM)?;
            reply(&mut caller, b"")?;
            // The connection stays open until this process ends.
            caller.stream.set_read_timeout(None)?;
            caller.stream.read(&mut [0]).map(|_| ())
        }
        None => caller.stream.write_all(b"n"),
    }
}

/// Serves one member until it ends.
fn join(shared: &ListenerState, caller: &mut Caller) -> io::Result<()> {
    let number = {
        let mut members = shared.members();
        if members.closed {
            return caller.stream.write_all(b"n");
        }
        members.inside += 1;
        members.next = members.next.wrapping_add(1);
        members.next
    };
    let result = shared.admission.let_in(caller, number);
    let mut members = shared.members();
    members.inside -= 1;
    members.idle_since = Instant::now();
    result
}

fn reply(caller: &mut Caller, bytes: &[u8]) -> io::Result<()> {
    let mut message = b"y".to_vec();
    message.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_ne_bytes());
    message.extend_from_slice(bytes);
    caller.stream.write_all(&message)
}
