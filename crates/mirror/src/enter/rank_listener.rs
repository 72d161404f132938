//! Admits the other ranks of a node. They connect to the supervisor of the lead, which waits for them (`admission`).
//! Their request is their number.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Service;
use super::admission::{Admission, Caller, listen};
use super::rendezvous::{ExpectedRanks, LeadLock};

/// The time that the lead waits for further ranks after the last one ended, if their number is unknown.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The lead's side while the mirror exists.
pub(super) struct RankListener {
    /// Released when no more ranks are admitted.
    _lock: LeadLock,
    shared: Arc<ListenerState>,
    expected: ExpectedRanks,
}

struct ListenerState {
    ranks: Mutex<Ranks>,
    admission: Admission,
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
}

impl RankListener {
    /// Admits ranks in a separate thread.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(super) fn open(
        (lock, listener): (LeadLock, UnixListener),
        expected: ExpectedRanks,
        admission: Admission,
    ) -> io::Result<Self> {
        let shared = Arc::new(ListenerState { ranks: Mutex::default(), admission });
        listen(listener, Arc::clone(&shared), serve)?;
        Ok(Self { _lock: lock, shared, expected })
    }

    /// Whether all ranks came and ended, or no more are expected. After that, no rank is admitted. `since` holds the
    /// time of the first call.
    pub(super) fn is_quiet(&self, since: &mut Option<Instant>, service: &mut dyn Service) -> bool {
        let waited = since.get_or_insert_with(Instant::now).elapsed();
        let mut ranks = self.shared.ranks();
        let came = u32::try_from(ranks.came.len()).unwrap_or(u32::MAX).saturating_add(1);
        let ExpectedRanks { number, patience } = self.expected;
        let complete = match number {
            Some(expected) => came >= expected || waited >= patience,
            None => waited.min(ranks.last_end.map_or(waited, |end| end.elapsed())) >= AFTERWARDS,
        };
        if ranks.inside > 0 || !complete {
            return false;
        }
        if let Some(expected) = number.filter(|expected| came < *expected) {
            service.ranks_missing(came, expected);
        }
        ranks.closed = true;
        true
    }
}

/// Serves one rank until it ends.
fn serve(shared: &ListenerState, mut caller: Caller) -> io::Result<()> {
    let rank = caller.request;
    {
        let mut ranks = shared.ranks();
        if ranks.closed || !ranks.came.insert(rank) {
            return caller.stream.write_all(b"l");
        }
        ranks.inside += 1;
    }
    let result = shared.admission.let_in(&mut caller, rank);
    let mut ranks = shared.ranks();
    ranks.inside -= 1;
    ranks.last_end = Some(Instant::now());
    result
}
