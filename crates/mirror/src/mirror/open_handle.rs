//! The descriptors through which open files are reached. So an open file stays the same, even if its name is
//! moved or removed outside the mirror. Each file has one descriptor, however often it is open.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustix::process::{Resource, getrlimit};

/// The number of descriptors kept in this process, for all volumes.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// The last time at which this process had no descriptor left, in milliseconds since the first call of the
/// clock. 0 means never.
static SCARCE: AtomicU64 = AtomicU64::new(0);

/// The time in milliseconds for which no descriptors are kept after that.
const PAUSE: u64 = 5_000;

/// An `O_PATH` descriptor. It neither prevents writes to a program nor blocks a lease.
#[derive(Debug)]
pub(super) struct OpenHandle(Arc<OwnedFd>);

impl OpenHandle {
    /// Keeps a descriptor, unless a sixteenth of this process's limit is kept already. The rest is needed for
    /// directories and for files that are served. An open file without a kept descriptor is found by its
    /// name.
    pub(super) fn keep(file: &Arc<OwnedFd>) -> Option<Self> {
        let scarce = SCARCE.load(Ordering::Relaxed);
        if scarce != 0 && milliseconds() < scarce + PAUSE {
            return None;
        }
        let room = KEPT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |kept| (kept < most()).then_some(kept + 1));
        room.is_ok().then(|| Self(Arc::clone(file)))
    }

    /// Stops keeping descriptors for a while, because none were left elsewhere.
    pub(super) fn keep_no_more() {
        SCARCE.store(milliseconds() + 1, Ordering::Relaxed);
    }

    /// Returns the descriptor.
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
