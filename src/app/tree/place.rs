//! The place of a problem in the tree: at a name that an object needs, or at the object.

use crate::app::tree::document::{Place, TreeObject};
use compat_loader::loader::{EdgeKind, Problem};

/// Returns the place of a problem, or `None` if its object was never loaded.
pub fn of(problem: &Problem, objects: &[TreeObject]) -> Option<Place> {
    let (wanted_by, library) = parties(problem)?;
    let mut found = None;
    for (object, node) in objects.iter().enumerate().filter(|(_, node)| node.path == wanted_by) {
        let need = library.and_then(|library| need(problem, node, library, objects));
        // If one script starts two programs, an object of both occurs twice.
        if need.is_some() || found.is_none() {
            found = Some(Place { object, need });
        }
        if need.is_some() {
            break;
        }
    }
    found
}

/// Returns the object that has the problem, and the library that the problem is about.
fn parties(problem: &Problem) -> Option<(&str, Option<&str>)> {
    Some(match problem {
        Problem::LibraryMissing { library, wanted_by, .. }
        | Problem::LibraryUncertain { library, wanted_by, .. }
        | Problem::HostLibraryMissing { library, wanted_by, .. }
        | Problem::LibraryUnusable { library, wanted_by, .. }
        | Problem::VersionMissing { library, wanted_by, .. }
        | Problem::VersionUnknown { library, wanted_by, .. }
        | Problem::VersionedLibraryNotLoaded { library, wanted_by }
        | Problem::VersionlessProvider { library, wanted_by, .. }
        | Problem::RelrUndeclared { library, wanted_by, .. } => (wanted_by, Some(library)),
        Problem::FilterFails { object, library, .. } => (object, Some(library)),
        Problem::DlopenMissing { need, wanted_by, .. } => {
            (wanted_by, need.sonames.first().map(String::as_str))
        }
        Problem::SymbolMissing { wanted_by, .. } | Problem::IndirectFunctionOfProgram { wanted_by, .. } => {
            (wanted_by, None)
        }
        Problem::MixedLibc { library, .. } => (library, None),
        Problem::WrongMachine { object, .. }
        | Problem::NotAProgram { object, .. }
        | Problem::InterpreterMissing { object, .. }
        | Problem::InterpreterUnknown { object, .. }
        | Problem::OtherLibc { object, .. }
        | Problem::LoaderMissing { object, .. }
        | Problem::MachineUncertain { object, .. }
        | Problem::ScriptTooDeep { object }
        | Problem::ProgramMissing { object, .. }
        | Problem::ScriptFails { object, .. }
        | Problem::Emulated { object, .. }
        | Problem::ScriptNotFollowed { object, .. }
        | Problem::Interpreted { object, .. }
        | Problem::RelrUnknown { object }
        | Problem::StaticTlsFull { object, .. }
        | Problem::IsaTooLow { object, .. }
        | Problem::SegmentsUnusable { object, .. }
        | Problem::ObjectUnknown { object }
        | Problem::CpuUnknown { object, .. }
        | Problem::Packed { object, .. }
        | Problem::NotExecutable { object, .. }
        | Problem::KernelTooOld { object, .. } => (object, None),
        Problem::PreloadIgnored { .. } | Problem::EffortExceeded { .. } => return None,
    })
}

/// Returns the position of `library` among the names that an object needs.
fn need(problem: &Problem, object: &TreeObject, library: &str, objects: &[TreeObject]) -> Option<usize> {
    let at_run_time = matches!(problem, Problem::DlopenMissing { .. });
    object.needs.iter().position(|edge| {
        let is_dlopen = matches!(edge.kind, EdgeKind::Dlopen { .. });
        let target = edge.object.map(|target| &objects[target]);
        let is_library = edge.name == library || target.is_some_and(|target| target.goes_by(library));
        is_dlopen == at_run_time && is_library
    })
}
