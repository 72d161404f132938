//! The way into the mirror for a process that connected to the supervisor. It receives the namespaces and the root of
//! the mirror.
//!
//! The process keeps its connection while its command runs. A closed connection means to the supervisor that the
//! command has ended, and to the process that the mirror has ended. The protocol, in bytes:
//!
//! - The process sends its request in four bytes.
//! - The supervisor replies `y` with three descriptors (user namespace, mount namespace, root), `l` (later), `n`
//!   (never) or `x` (refused). It replies `Y` in place of `y` if programs must be searched for in the mirror.
//! - The process sends `b` when it is inside. The supervisor replies `y` when the command may begin.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::control::ServerMessage;
use super::inner_namespace::InnerNamespace;
use super::rendezvous::peer_fault;

/// The time that a process may take to send its request, or to read a reply.
const GREETING: Duration = Duration::from_secs(10);

/// The pause after a failed accept(2).
const PACE: Duration = Duration::from_millis(5);

/// The keys of the mirror, and the server, which is informed of each process.
pub(super) struct Admission {
    server: Mutex<(PipeWriter, PipeReader)>,
    keys: [OwnedFd; 3],
    /// Whether only shares are mirrored.
    partial: bool,
}

/// A process that connected, and its request.
pub(super) struct Caller {
    pub stream: UnixStream,
    /// The number of the process.
    pub process: u32,
    pub request: u32,
}

impl Admission {
    /// The admission to the mirror in `inner`. Without it, this process is in the namespace of the mirror, and still
    /// has the old root.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be opened.
    pub(super) fn new(
        inner: Option<&InnerNamespace>,
        partial: bool,
        server: (PipeWriter, PipeReader),
    ) -> io::Result<Self> {
        let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        let user = open("/proc/self/ns/user", OFlags::RDONLY)?;
        let [mounts, root] = match inner {
            Some(inner) => inner.keys()?,
            // A mount over `/` is reached through the name `/..`.
            None => [open("/proc/self/ns/mnt", OFlags::RDONLY)?, open("/..", OFlags::PATH)?],
        };
        Ok(Self { server: Mutex::new(server), keys: [user, mounts, root], partial })
    }

    /// Lets a process in. Returns when its command has ended.
    ///
    /// # Errors
    ///
    /// If the process or the server has ended.
    pub(super) fn let_in(&self, caller: &mut Caller, number: u32) -> io::Result<()> {
        let (process, stream) = (caller.process, &mut caller.stream);
        self.notify_server(ServerMessage::Joining(process))?;
        send_with(stream, if self.partial { b"Y" } else { b"y" }, &self.keys)?;
        stream.set_read_timeout(None)?;
        if stream.read(&mut [0])? == 1 {
            self.notify_server(ServerMessage::Joined { process, rank: number })?;
            stream.write_all(b"y")?;
            // The process sends nothing more. The read returns when it ends.
            let _ = stream.read(&mut [0])?;
        }
        Ok(())
    }

    /// Sends a message to the server, and waits for its reply.
    fn notify_server(&self, message: ServerMessage) -> io::Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        message.send(&mut server.0)?;
        server.1.read_exact(&mut [0])
    }
}

impl Caller {
    /// Checks a process that connected, and reads its request. Returns `None` if it is refused.
    fn greet(mut stream: UnixStream) -> io::Result<Option<Self>> {
        let peer = compat_sys::peer(stream.as_fd())?;
        stream.set_write_timeout(Some(GREETING))?;
        if peer_fault(peer, rustix::process::geteuid().as_raw()).is_some() {
            return stream.write_all(b"x").map(|()| None);
        }
        stream.set_read_timeout(Some(GREETING))?;
        let mut request = [0; 4];
        stream.read_exact(&mut request)?;
        Ok(Some(Self { stream, process: peer.process, request: u32::from_ne_bytes(request) }))
    }
}

/// Serves each process that connects in a thread of its own.
///
/// # Errors
///
/// If no thread can be started.
pub(super) fn listen<S: Send + Sync + 'static>(
    listener: UnixListener,
    shared: Arc<S>,
    serve: fn(&S, Caller) -> io::Result<()>,
) -> io::Result<()> {
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    named("listener").spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // This process has too many open files for a moment.
                std::thread::sleep(PACE);
                continue;
            };
            let shared = Arc::clone(&shared);
            // If no thread can be started, the process sees a closed connection.
            let _ = named("caller").spawn(move || match Caller::greet(stream) {
                Ok(Some(caller)) => serve(&shared, caller),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            });
        }
    })?;
    Ok(())
}

/// Sends a byte with descriptors.
fn send_with(stream: &UnixStream, byte: &[u8; 1], descriptors: &[OwnedFd; 3]) -> io::Result<()> {
    let descriptors = descriptors.each_ref().map(|descriptor| descriptor.as_fd());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(stream, &[io::IoSlice::new(byte)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
