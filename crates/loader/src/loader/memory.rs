//! What was found out about a host and holds for every program that is started on it: each object,
//! loader and cache is read once, each pair of objects bound once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, LibraryCache};
use crate::loader::Files;
use crate::loader::binding;
use crate::loader::effort::Budget;

/// Caches by their paths and the byte order of the loader that reads them (`true`: big-endian).
type Caches = HashMap<(String, bool), Option<Arc<LibraryCache>>>;

/// What is remembered about the files of one host, and what the check at hand may still spend.
#[derive(Debug, Default)]
pub struct Memory {
    loaders: Arc<Mutex<HashMap<String, Option<Arc<DynamicLoader>>>>>,
    caches: Arc<Mutex<Caches>>,
    pub(super) bindings: Arc<binding::Memo>,
    /// What may still be done for the application at hand.
    pub(super) budget: Budget,
}

impl Memory {
    /// Begins a piece of work of its own: what was done before does not count against what it may take.
    pub fn begin(&self) {
        self.budget.refill(0);
    }

    /// The same memory, with a budget of its own for a check at the same time.
    pub(super) fn shared(&self) -> Self {
        Self {
            loaders: Arc::clone(&self.loaders),
            caches: Arc::clone(&self.caches),
            bindings: Arc::clone(&self.bindings),
            budget: Budget::default(),
        }
    }

    /// The facts of the loader at `path`; `None` when it is no loader that is known.
    pub(super) fn dynamic_loader(
        &self,
        files: &dyn Files,
        path: &str,
        machine: Machine,
        class: Class,
    ) -> Option<Arc<DynamicLoader>> {
        if let Some(known) = locked(&self.loaders).get(path) {
            return known.clone();
        }
        let loader = files.dynamic_loader(path, machine, class);
        locked(&self.loaders).insert(path.to_owned(), loader.clone());
        loader
    }

    /// The cache at `path` as a loader of a byte order reads it; `None` when there is none or it is corrupt.
    pub(super) fn library_cache(
        &self,
        files: &dyn Files,
        path: &str,
        big_endian: bool,
    ) -> Option<Arc<LibraryCache>> {
        let key = (path.to_owned(), big_endian);
        if let Some(known) = locked(&self.caches).get(&key) {
            return known.clone();
        }
        let cache = files.library_cache(path, big_endian);
        locked(&self.caches).insert(key, cache.clone());
        cache
    }
}

/// What a mutex guards. Each holds answers that are inserted whole, which a panic elsewhere does not spoil.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
