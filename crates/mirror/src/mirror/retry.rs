//! Callers that retry. If somebody outside the mirror removes or creates a file between two requests of the
//! same call, the reply is `ESTALE`. The kernel then repeats the call from its path (`do_filp_open`,
//! `retry_estale`). If the second attempt also ends with `ESTALE`, the caller gets this error. So nothing may
//! interfere with the second attempt: a descriptor holds each file that is found, until the call has used it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::node::Node;
use super::wire::Operation;

/// The maximum number of threads that are remembered.
const MOST: usize = 64;

/// The time for which a thread is remembered. The kernel tries again at once, if at all.
const TIME: Duration = Duration::from_secs(1);

/// The threads that got `ESTALE`.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// Whether there are any. Mostly there are not.
    any: AtomicBool,
    threads: Mutex<HashMap<u32, Retry>>,
}

#[derive(Debug)]
struct Retry {
    since: Instant,
    /// The node that the thread has found since. It holds a descriptor for the thread.
    found: Option<Arc<Node>>,
}

impl Retries {
    fn threads(&self) -> MutexGuard<'_, HashMap<u32, Retry>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread got `ESTALE` and tries again.
    pub(super) fn has(&self, thread: u32) -> bool {
        self.any.load(Ordering::Acquire) && self.threads().contains_key(&thread)
    }

    /// Records that the thread has found this node, which holds a descriptor for it. The node that it found
    /// before is released.
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
            // The thread was dropped from the table meanwhile, as others are.
            None => drop(Retry { since: Instant::now(), found: Some(Arc::clone(node)) }),
        }
    }

    /// Records the reply to a thread.
    pub(super) fn answered(&self, thread: u32, operation: Operation, result: Result<(), Errno>) {
        // The kernel names no thread in requests on its own behalf, so their sender cannot be identified.
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

/// Whether the request may precede the call's actual purpose, or does not belong to the call.
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
        // The cache owns the descriptors of directories.
        if let Some(node) = self.found.take().filter(|node| !node.is_directory()) {
            node.release();
        }
    }
}
