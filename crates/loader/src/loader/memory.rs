//! Facts about a host that are valid for every program that is started on it. Each object, loader and cache is
//! read once, and each pair of objects is bound once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::host::{DynamicLoader, LibraryCache};
use crate::loader::effort::Budget;
use crate::loader::lock::locked;
use crate::loader::memo::Memo;

/// Caches by their paths and the byte order of the loader that reads them (`true`: big-endian).
type Caches = HashMap<(String, bool), Option<Arc<LibraryCache>>>;

/// The remembered facts about the files of one host, and the remaining budget of the current check.
#[derive(Debug, Default)]
pub struct Memory {
    loaders: Arc<Mutex<HashMap<String, Option<Arc<DynamicLoader>>>>>,
    caches: Arc<Mutex<Caches>>,
    pub(super) bindings: Arc<Memo>,
    /// The remaining budget for the current application.
    pub(super) budget: Budget,
}

impl Memory {
    /// Begins a new check with a full budget.
    pub fn begin(&self) {
        self.budget.refill(0);
    }

    /// Returns the same memory with a separate budget for a concurrent check.
    pub(super) fn shared(&self) -> Self {
        Self {
            loaders: Arc::clone(&self.loaders),
            caches: Arc::clone(&self.caches),
            bindings: Arc::clone(&self.bindings),
            budget: Budget::default(),
        }
    }

    /// Returns the facts of the loader at `path`, which is read the first time.
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

    /// Returns the cache at `path` for a byte order, which is read the first time.
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
