//! The counters of a share: requests by kind and path, and the bytes that were read.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use compat_sys::raw;
use serde::{Deserialize, Serialize};

use crate::Operation;

/// The counters of a running share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_path: Mutex<HashMap<Box<[u8]>, Counted>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    operations: [u64; Operation::ALL.len()],
    bytes_read: u64,
}

impl Counters {
    /// Counts a request for a path.
    pub(crate) fn count(&self, operation: Operation, path: &[u8]) {
        self.change(path, |counted| counted.operations[operation as usize] += 1);
    }

    /// Counts bytes that were read from a path.
    pub(crate) fn read(&self, path: &[u8], bytes: usize) {
        self.change(path, |counted| counted.bytes_read += bytes as u64);
    }

    /// Sets all counters to zero.
    pub(crate) fn reset(&self) {
        self.lock().clear();
    }

    /// The current values.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (path, counted) in self.lock().iter() {
            let mut at = PathCounts { bytes_read: counted.bytes_read, ..PathCounts::default() };
            for (operation, count) in Operation::ALL.into_iter().zip(counted.operations) {
                if count > 0 {
                    at.operations.insert(operation, count);
                    *counts.operations.entry(operation).or_default() += count;
                }
            }
            counts.bytes_read += counted.bytes_read;
            counts.paths.insert(raw::string(path), at);
        }
        counts
    }

    fn change(&self, path: &[u8], change: impl FnOnce(&mut Counted)) {
        let mut by_path = self.lock();
        if let Some(counted) = by_path.get_mut(path) {
            change(counted);
        } else {
            change(by_path.entry(path.into()).or_default());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Counted>> {
        self.by_path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The values of all counters at one moment. Kinds that did not occur are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The requests by kind.
    pub operations: BTreeMap<Operation, u64>,
    /// The bytes of all reads.
    pub bytes_read: u64,
    /// The counters by path. A path begins with `/`, the root of the share. Bytes that are not UTF-8 are
    /// encoded as in [`compat_sys::raw`].
    pub paths: BTreeMap<String, PathCounts>,
}

/// The counters of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCounts {
    /// The requests by kind.
    pub operations: BTreeMap<Operation, u64>,
    /// The bytes of all reads.
    pub bytes_read: u64,
}

impl Counts {
    /// The number of requests of a kind.
    pub fn of(&self, operation: Operation) -> u64 {
        self.operations.get(&operation).copied().unwrap_or_default()
    }

    /// The number of requests that a server would be asked: see [`Operation::is_asked`].
    pub fn asked(&self) -> u64 {
        self.sum(Operation::is_asked)
    }

    /// The number of requests that a metadata server would be asked: see [`Operation::is_metadata`].
    pub fn metadata(&self) -> u64 {
        self.sum(Operation::is_metadata)
    }

    /// The number of requests of the selected kinds.
    pub fn sum(&self, selected: impl Fn(Operation) -> bool) -> u64 {
        let counts = self.operations.iter().filter(|(operation, _)| selected(**operation));
        counts.map(|(_, count)| count).sum()
    }

    /// The number of requests of a kind for a path.
    pub fn at(&self, operation: Operation, path: &str) -> u64 {
        let operations = self.paths.get(path).map(|counts| &counts.operations);
        operations.and_then(|counts| counts.get(&operation)).copied().unwrap_or_default()
    }

    /// The bytes that were read from a path.
    pub fn bytes_at(&self, path: &str) -> u64 {
        self.paths.get(path).map_or(0, |counts| counts.bytes_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sums_of_the_paths() {
        let counters = Counters::default();
        counters.count(Operation::Lookup, b"/a");
        counters.count(Operation::Lookup, b"/b\xff");
        counters.count(Operation::Read, b"/a");
        counters.count(Operation::Release, b"/a");
        counters.read(b"/a", 10);
        let counts = counters.counts();
        assert_eq!((counts.of(Operation::Lookup), counts.asked(), counts.metadata()), (2, 3, 2));
        assert_eq!(counts.at(Operation::Lookup, &raw::text(b"/b\xff")), 1);
        assert_eq!((counts.bytes_read, counts.bytes_at("/a"), counts.bytes_at("/b")), (10, 10, 0));
    }

    #[test]
    fn counts_are_the_same_after_a_round_through_json() {
        let counters = Counters::default();
        counters.count(Operation::Getattr, b"/\xff\xc3");
        counters.read(b"/x", 3);
        let counts = counters.counts();
        let text = serde_json::to_string(&counts).expect("JSON");
        assert_eq!(serde_json::from_str::<Counts>(&text).expect("counts"), counts);
        assert!(text.contains("\"GETATTR\":1"), "{text}");
    }

    #[test]
    fn a_reset_forgets_everything() {
        let counters = Counters::default();
        counters.count(Operation::Open, b"/a");
        counters.reset();
        assert_eq!(counters.counts(), Counts::default());
    }
}
