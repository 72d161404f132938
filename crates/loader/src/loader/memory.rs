//! What was found out about a host and holds for every program that is started on it: each object,
//! loader and cache is read once, each pair of objects bound once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::host::{DynamicLoader, LibraryCache};
use crate::loader::effort::Budget;
use crate::loader::lock::locked;
use crate::loader::memo::Memo;

/// Caches by their paths and the byte order of the loader that reads them (`true`: big-endian).
type Caches = HashMap<(String, bool), Option<Arc<LibraryCache>>>;

/// What is remembered about the files of one host, and what the check at hand may still spend.
#[derive(Debug, Default)]
pub struct Memory {
    loaders: Arc<Mutex<HashMap<String, Option<Arc<DynamicLoader>>>>>,
    caches: Arc<Mutex<Caches>>,
    pub(super) bindings: Arc<Memo>,
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

    /// What was read of the loader at `path`; what is not known yet is read.
    pub(super) fn dynamic_loader(
        &self,
        path: &str,
        read: impl FnOnce() -> Option<Arc<DynamicLoader>>,
    ) -> Option<Arc<DynamicLoader>> {
        if let Some(known) = locked(&self.loaders).get(path) {
            return known.clone();
        }
        let loader = read();
        locked(&self.loaders).insert(path.to_owned(), loader.clone());
        loader
    }

    /// What was read of the cache at `path` in a byte order; what is not known yet is read.
    pub(super) fn library_cache(
        &self,
        path: &str,
        big_endian: bool,
        read: impl FnOnce() -> Option<Arc<LibraryCache>>,
    ) -> Option<Arc<LibraryCache>> {
        let key = (path.to_owned(), big_endian);
        if let Some(known) = locked(&self.caches).get(&key) {
            return known.clone();
        }
        let cache = read();
        locked(&self.caches).insert(key, cache.clone());
        cache
    }
}
