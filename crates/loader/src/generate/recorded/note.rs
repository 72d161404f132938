//! What the user should know of recorded runs, and of what they loaded.

use std::collections::HashSet;

use super::Found;
use crate::loader::Problem;
use crate::spec::RecordedLibrary;
use compat_trace::Runs;

impl Found {
    /// What is to be told when the specification is made.
    pub fn notes(&self, runs: Option<&Runs>) -> Vec<String> {
        let hosts = runs.map(|runs| runs.hosts.iter().cloned().collect::<Vec<_>>().join(", "));
        let mut notes = self.gone(&hosts.unwrap_or_default());
        notes.extend(self.hiding.iter().map(|program| {
            format!(
                "{program} is linked statically, or is a dynamic loader that was executed by itself: how it \
                 searches for what it loaded, and for which program, is not told, and a check is undecided"
            )
        }));
        notes.extend(self.run_directories.iter().map(|(directory, (program, library))| {
            format!(
                "{program} found {library} in {directory} in a recorded run, which is in no search path that is known: as \
                 far as the recording tells it was in LD_LIBRARY_PATH, and a check that does not have it there is \
                 undecided. Where the application's start sets it, say so by --library-path {directory}"
            )
        }));
        let mut known = HashSet::new();
        for (program, load) in &self.loads {
            for message in load.problems.iter().filter_map(Problem::loader_message) {
                let note = format!("what {program} loaded in a recorded run would not load here: {message}");
                if known.insert(note.clone()) {
                    notes.push(note);
                }
            }
        }
        notes
    }

    /// What is not there any more.
    fn gone(&self, hosts: &str) -> Vec<String> {
        let programs = &self.recorded.programs;
        let libraries = programs.iter().flat_map(|program| &program.libraries);
        let libraries = libraries.filter(|library| library.gone).map(|library| library.path.as_str());
        let gone_programs =
            programs.iter().filter(|program| program.gone).map(|program| program.path.as_str());
        let gone: Vec<&str> = gone_programs.filter(|path| !path.is_empty()).chain(libraries).collect();
        let unknown = programs.iter().filter(|program| program.path.is_empty());
        let of_unknown: Vec<&str> = unknown
            .flat_map(|program| &program.libraries)
            .map(|library: &RecordedLibrary| &*library.path)
            .collect();
        let gone = list(&gone).map(|list| {
            format!("the runs on {hosts} loaded {list}, which is not here: a check cannot look into it")
        });
        let of_unknown = list(&of_unknown).map(|list| {
            format!(
                "the recording does not tell which program loaded {list} on {hosts}: a check is undecided"
            )
        });
        gone.into_iter().chain(of_unknown).collect()
    }
}

/// The first of some paths, and how many more there are; nothing where there is none.
fn list(paths: &[&str]) -> Option<String> {
    match paths {
        [] => None,
        [first] => Some((*first).to_owned()),
        [first, others @ ..] => Some(format!("{first} and {} more", others.len())),
    }
}
