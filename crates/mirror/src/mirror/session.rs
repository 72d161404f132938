//! The threads of a volume. Each thread reads requests from its own descriptor of the connection and answers
//! them until the volume is unmounted. There is one thread more than were ever busy at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::arguments::{Arguments, RequestMessage};
use super::dispatch;
use super::identity::Credentials;
use super::observer::Action;
use super::quota::{Quota, Turn, Waiting};
use super::request::Request;
use super::volume::Volume;
use super::wire::{Header, LARGEST, OUT_HEADER, Operation, change};
use super::workers::Workers;

/// The device through which the kernel sends FUSE requests.
const DEVICE: &str = "/dev/fuse";

/// The stack size in bytes: enough for [`super::long_path::DEEPEST`] nested directories. Memory is allocated
/// when it is used.
const STACK: usize = 32 << 20;

/// The time for which a thread waits after a request that it could not read.
const PAUSE: Duration = Duration::from_millis(10);

/// A volume that is being served.
#[derive(Debug)]
pub struct Session {
    shared: Arc<SessionState>,
}

#[derive(Debug)]
struct SessionState {
    volume: Arc<Volume>,
    workers: Workers,
    quota: Quota,
}

impl Session {
    /// Serves a mounted volume until it is unmounted or this process ends.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn start(volume: Arc<Volume>) -> io::Result<Self> {
        volume.introduce();
        let shared = Arc::new(SessionState { volume, workers: Workers::new(), quota: Quota::default() });
        spawn(&shared)?;
        Ok(Self { shared })
    }

    /// Whether a request is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.shared.workers.is_busy()
    }
}

/// Starts another thread, unless one is starting already.
fn spawn(shared: &Arc<SessionState>) -> io::Result<()> {
    if !shared.workers.admit() {
        return Ok(());
    }
    let own = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("mirror".to_owned()).stack_size(STACK);
    let started = thread.spawn(move || {
        serve(&own);
    });
    if started.is_err() {
        shared.workers.arrived(false);
    }
    started.map(drop)
}

fn serve(shared: &Arc<SessionState>) {
    let volume = &shared.volume;
    // A thread without its own descriptor shares the first one, which is only slower.
    let own = own_device(volume).map(Arc::new);
    let device = own.as_ref().unwrap_or(&volume.device);
    let credentials = Credentials::of_thread(volume.options.only_user.is_some());
    shared.workers.arrived(credentials.is_ok());
    let Ok(credentials) = credentials else { return };
    let mut message = vec![0; LARGEST as usize + 4096];
    let mut out = Vec::with_capacity(8192);
    let mut keeps_place = false;
    while keeps_place || shared.workers.take_place() {
        let read = rustix::io::read(device, &mut *message);
        let request = read.and_then(|length| RequestMessage::read(&message[..length])).ok();
        keeps_place = request.is_some_and(|request| is_brief(volume, &request));
        let mut wanted = false;
        if keeps_place {
            shared.workers.stay();
        } else {
            wanted = shared.workers.leave_place();
        }
        match read {
            Ok(_) => {
                if wanted {
                    // The existing threads continue without it.
                    let _ = spawn(shared);
                }
                if let Some(request) = &request {
                    let all = &message[..request.header.length];
                    answer_in_turn(shared, device, request, all, &credentials, &mut out);
                }
                if keeps_place {
                    shared.workers.stayed();
                }
            }
            Err(error) if is_over(error) => break,
            Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => {}
            // The kernel has answered that request itself. Others follow once memory is available again.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    shared.workers.end();
}

/// Whether the volume is unmounted, or its connection was aborted (`fuse_dev_do_read`).
fn is_over(error: Errno) -> bool {
    matches!(error, Errno::NODEV | Errno::CONNABORTED)
}

/// Whether nobody waits for the reply and the request is short. Then the thread is back at the device before
/// a call of another thread would pay off.
fn is_brief(volume: &Volume, message: &RequestMessage<'_>) -> bool {
    match message.arguments {
        Ok(Arguments::ReleaseDir { .. }) => true,
        Ok(Arguments::Release { handle }) => {
            volume.files.find(handle).is_ok_and(|open| open.is_closed_soon())
        }
        _ => false,
    }
}

/// Whether users can make such a request take arbitrarily long: an open or a truncation that waits for a
/// lease (fcntl(2)). During that wait the kernel holds no lock of a directory for which others might wait.
fn may_take_long(message: &RequestMessage<'_>) -> bool {
    match message.arguments {
        // An executed file is not opened here.
        Ok(Arguments::Open { flags }) => flags & Action::EXECUTE == 0,
        Ok(Arguments::SetAttr(wanted)) => wanted.has(change::SIZE),
        _ => false,
    }
}

fn own_device(volume: &Volume) -> Result<OwnedFd, Errno> {
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    compat_sys::clone_device(device.as_fd(), volume.device.as_fd()).map_err(|_| Errno::INVAL)?;
    Ok(device)
}

/// Answers one message, or stores it until its user's turn comes. Then answers a stored message whose turn
/// has come.
fn answer_in_turn(
    shared: &SessionState,
    device: &Arc<OwnedFd>,
    request: &RequestMessage<'_>,
    message: &[u8],
    credentials: &Credentials,
    out: &mut Vec<u8>,
) {
    let volume = &shared.volume;
    let (header, user) = (request.header, request.header.user);
    if request.operation == Some(Operation::Interrupt) {
        return interrupt(shared, request, out);
    }
    if user == 0 || volume.options.only_user.is_some() {
        return answer(volume, device, request, credentials, out);
    }
    if !may_take_long(request) {
        if !shared.quota.begin_other() {
            return send(device, &header, Err(Errno::NOMEM), out);
        }
        answer(volume, device, request, credentials, out);
        return shared.quota.finish_other();
    }
    match shared.quota.begin(user, message, device) {
        Turn::Now => answer(volume, device, request, credentials, out),
        Turn::Later => return,
        Turn::Refused => return send(device, &header, Err(Errno::NOMEM), out),
    }
    let mut done = user;
    while let Some((user, waiting)) = shared.quota.finish(done) {
        if let Ok(request) = RequestMessage::read(&waiting.message) {
            answer(volume, &waiting.device, &request, credentials, out);
        }
        done = user;
    }
}

/// Handles a signal to a waiting caller: a request that has not had its turn is cancelled. The kernel expects
/// no reply to this message.
fn interrupt(shared: &SessionState, request: &RequestMessage<'_>, out: &mut Vec<u8>) {
    let Ok(Arguments::Interrupt { unique }) = request.arguments else { return };
    let waiting = shared.quota.give_up(unique);
    if let Some(Waiting { message, device }) = waiting
        && let Ok((header, ..)) = Header::read(&message)
    {
        send(&device, &header, Err(Errno::INTR), out);
    }
}

/// Answers one message.
fn answer(
    volume: &Volume,
    device: &OwnedFd,
    message: &RequestMessage<'_>,
    credentials: &Credentials,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.resize(OUT_HEADER, 0);
    let RequestMessage { header, operation, arguments, .. } = message;
    let request = Request::new(message, credentials);
    // A panic must not leave the caller waiting for ever.
    let answer = |arguments| dispatch::answer(volume, arguments, &request, out);
    let answer =
        catch_unwind(AssertUnwindSafe(|| arguments.as_ref().map_err(|error| *error).and_then(answer)));
    let result = answer.unwrap_or(Err(Errno::IO));
    if let Some(operation) = operation {
        volume.retries.answered(header.thread, *operation, result);
    }
    if matches!(operation, Some(Operation::Forget | Operation::BatchForget)) {
        return;
    }
    send(device, header, result, out);
}

/// Sends a reply and fills in its header.
fn send(device: &OwnedFd, header: &Header, result: Result<(), Errno>, out: &mut Vec<u8>) {
    if result.is_err() {
        out.truncate(OUT_HEADER);
        out.resize(OUT_HEADER, 0);
    }
    let error = result.err().map_or(0, |error| -error.raw_os_error());
    let length = out.len() as u32;
    out[..4].copy_from_slice(&length.to_ne_bytes());
    out[4..8].copy_from_slice(&error.to_ne_bytes());
    out[8..16].copy_from_slice(&header.unique.to_ne_bytes());
    // The kernel refuses the reply if nobody waits for it any more.
    let _ = rustix::io::write(device, out);
    if out.capacity() > 4 * LARGEST as usize {
        *out = Vec::with_capacity(8192);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::handle_cache::Holders;
    use std::net::{Ipv4Addr, UdpSocket};

    use crate::mirror::Options;
    use crate::mirror::wire::ReplyExt;

    /// A socket replaces the device. If nobody is at the other end, only the next read fails
    /// (`ECONNREFUSED`).
    #[test]
    fn a_request_that_cannot_be_read_does_not_end_the_session() {
        let socket = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let (device, kernel) = (socket(), socket());
        let place = kernel.local_addr().expect("its address");
        device.connect(place).expect("a connection");
        drop(kernel);
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the root");
        let options = Options {
            place: b"/".to_vec(),
            further: Vec::new(),
            only_user: Some((0, 0)),
            sharing: crate::mirror::Sharing::new(Duration::ZERO),
            closed_to_others: false,
            depth: 1,
            descriptors: Holders::new(16),
            read_only: false,
            counts_bytes: false,
        };
        device.send(b"nobody").expect("the first datagram is sent");
        let own = device.try_clone().expect("a descriptor");
        let volume = Volume::new(own.into(), root, options, None).expect("a volume");
        let session = Session::start(Arc::new(volume)).expect("a thread");
        let kernel = UdpSocket::bind(place).expect("the same address");
        kernel.connect(device.local_addr().expect("its address")).expect("a connection");
        kernel.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        let mut request = Vec::new();
        request.put_u32s(&[40, Operation::StatFs as u32]);
        request.put_u64s(&[7, 1]);
        request.put_u32s(&[0, 0, 1, 0]);
        kernel.send(&request).expect("a request");
        let mut answer = [0; 256];
        let length = kernel.recv(&mut answer).expect("an answer");
        assert_eq!((length, &answer[4..8], answer[8]), (OUT_HEADER + 80, &[0; 4][..], 7));
        drop(session);
    }

    #[test]
    fn the_end_of_the_connection_ends_the_session() {
        assert!(is_over(Errno::NODEV) && is_over(Errno::CONNABORTED));
        assert!(!is_over(Errno::NOMEM) && !is_over(Errno::FAULT) && !is_over(Errno::INTR));
    }
}
