//! Locks for data that threads share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Returns the data that a mutex guards. A poisoned mutex is accepted: the data consists of answers that are
/// inserted whole, so a panic elsewhere does not corrupt it.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
