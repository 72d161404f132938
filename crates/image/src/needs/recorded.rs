//! Looks up the libraries of recorded runs in the image.

use std::collections::{HashMap, HashSet};

use super::Survey;
use super::files::{TreeFiles, relative};
use compat_loader::generate::recorded::{Found, Ground, RecordedContent, find};
use compat_loader::loader::{Context, Environment, Files, Problem, Start, start};
use compat_loader::spec::{HostLibrary, Recorded, Symbols};
use compat_trace::Runs;

/// The image's root.
struct InImage<'f, 'a> {
    files: &'f TreeFiles<'a>,
}

impl Ground for InImage<'_, '_> {
    fn files(&self) -> &dyn Files {
        self.files
    }

    fn content(&self, path: &str) -> RecordedContent {
        self.files.content(path)
    }

    fn place(&self, path: &str) -> String {
        format!("/{}", relative(path))
    }

    fn shown(&self, path: &str) -> String {
        relative(path)
    }
}

impl Survey {
    /// Starts the executed programs and opens the loaded libraries of runs, so that all of them become objects.
    pub(super) fn add_runs(&mut self, runs: &Runs, files: &TreeFiles<'_>, environment: &Environment) {
        let found = find(runs, &InImage { files }, environment);
        for program in found.recorded.programs.iter().filter(|program| !program.gone) {
            let path = format!("/{}", program.path);
            let load = start(&Start { path: &path, shown: &path }, Context::new(files, environment));
            self.add_objects(&load);
        }
        for (program, load) in &found.loads {
            self.add_objects(load);
            let missing = load.problems.iter().filter_map(|problem| match problem {
                Problem::HostLibraryMissing { library, provider, .. } => Some((library, provider)),
                _ => None,
            });
            missing.for_each(|(library, provider)| self.add_host_library(library, provider, load));
            self.open_later(program, load, files, environment);
        }
        let notes = found.notes(Some(runs));
        let known: HashSet<String> = self.notes.iter().cloned().collect();
        self.notes.extend(notes.into_iter().filter(|note| !known.contains(note)));
        if self.recorded.is_none() {
            self.recorded = Some(self.with_host_libraries(found, runs, files));
        }
    }

    /// Adds the libraries that a container runtime brought into the runs as host libraries.
    fn with_host_libraries(&mut self, found: Found, runs: &Runs, files: &TreeFiles<'_>) -> Recorded {
        let mut recorded = found.recorded;
        let asked = AskedNames::of(runs);
        for program in &mut recorded.programs {
            for library in program.libraries.iter_mut().filter(|library| library.gone) {
                let name = asked.name(&library.path);
                let Some(provider) = files.provider(&name) else { continue };
                library.name = Some(name.clone());
                self.host_libraries.entry(name.clone()).or_insert_with(|| HostLibrary {
                    name,
                    provider,
                    wanted_by: vec![program.path.clone()],
                    versions: Vec::new(),
                    symbols: Symbols::default(),
                });
            }
        }
        recorded
    }
}

/// The names by which libraries were opened, taken from links that were read.
struct AskedNames<'a> {
    /// The longest link of those with the same name up to `.so`.
    links: HashMap<&'a str, &'a str>,
}

impl<'a> AskedNames<'a> {
    /// Collects the names of these runs.
    fn of(runs: &'a Runs) -> Self {
        let mut links: HashMap<&str, &str> = HashMap::new();
        for link in &runs.links {
            let Some(stem) = stem(link) else { continue };
            let longest = links.entry(stem).or_insert(link);
            if link.len() >= longest.len() {
                *longest = link;
            }
        }
        Self { links }
    }

    /// The name of the link that led to a library, or else the library's own name.
    fn name(&self, path: &str) -> String {
        let link = stem(path).and_then(|stem| self.links.get(stem).copied());
        let path = link.unwrap_or(path);
        path.rsplit('/').next().unwrap_or(path).to_owned()
    }
}

/// A path up to `.so`.
fn stem(path: &str) -> Option<&str> {
    path.find(".so").map(|end| &path[..end])
}
