//! What was found out about a host and holds for every program that is started on it: each object,
//! loader and cache is read once, each pair of objects bound once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, LibraryCache};
use crate::loader::Files;
use crate::loader::binding;
use crate::loader::effort::Budget;

/// Caches by their paths and the byte order of the loader that reads them (`true`: big-endian).
type Caches = HashMap<(String, bool), Option<Arc<LibraryCache>>>;

/// What is remembered about the files of one host.
#[derive(Debug, Default)]
pub struct Memory {
    loaders: RefCell<HashMap<String, Option<Arc<DynamicLoader>>>>,
    caches: RefCell<Caches>,
    pub(super) bindings: binding::Memo,
    /// What may still be done for the application at hand.
    pub(super) budget: Budget,
}

impl Memory {
    /// Begins a piece of work of its own: what was done before does not count against what it may take.
    pub fn begin(&self) {
        self.budget.refill(0);
    }

    /// The facts of the loader at `path`; `None` when it is no loader that is known.
    pub(super) fn dynamic_loader(
        &self,
        files: &dyn Files,
        path: &str,
        machine: Machine,
        class: Class,
    ) -> Option<Arc<DynamicLoader>> {
        if let Some(known) = self.loaders.borrow().get(path) {
            return known.clone();
        }
        let loader = files.dynamic_loader(path, machine, class);
        self.loaders.borrow_mut().insert(path.to_owned(), loader.clone());
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
        if let Some(known) = self.caches.borrow().get(&key) {
            return known.clone();
        }
        let cache = files.library_cache(path, big_endian);
        self.caches.borrow_mut().insert(key, cache.clone());
        cache
    }
}
