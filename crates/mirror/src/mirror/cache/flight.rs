//! Questions that are being asked. Threads that need the same answer wait for the first one.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::mirror::number::NodeId;

/// A question to the share about a node. `u64` is the ticket of the node's facts ([`super::facts::Facts::ticket`]):
/// nobody waits for an answer from before a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::mirror) enum FlightKey {
    /// The attributes of a node.
    Attributes(NodeId, u64),
    /// A name in a directory.
    Name(NodeId, u64, Box<[u8]>),
    /// The names in a directory.
    Listing(NodeId, u64),
}

/// The questions that are being asked.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Flights {
    under_way: Mutex<HashMap<FlightKey, Arc<Flight>>>,
}

#[derive(Debug, Default)]
struct Flight {
    result: Mutex<Option<Result<(), Errno>>>,
    landed: Condvar,
}

/// Ends a flight even if the question panics.
struct Landing<'a> {
    flights: &'a Flights,
    key: &'a FlightKey,
    flight: Arc<Flight>,
    result: Result<(), Errno>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.flights.under_way().remove(self.key);
        *lock(&self.flight.result) = Some(self.result);
        self.flight.landed.notify_all();
    }
}

impl Flights {
    fn under_way(&self) -> MutexGuard<'_, HashMap<FlightKey, Arc<Flight>>> {
        lock(&self.under_way)
    }

    /// Asks a question, or waits for the thread that is asking it. The answer is stored by `ask`, so callers look for it
    /// afterwards.
    ///
    /// # Errors
    ///
    /// If `ask` fails, in this thread or in the other one.
    pub(in crate::mirror) fn ask(
        &self,
        key: &FlightKey,
        ask: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut under_way = self.under_way();
        if let Some(flight) = under_way.get(key).map(Arc::clone) {
            drop(under_way);
            let mut result = lock(&flight.result);
            loop {
                if let Some(result) = *result {
                    return result;
                }
                result = flight.landed.wait(result).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let flight = Arc::new(Flight::default());
        under_way.insert(key.clone(), Arc::clone(&flight));
        drop(under_way);
        let mut landing = Landing { flights: self, key, flight, result: Err(Errno::IO) };
        landing.result = ask();
        landing.result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn many_threads_ask_once() {
        let (flights, asked) = (Flights::default(), AtomicUsize::new(0));
        let ask = || {
            asked.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(50));
            Err(Errno::NOENT)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| flights.ask(&FlightKey::Listing(NodeId(7), 0), ask))).collect();
            for thread in threads {
                assert_eq!(thread.join().expect("no panic"), Err(Errno::NOENT));
            }
        });
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(flights.ask(&FlightKey::Listing(NodeId(7), 0), || Ok(())), Ok(()), "it is asked again");
        assert!(flights.under_way().is_empty());
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let flights = Flights::default();
        let key = FlightKey::Name(NodeId(1), 0, b"a".as_slice().into());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = flights.ask(&key, || panic!("as tested"));
        }));
        assert!(panicked.is_err() && flights.under_way().is_empty());
    }
}
