//! Locks around what threads share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex guards. Each holds answers that are inserted whole, which a panic elsewhere does not spoil.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
