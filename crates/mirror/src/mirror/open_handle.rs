//! The descriptors by which open files are reached: an open file stays the same, whatever becomes of its name
//! outside. One for each file, however often it is open.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustix::process::{Resource, getrlimit};

/// How many are kept in this process, for all volumes.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// When this process last had no descriptor left, in milliseconds since it was asked first; 0 for never.
static SCARCE: AtomicU64 = AtomicU64::new(0);

/// For how long none are kept then, in milliseconds.
const PAUSE: u64 = 5_000;

/// An `O_PATH` descriptor (which neither keeps a program from being written nor a lease from being given).
#[derive(Debug)]
pub(super) struct OpenHandle(Arc<OwnedFd>);

impl OpenHandle {
    /// Keeps a descriptor, unless as many are kept already as leave enough for directories and for what is served:
    /// a sixteenth of all that this process may have. An open file without one is found by its name.
    pub(super) fn keep(file: &Arc<OwnedFd>) -> Option<Self> {
        let scarce = SCARCE.load(Ordering::Relaxed);
        if scarce != 0 && milliseconds() < scarce + PAUSE {
            return None;
        }
        let room = KEPT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |kept| (kept < most()).then_some(kept + 1));
        room.is_ok().then(|| Self(Arc::clone(file)))
    }

    /// No more are kept for a while: they were missing elsewhere.
    pub(super) fn keep_no_more() {
        SCARCE.store(milliseconds() + 1, Ordering::Relaxed);
    }

    /// The descriptor.
    pub(super) fn file(&self) -> &Arc<OwnedFd> {
        &self.0
    }
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        KEPT.fetch_sub(1, Ordering::Relaxed);
    }
}

fn milliseconds() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    u64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
        usize::try_from(limit / 16).unwrap_or(usize::MAX)
    })
}
