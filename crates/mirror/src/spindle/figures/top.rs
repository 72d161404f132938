//! The paths with the most opens and bytes, in bounded memory.
//!
//! A table keeps a fixed number of paths. If it is full, a new path takes over the entry with the fewest bytes, as in
//! the algorithm Space-Saving (Metwally et al., 2005). A path with many bytes therefore comes into the table even if it
//! appears late. Its former counts are lost, so that the counts are lower bounds. As long as the table has room, they
//! are exact.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use compat_trace::Name;

use super::{PathFigures, TOP};

/// The number of tables, so that threads rarely wait for each other.
const TABLES: usize = 16;
/// The number of paths in each table.
const PATHS: usize = 256;
/// The longest path that is counted, as the kernel's `PATH_MAX`.
const LONGEST: usize = 4096;

/// The most used paths.
#[derive(Debug, Default)]
pub(super) struct TopPaths {
    hasher: RandomState,
    tables: [Mutex<HashMap<Vec<u8>, Used>>; TABLES],
}

/// The use of one path.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    opens: u64,
    bytes: u64,
    /// The bytes of the paths that had this entry before. They count when an entry is chosen for removal.
    inherited: u64,
}

impl Used {
    fn weight(&self) -> u64 {
        self.inherited.saturating_add(self.bytes).saturating_add(self.opens)
    }
}

impl TopPaths {
    /// Counts opens of a path, and bytes.
    pub(super) fn add(&self, path: &[u8], opens: u64, bytes: u64) {
        if path.len() > LONGEST {
            return;
        }
        let table = self.hasher.hash_one(path) as usize % TABLES;
        let mut table = self.tables[table].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = table.get_mut(path) {
            used.opens = used.opens.saturating_add(opens);
            used.bytes = used.bytes.saturating_add(bytes);
            return;
        }
        let mut used = Used { opens, bytes, inherited: 0 };
        if table.len() >= PATHS
            && let Some((least, weight)) =
                table.iter().map(|(path, used)| (path, used.weight())).min_by_key(|(_, weight)| *weight)
        {
            let least = least.clone();
            table.remove(&least);
            used.inherited = weight;
        }
        table.insert(path.to_vec(), used);
    }

    /// Returns the paths with the most bytes and those with the most opens.
    pub(super) fn highest(&self) -> (Vec<PathFigures>, Vec<PathFigures>) {
        let mut all = Vec::new();
        for table in &self.tables {
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(table.iter().map(|(path, used)| PathFigures {
                path: Name(path.clone()),
                opens: used.opens,
                bytes: used.bytes,
            }));
        }
        highest(all)
    }
}

/// Returns the paths with the most bytes and those with the most opens. Equal paths come in alphabetical order.
pub(super) fn highest(mut all: Vec<PathFigures>) -> (Vec<PathFigures>, Vec<PathFigures>) {
    all.sort_by(|one, other| (Reverse(one.bytes), &one.path).cmp(&(Reverse(other.bytes), &other.path)));
    let by_bytes = all.iter().filter(|path| path.bytes > 0).take(TOP).cloned().collect();
    all.sort_by(|one, other| (Reverse(one.opens), &one.path).cmp(&(Reverse(other.opens), &other.path)));
    all.retain(|path| path.opens > 0);
    all.truncate(TOP);
    (by_bytes, all)
}

/// Returns the figures of each path once. Those of a path that is in both lists of a document are equal.
pub(super) fn once(mut all: Vec<PathFigures>) -> Vec<PathFigures> {
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all.dedup_by(|one, other| one.path == other.path);
    all
}

/// Returns the sum of the figures of each path.
pub(super) fn sum(all: impl Iterator<Item = PathFigures>) -> Vec<PathFigures> {
    let mut sums: HashMap<Name, PathFigures> = HashMap::new();
    for path in all {
        let sum = sums
            .entry(path.path.clone())
            .or_insert_with(|| PathFigures { path: path.path.clone(), ..PathFigures::default() });
        sum.opens = sum.opens.saturating_add(path.opens);
        sum.bytes = sum.bytes.saturating_add(path.bytes);
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathFigures]) -> Vec<(String, u64, u64)> {
        paths.iter().map(|path| (path.path.text().into_owned(), path.opens, path.bytes)).collect()
    }

    #[test]
    fn the_lists_are_exact_while_the_table_has_room() {
        let top = TopPaths::default();
        for number in 1..=20_u64 {
            for _ in 0..number {
                top.add(format!("/{number:02}").as_bytes(), 1, 1000 - number * number);
            }
        }
        let (by_bytes, by_opens) = top.highest();
        assert_eq!(by_bytes.len(), TOP);
        assert_eq!(names(&by_opens)[0], ("/20".to_owned(), 20, 20 * 600));
        assert_eq!(names(&by_bytes)[0], ("/18".to_owned(), 18, 18 * 676));
    }

    #[test]
    fn a_late_path_comes_into_a_full_table_and_the_memory_stays_bounded() {
        let top = TopPaths::default();
        for number in 0..TABLES * PATHS * 4 {
            top.add(format!("/once/{number}").as_bytes(), 1, 10);
        }
        for _ in 0..5000 {
            top.add(b"/late", 1, 10);
            top.add(&[b'/'; LONGEST + 1], 1, 10);
        }
        let entries: usize = top.tables.iter().map(|table| table.lock().expect("a table").len()).sum();
        assert!(entries <= TABLES * PATHS, "{entries}");
        let (by_bytes, by_opens) = top.highest();
        assert_eq!(names(&by_bytes)[0], ("/late".to_owned(), 5000, 50_000));
        assert_eq!(names(&by_opens)[0].0, "/late");
    }
}
