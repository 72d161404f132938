//! The descriptors by which open files are reached: an open file stays the same, whatever becomes of its name
//! outside. One for each file, however often it is open.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Resource, getrlimit};

/// How many are kept in this process, for all volumes.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// Whether this process had no descriptor left once.
static SCARCE: AtomicBool = AtomicBool::new(false);

/// An `O_PATH` descriptor (which neither keeps a program from being written nor a lease from being given).
#[derive(Debug)]
pub struct OpenHandle(Arc<OwnedFd>);

impl OpenHandle {
    /// Keeps a descriptor, unless as many are kept already as leave enough for folders and for what is served:
    /// a sixteenth of all that this process may have. An open file without one is found by its name.
    pub fn keep(file: &Arc<OwnedFd>) -> Option<Self> {
        if SCARCE.load(Ordering::Relaxed) {
            return None;
        }
        let room = KEPT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |kept| (kept < most()).then_some(kept + 1));
        room.is_ok().then(|| Self(Arc::clone(file)))
    }

    /// No more are kept from now on: they were missing elsewhere.
    pub fn keep_no_more() {
        SCARCE.store(true, Ordering::Relaxed);
    }

    /// The descriptor.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.0
    }
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        KEPT.fetch_sub(1, Ordering::Relaxed);
    }
}

fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
        usize::try_from(limit / 16).unwrap_or(usize::MAX)
    })
}
