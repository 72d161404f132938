//! Cases that a saved host cannot decide because it does not record every place.
//!
//! A library that was not found may be in an unrecorded place. A file that was found may be hidden by another
//! file in such a place. Its versions, its symbols and the libraries that it loads are then not reported: the
//! library itself leaves the verdict undecided.

use std::collections::HashSet;

use crate::loader::{Load, LoadedObject, Problem, above};

/// Removes the problems that depend on a library whose file is uncertain.
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

/// Returns the objects that may be other files, and those that only such objects load, by the paths that are
/// shown.
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
