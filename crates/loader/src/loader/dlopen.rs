//! Checks the libraries that objects open at run time, according to their notes.
//!
//! The notes (`.note.dlopen`) are advice: the requirements of such a library are not checked. The search is
//! that of dlopen(3) called from the object with the note.

use std::collections::HashSet;
use std::sync::Arc;

use crate::loader::index::Index;
use crate::loader::search::{Outcome, Search};
use crate::loader::{Edge, EdgeKind, EdgeOutcome, Effort, KnownBy, Load, Problem, Rejection};
use crate::spec::DlopenNeed;

/// Looks up every library that the notes of the loaded objects name. Adds an edge for each library and a
/// problem for each missing one.
pub(super) fn look_up(search: &Search<'_>, load: &mut Load, index: &Index) {
    for number in 0..load.objects.len() {
        let facts = Arc::clone(&load.objects[number].facts);
        for need in &facts.dlopen {
            let attempt = Attempt::of(need, number, search, load, index);
            if search.context().budget().exceeded().is_some() {
                return;
            }
            if attempt.edge.outcome == EdgeOutcome::Missing {
                let problem = attempt.problem(need, load.objects[number].shown.clone());
                search.context().budget().spend(Effort::Problems, problem.size());
                load.problems.push(problem);
            }
            load.objects[number].edges.push(attempt.edge);
        }
    }
}

/// The search for one library under all its names.
struct Attempt {
    edge: Edge,
    searched: Vec<String>,
    rejected: Vec<Rejection>,
}

impl Attempt {
    fn of(need: &DlopenNeed, requester: usize, search: &Search<'_>, load: &Load, index: &Index) -> Self {
        let name = need.sonames.first().cloned().unwrap_or_default();
        let kind = EdgeKind::Dlopen { priority: need.priority };
        let edge = Edge { name, kind, outcome: EdgeOutcome::Missing };
        let mut attempt = Self { edge, searched: Vec::new(), rejected: Vec::new() };
        for soname in &need.sonames {
            let name = search.expand(soname, &load.objects[requester]);
            let outcome = match index.find(&name) {
                Some(index) => EdgeOutcome::Known(index, KnownBy::Name),
                None => attempt.search(&name, requester, search, load),
            };
            if outcome != EdgeOutcome::Missing {
                attempt.edge = Edge { name, kind, outcome };
                break;
            }
        }
        attempt
    }

    fn search(&mut self, name: &str, requester: usize, search: &Search<'_>, load: &Load) -> EdgeOutcome {
        match search.find(name, requester, &load.objects) {
            Outcome::Found(_, path, rule) => return EdgeOutcome::Available { path, rule },
            Outcome::Stopped { path, reason } => self.rejected.push(Rejection { path, reason }),
            Outcome::NotInjected { rejected, .. } => self.rejected.extend(rejected),
            Outcome::Missing { searched, rejected } => {
                self.searched.extend(searched);
                self.rejected.extend(rejected);
            }
        }
        EdgeOutcome::Missing
    }

    fn problem(&self, need: &DlopenNeed, wanted_by: String) -> Problem {
        let mut known = HashSet::new();
        let searched = self.searched.iter().filter(|directory| known.insert(directory.as_str())).cloned();
        Problem::DlopenMissing {
            need: Box::new(need.clone()),
            wanted_by,
            searched: searched.collect(),
            rejected: self.rejected.clone(),
        }
    }
}
