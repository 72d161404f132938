//! Callers who were sent back. Where somebody outside takes a file away or makes one between two requests of
//! the same call, the answer is `ESTALE`: the kernel starts the call once more from its path (`do_filp_open`,
//! `retry_estale`), and tells the caller where that ends in `ESTALE`, too. So nothing may come in between
//! the second time: what is found is held by a descriptor until the call has used it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::node::Node;
use super::wire::Operation;

/// How many threads are remembered.
const MOST: usize = 64;

/// For how long: the kernel tries again at once, if at all.
const TIME: Duration = Duration::from_secs(1);

/// The threads that were sent back.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// Whether there are any: mostly not.
    any: AtomicBool,
    threads: Mutex<HashMap<u32, Retry>>,
}

#[derive(Debug)]
struct Retry {
    since: Instant,
    /// What the thread has found since, which holds a descriptor for it.
    found: Option<Arc<Node>>,
}

impl Retries {
    fn threads(&self) -> MutexGuard<'_, HashMap<u32, Retry>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread was sent back and tries again.
    pub(super) fn has(&self, thread: u32) -> bool {
        self.any.load(Ordering::Acquire) && self.threads().contains_key(&thread)
    }

    /// The thread has found this node, which holds a descriptor for it; what it found before it is done with.
    pub(super) fn found(&self, thread: u32, node: &Arc<Node>) {
        let mut threads = self.threads();
        match threads.get_mut(&thread) {
            Some(retry) if retry.found.as_ref().is_some_and(|before| Arc::ptr_eq(before, node)) => {}
            Some(retry) => {
                let before =
                    std::mem::replace(retry, Retry { since: retry.since, found: Some(Arc::clone(node)) });
                drop(threads);
                drop(before);
            }
            // It was forgotten meanwhile, as others are.
            None => drop(Retry { since: Instant::now(), found: Some(Arc::clone(node)) }),
        }
    }

    /// The thread gets this answer.
    pub(super) fn answered(&self, thread: u32, operation: Operation, result: Result<(), Errno>) {
        // The kernel names no thread where it asks on its own account, and nobody it could tell from others.
        let sent_back = thread != 0 && result == Err(Errno::STALE);
        if !sent_back && !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut threads = self.threads();
        threads.retain(|_, retry| retry.since.elapsed() < TIME);
        if sent_back && threads.len() < MOST {
            threads.insert(thread, Retry { since: Instant::now(), found: None });
        } else if !is_on_the_way(operation) {
            threads.remove(&thread);
        }
        self.any.store(!threads.is_empty(), Ordering::Release);
    }
}

/// Whether a call may ask for this before it does what it is for, or the request is none of the call's.
fn is_on_the_way(operation: Operation) -> bool {
    use Operation::{
        Access, BatchForget, Forget, GetAttr, GetXattr, Lookup, ReadLink, Release, ReleaseDir, Statx,
    };
    matches!(
        operation,
        Lookup | ReadLink | GetAttr | Statx | Access | GetXattr | Forget | BatchForget | Release | ReleaseDir
    )
}

impl Drop for Retry {
    fn drop(&mut self) {
        // A directory's descriptor is the cache's.
        if let Some(node) = self.found.take().filter(|node| !node.is_directory()) {
            node.release();
        }
    }
}
