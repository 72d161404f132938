//! Fills that are under way. Threads that open the same file wait for the first one.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::Statx;

use super::FileKey;
use super::whole::Whole;

/// The result of a fill: the content, and the attributes of its version.
pub(super) type FillResult = Option<(Arc<Whole>, Statx)>;

/// The fills that are under way.
#[derive(Default)]
pub(super) struct FillFlights {
    under_way: Mutex<HashMap<FileKey, Arc<Flight>>>,
}

#[derive(Default)]
struct Flight {
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
    /// Fills a file, or waits for the thread that is filling it. Returns whether this thread did it.
    pub(super) fn fill(&self, key: FileKey, fill: impl FnOnce() -> FillResult) -> (FillResult, bool) {
        let mut under_way = lock(&self.under_way);
        if let Some(flight) = under_way.get(&key).map(Arc::clone) {
            drop(under_way);
            let mut result = lock(&flight.result);
            loop {
                if let Some(result) = &*result {
                    return (result.clone(), false);
                }
                result = flight.landed.wait(result).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let flight = Arc::new(Flight::default());
        under_way.insert(key, Arc::clone(&flight));
        drop(under_way);
        let mut landing = Landing { flights: self, key, flight, result: None };
        landing.result = fill();
        let result = landing.result.clone();
        drop(landing);
        (result, true)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
