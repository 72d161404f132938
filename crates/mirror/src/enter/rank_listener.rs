//! Admits the other ranks of a node. They connect to the supervisor of the lead. It passes them the namespaces and the
//! root of its mirror, and waits for them.
//!
//! Each rank keeps its connection while it runs. A closed connection means to the lead that the rank has ended, and to
//! the rank that the lead has ended. The protocol, in bytes:
//!
//! - The rank sends its number in four bytes.
//! - The lead replies `y` with three descriptors (user namespace, mount namespace, root), `l` (later), `n` (never) or
//!   `x` (refused).
//! - The rank sends `b` when it is inside. The lead replies `y` when the rank may begin.

use std::collections::BTreeSet;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::Service;
use super::control::ServerMessage;
use super::inner_namespace::InnerNamespace;
use super::rendezvous::{LeadLock, LeadSocket, peer_fault};

/// The time that a rank may take to send its number.
const GREETING: Duration = Duration::from_secs(10);

/// The time that the lead waits for further ranks after the last one ended, if their number is unknown.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The lead's side while the mirror exists.
pub(super) struct RankListener {
    /// Released when no more ranks are admitted.
    _lock: LeadLock,
    shared: Arc<ListenerState>,
    expected: Option<u32>,
    patience: Duration,
}

struct ListenerState {
    ranks: Mutex<Ranks>,
    server: Mutex<(PipeWriter, PipeReader)>,
    keys: [OwnedFd; 3],
}

#[derive(Default)]
struct Ranks {
    came: BTreeSet<u32>,
    inside: u32,
    closed: bool,
    last_end: Option<Instant>,
}

impl ListenerState {
    fn ranks(&self) -> MutexGuard<'_, Ranks> {
        self.ranks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message to the server, and waits for its reply.
    fn notify_server(&self, message: ServerMessage) -> io::Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        message.send(&mut server.0)?;
        server.1.read_exact(&mut [0])
    }
}

impl RankListener {
    /// Admits ranks in a separate thread. `inner` is the namespace of the mirror. Without it, this process is in that
    /// namespace, and still has the old root.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be opened or no thread can be started.
    pub(super) fn open(
        socket: LeadSocket,
        inner: Option<&InnerNamespace>,
        to_server: PipeWriter,
        answer: PipeReader,
    ) -> io::Result<Self> {
        let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        let user = open("/proc/self/ns/user", OFlags::RDONLY)?;
        let [mounts, root] = match inner {
            Some(inner) => inner.keys()?,
            // A mount over `/` is reached through the name `/..`.
            None => [open("/proc/self/ns/mnt", OFlags::RDONLY)?, open("/..", OFlags::PATH)?],
        };
        let keys = [user, mounts, root];
        let (ranks, server) = (Mutex::default(), Mutex::new((to_server, answer)));
        let shared = Arc::new(ListenerState { ranks, server, keys });
        let (for_thread, listener) = (Arc::clone(&shared), socket.listener);
        std::thread::Builder::new().name("listener".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&for_thread);
                // If no thread can be started, the rank sees a closed connection.
                let _ = std::thread::Builder::new().name("rank".to_owned()).spawn(move || {
                    let _ = serve(&shared, stream);
                });
            }
        })?;
        Ok(Self { _lock: socket.lock, shared, expected: socket.expected, patience: socket.patience })
    }

    /// Whether all ranks came and ended, or no more are expected. After that, no rank is admitted. `since` holds the
    /// time of the first call.
    pub(super) fn is_quiet(&self, since: &mut Option<Instant>, service: &mut dyn Service) -> bool {
        let waited = since.get_or_insert_with(Instant::now).elapsed();
        let mut ranks = self.shared.ranks();
        let came = u32::try_from(ranks.came.len()).unwrap_or(u32::MAX).saturating_add(1);
        let complete = match self.expected {
            Some(expected) => came >= expected || waited >= self.patience,
            None => waited.min(ranks.last_end.map_or(waited, |end| end.elapsed())) >= AFTERWARDS,
        };
        if ranks.inside > 0 || !complete {
            return false;
        }
        if let Some(expected) = self.expected.filter(|expected| came < *expected) {
            service.ranks_missing(came, expected);
        }
        ranks.closed = true;
        true
    }
}

/// Serves one rank until it ends.
fn serve(shared: &ListenerState, mut stream: UnixStream) -> io::Result<()> {
    let peer = compat_sys::peer(stream.as_fd())?;
    if peer_fault(peer, rustix::process::geteuid().as_raw()).is_some() {
        return stream.write_all(b"x");
    }
    stream.set_read_timeout(Some(GREETING))?;
    let mut number = [0; 4];
    stream.read_exact(&mut number)?;
    let rank = u32::from_ne_bytes(number);
    {
        let mut ranks = shared.ranks();
        if ranks.closed || !ranks.came.insert(rank) {
            return stream.write_all(b"l");
        }
        ranks.inside += 1;
    }
    let result = let_in(shared, &mut stream, peer.process, rank);
    let mut ranks = shared.ranks();
    ranks.inside -= 1;
    ranks.last_end = Some(Instant::now());
    result
}

fn let_in(shared: &ListenerState, stream: &mut UnixStream, process: u32, rank: u32) -> io::Result<()> {
    shared.notify_server(ServerMessage::Joining(process))?;
    send_with(stream, &shared.keys)?;
    stream.set_read_timeout(None)?;
    if stream.read(&mut [0])? == 1 {
        shared.notify_server(ServerMessage::Joined { process, rank })?;
        stream.write_all(b"y")?;
        // The rank sends nothing more. The read returns when it ends.
        let _ = stream.read(&mut [0])?;
    }
    Ok(())
}

/// Sends `y` with descriptors.
fn send_with(stream: &UnixStream, descriptors: &[OwnedFd; 3]) -> io::Result<()> {
    let descriptors = descriptors.each_ref().map(|descriptor| descriptor.as_fd());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(stream, &[io::IoSlice::new(b"y")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
