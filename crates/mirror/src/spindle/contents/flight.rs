//! Fills that are under way. Threads that open the same file wait for the first one.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::fs::Statx;

use super::FileKey;
use super::whole::Whole;

/// The result of a fill: the content, and the attributes of its version if the share was asked for them.
pub(super) type FillResult = Option<(Arc<Whole>, Option<Statx>)>;

/// The fills that are under way.
#[derive(Default)]
pub(super) struct FillFlights {
    under_way: Mutex<HashMap<FileKey, Arc<Flight>>>,
}

struct Flight {
    begun: Instant,
    /// `None` while the fill is under way.
    result: Mutex<Option<FillResult>>,
    landed: Condvar,
}

/// Ends a flight even if the fill panics.
struct Landing<'a> {
    flights: &'a FillFlights,
    key: FileKey,
    flight: Arc<Flight>,
    result: FillResult,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        lock(&self.flights.under_way).remove(&self.key);
        *lock(&self.flight.result) = Some(self.result.take());
        self.flight.landed.notify_all();
    }
}

impl FillFlights {
    /// Fills a file, or waits for the thread that is filling it. In this case, it returns the time at which that thread
    /// began.
    pub(super) fn fill(
        &self,
        key: FileKey,
        fill: impl FnOnce() -> FillResult,
    ) -> (FillResult, Option<Instant>) {
        let mut under_way = lock(&self.under_way);
        if let Some(flight) = under_way.get(&key).map(Arc::clone) {
            drop(under_way);
            let mut result = lock(&flight.result);
            loop {
                if let Some(result) = &*result {
                    return (result.clone(), Some(flight.begun));
                }
                result = flight.landed.wait(result).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let flight =
            Arc::new(Flight { begun: Instant::now(), result: Mutex::default(), landed: Condvar::new() });
        under_way.insert(key, Arc::clone(&flight));
        drop(under_way);
        let mut landing = Landing { flights: self, key, flight, result: None };
        landing.result = fill();
        let result = landing.result.clone();
        drop(landing);
        (result, None)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
