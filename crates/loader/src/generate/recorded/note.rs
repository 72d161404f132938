//! Notes for the user about recorded runs and the files that they loaded.

use std::collections::HashSet;

use super::Found;
use crate::loader::Problem;
use crate::spec::RecordedLibrary;
use compat_trace::Runs;

impl Found {
    /// Returns the notes that are printed when the specification is made.
    pub fn notes(&self, runs: Option<&Runs>) -> Vec<String> {
        let hosts = runs.map(|runs| runs.hosts.iter().cloned().collect::<Vec<_>>().join(", "));
        let mut notes = self.gone(&hosts.unwrap_or_default());
        notes.extend(self.hiding.iter().map(|program| {
            format!(
                "{program} is linked statically or is a dynamic loader that was executed directly: its search path \
                 is not known, so a check will be undecided"
            )
        }));
        notes.extend(self.run_directories.iter().map(|(directory, (program, library))| {
            format!(
                "{program} found {library} in {directory} in a recorded run, but {directory} is not in a known \
                 search path: it was probably in LD_LIBRARY_PATH, and a check without it is undecided. If the start \
                 of the application sets LD_LIBRARY_PATH, pass --library-path {directory}"
            )
        }));
        let mut known = HashSet::new();
        for (program, load) in &self.loads {
            for message in load.problems.iter().filter_map(Problem::loader_message) {
                let note = format!(
                    "a library that {program} loaded in a recorded run would not load here: {message}"
                );
                if known.insert(note.clone()) {
                    notes.push(note);
                }
            }
        }
        notes
    }

    /// Returns notes about programs and libraries that no longer exist.
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
            format!("the runs on {hosts} loaded {list}, which cannot be found: a check cannot inspect it")
        });
        let of_unknown = list(&of_unknown).map(|list| {
            format!(
                "the recording does not show which program loaded {list} on {hosts}: a check will be undecided"
            )
        });
        gone.into_iter().chain(of_unknown).collect()
    }
}

/// Returns the first path and the number of the others, or `None` if there are no paths.
fn list(paths: &[&str]) -> Option<String> {
    match paths {
        [] => None,
        [first] => Some((*first).to_owned()),
        [first, others @ ..] => Some(format!("{first} and {} more", others.len())),
    }
}
