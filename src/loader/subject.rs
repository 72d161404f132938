//! The subjects of a specification: its programs, libraries and scripts, started on a host.

use crate::loader::{Environment, Load, Problem, ScopeFiles, Start, start, start_script_line};
use crate::spec::Specification;

/// The environment with the directories that the application itself puts into `LD_LIBRARY_PATH`; those
/// of the scope come first.
pub fn environment_of(
    specification: &Specification,
    files: &ScopeFiles<'_>,
    environment: &Environment,
) -> Environment {
    let own = specification.library_path.iter().map(|directory| match directory.starts_with('/') {
        true => directory.clone(),
        false => files.path_of(directory),
    });
    let all: Vec<String> = own.chain(environment.library_path.clone()).collect();
    let library_path = (!all.is_empty()).then(|| all.join(":"));
    Environment { library_path, ..environment.clone() }
}

/// Starts one subject of a specification as far as its entry point.
pub fn start_subject(
    specification: &Specification,
    subject: &str,
    files: &ScopeFiles<'_>,
    environment: &Environment,
) -> Load {
    if let Some(script) = specification.scripts.iter().find(|script| script.path == subject) {
        let argument = script.argument.as_deref();
        return start_script_line(subject, &script.interpreter, argument, files, environment);
    }
    let unknown = specification.object(subject).filter(|object| !files.knows(object));
    if let Some(object) = unknown {
        return Load::of(Problem::WrongMachine {
            object: subject.to_owned(),
            machine: object.machine.clone(),
            host: environment.platform.machine.to_string(),
        });
    }
    start(&Start { path: &files.path_of(subject), shown: subject }, files, environment)
}
