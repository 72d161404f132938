//! The libraries of a directory that no other object in it loads.
//!
//! Each library is loaded separately, to find the other libraries that it loads. The roots of this graph are
//! the subjects. Names do not decide which libraries these are. If libraries load one another, the one that
//! gets furthest represents all of them, and names decide only between equals.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::loader::{Effect, Facts, Load, Problem};

/// The result of loading one library without a program.
struct Attempt<'a> {
    path: &'a str,
    /// The worst effect, the number of problems, and properties that distinguish equal libraries.
    rank: (Effect, usize, Option<String>, Option<String>),
    /// The other candidates that it loaded.
    loads: BTreeSet<usize>,
}

/// The candidates that no subject has loaded yet, by their index among the application's objects.
pub(super) struct Trial<'a> {
    left: BTreeMap<usize, Attempt<'a>>,
}

impl<'a> Trial<'a> {
    /// Loads each candidate separately.
    pub(super) fn all(
        candidates: &BTreeMap<&'a str, usize>,
        objects: &[(String, Arc<Facts>)],
        mut start: impl FnMut(&str) -> Load,
    ) -> Self {
        let known: BTreeSet<usize> = candidates.values().copied().collect();
        let mut attempt = |(path, place): (&&'a str, &usize)| {
            // A single candidate is the root, no matter which objects it loads.
            let load = if known.len() > 1 { start(path) } else { Load::default() };
            (*place, Attempt::of(path, *place, &objects[*place].1, &load, &known))
        };
        Self { left: candidates.iter().map(&mut attempt).collect() }
    }

    /// Takes the libraries, by path, that no other remaining library loads, or `None` at the end.
    pub(super) fn next_roots(&mut self) -> Option<Vec<&'a str>> {
        let mut loaded_by: HashMap<usize, Vec<usize>> = HashMap::new();
        for (place, attempt) in &self.left {
            attempt.loads.iter().for_each(|other| loaded_by.entry(*other).or_default().push(*place));
        }
        let loads = |one: usize, other: usize| self.left[&one].loads.contains(&other);
        let is_root = |place: &&usize| {
            let by = loaded_by.get(*place).map_or(&[][..], Vec::as_slice);
            by.iter().all(|other| loads(**place, *other))
        };
        let mut roots: Vec<usize> = self.left.keys().filter(is_root).copied().collect();
        if roots.is_empty() {
            // A cycle in which some do not load all others: any of them may come first.
            roots = self.left.keys().copied().collect();
            roots.sort_by_key(|place| self.rank(*place));
            roots.truncate(1);
        }
        roots.sort_by_key(|place| self.rank(*place));
        let mut chosen: Vec<usize> = Vec::new();
        for root in roots {
            let is_stood_for = loaded_by.get(&root).is_some_and(|by| by.iter().any(|by| chosen.contains(by)));
            if !is_stood_for {
                chosen.push(root);
            }
        }
        // A start that fails at once does not even load the library itself.
        let mut paths: Vec<&str> =
            chosen.iter().filter_map(|place| Some(self.left.remove(place)?.path)).collect();
        paths.sort_unstable();
        (!paths.is_empty()).then_some(paths)
    }

    /// Removes the libraries that a subject has loaded: they are not subjects.
    pub(super) fn forget(&mut self, loaded: impl Iterator<Item = usize>) {
        loaded.for_each(|place| {
            self.left.remove(&place);
        });
    }

    fn rank(&self, place: usize) -> impl Ord + use<'_> {
        let attempt = &self.left[&place];
        (&attempt.rank, attempt.path)
    }
}

impl<'a> Attempt<'a> {
    fn of(path: &'a str, place: usize, facts: &Facts, load: &Load, known: &BTreeSet<usize>) -> Self {
        let worst = load.problems.iter().map(Problem::effect).max().unwrap_or(Effect::None);
        let loads = load.in_scope().filter(|other| *other != place && known.contains(other));
        let rank = (worst, load.problems.len(), facts.soname.clone(), facts.build_id.clone());
        Self { path, rank, loads: loads.collect() }
    }
}
