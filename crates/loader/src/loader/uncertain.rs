//! What a saved host that does not record every place leaves open.
//!
//! A library that is found nowhere may lie in a place that is not recorded, and so may another file than the
//! one that was found. What would be said of the file's versions and symbols, and of what it loads,
//! is then not said: the library itself leaves the verdict undecided.

use std::collections::HashSet;

use crate::loader::{Load, LoadedObject, Problem, above};

/// Takes away the problems that depend on a library of which nobody can tell which file it is.
pub(super) fn leave_out_dependent(load: &mut Load) {
    let is_open = |problem: &Problem| match problem {
        Problem::LibraryUncertain { .. } => true,
        Problem::LibraryMissing { .. } => problem.effect() == crate::loader::Effect::Undecided,
        _ => false,
    };
    if !load.problems.iter().any(is_open) {
        return;
    }
    let uncertain = uncertain_objects(load);
    load.problems.retain(|problem| match problem {
        // Any library may define any symbol.
        Problem::SymbolMissing { .. } | Problem::VersionlessProvider { .. } => false,
        Problem::VersionMissing { path, .. }
        | Problem::VersionUnknown { path, .. }
        | Problem::RelrUndeclared { path, .. }
            if uncertain.contains(path) =>
        {
            false
        }
        Problem::LibraryUncertain { .. } => true,
        other => other.object().is_none_or(|object| !uncertain.contains(object)),
    });
}

/// The objects that may be other files, and those that only such ones load, by the paths that are shown.
fn uncertain_objects(load: &Load) -> HashSet<String> {
    let paths = load.problems.iter().filter_map(|problem| match problem {
        Problem::LibraryUncertain { path, .. } => Some(path.as_str()),
        _ => None,
    });
    let paths: HashSet<&str> = paths.collect();
    let own = |object: &LoadedObject| paths.contains(object.shown.as_str()).then_some(());
    let uncertain = load.objects.iter().zip(above::nearest(&load.objects, own));
    uncertain.filter(|(_, is_so)| is_so.is_some()).map(|(object, _)| object.shown.clone()).collect()
}
