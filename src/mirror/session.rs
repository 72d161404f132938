//! The threads of a volume: each reads requests from its own descriptor of the connection, answers
//! them, and goes on until the volume is unmounted. There are as many as are busy at once, and one more.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::dispatch;
use super::identity::Credentials;
use super::protocol::{Header, OUT_HEADER, Operation};
use super::volume::{Request, Volume};
use crate::sys;

/// The largest read or write, in bytes: 256 pages, as much as the kernel grants.
pub const LARGEST: u32 = 1 << 20;

/// Where the kernel's file systems in user space are reached.
pub const DEVICE: &str = "/dev/fuse";

/// How many threads serve one volume at most.
const MOST_THREADS: usize = 32;

/// Enough for [`super::handle_cache::DEEPEST`] folders in each other; memory is taken when it is used.
const STACK: usize = 32 << 20;

/// A volume that is being served.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    volume: Arc<Volume>,
    threads: AtomicUsize,
    waiting: AtomicUsize,
}

impl Session {
    /// Serves a volume that is mounted already, until it is unmounted or this process ends.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(volume: Arc<Volume>) -> io::Result<Self> {
        let shared = Arc::new(Shared { volume, threads: AtomicUsize::new(1), waiting: AtomicUsize::new(0) });
        spawn(&shared)?;
        Ok(Self { shared })
    }

    /// Whether a request is being answered.
    pub fn is_busy(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) < self.shared.threads.load(Ordering::Acquire)
    }
}

fn spawn(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("mirror".to_owned()).stack_size(STACK).spawn(move || {
        serve(&shared);
        shared.threads.fetch_sub(1, Ordering::Release);
    })?;
    Ok(())
}

fn serve(shared: &Arc<Shared>) {
    let volume = &shared.volume;
    // Without a descriptor of its own a thread shares the first one, which is only slower.
    let own = own_device(volume).ok();
    let device = own.as_ref().unwrap_or(&volume.device);
    let Ok(credentials) = Credentials::of_thread(volume.options.only_user.is_none()) else { return };
    let mut message = vec![0; LARGEST as usize + 4096];
    let mut out = Vec::with_capacity(8192);
    loop {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        let read = rustix::io::read(device, &mut *message);
        let others = shared.waiting.fetch_sub(1, Ordering::Relaxed) - 1;
        match read {
            Ok(length) => {
                if others == 0 {
                    add_thread(shared);
                }
                answer(volume, device, &message[..length], &credentials, &mut out);
            }
            Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => {}
            // Unmounted or aborted.
            Err(_) => return,
        }
    }
}

fn own_device(volume: &Volume) -> Result<OwnedFd, Errno> {
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::clone_device(device.as_fd(), volume.device.as_fd()).map_err(|_| Errno::INVAL)?;
    Ok(device)
}

fn add_thread(shared: &Arc<Shared>) {
    if shared.threads.fetch_add(1, Ordering::AcqRel) >= MOST_THREADS || spawn(shared).is_err() {
        shared.threads.fetch_sub(1, Ordering::Release);
    }
}

/// Answers one message.
fn answer(volume: &Volume, device: &OwnedFd, message: &[u8], credentials: &Credentials, out: &mut Vec<u8>) {
    let Ok((header, body, supplementary)) = Header::read(message) else { return };
    out.clear();
    out.resize(OUT_HEADER, 0);
    let request = Request { header, body, supplementary, credentials };
    let operation = Operation::of(header.operation);
    // A fault of ours must not leave the caller waiting for ever.
    let answer = catch_unwind(AssertUnwindSafe(|| dispatch::answer(volume, operation, &request, out)));
    let result = answer.unwrap_or(Err(Errno::IO));
    if matches!(operation, Some(Operation::Forget | Operation::ForgetMany)) {
        return;
    }
    if result.is_err() {
        out.truncate(OUT_HEADER);
    }
    let error = result.err().map_or(0, |error| -error.raw_os_error());
    let length = out.len() as u32;
    out[..4].copy_from_slice(&length.to_ne_bytes());
    out[4..8].copy_from_slice(&error.to_ne_bytes());
    out[8..16].copy_from_slice(&header.unique.to_ne_bytes());
    // A refusal means that nobody waits for the answer any more.
    let _ = rustix::io::write(device, out);
    if out.capacity() > 4 * LARGEST as usize {
        *out = Vec::with_capacity(8192);
    }
}
