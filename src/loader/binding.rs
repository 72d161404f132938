//! Symbols: every reference of every relocation against the global scope.
//!
//! Source: `_dl_lookup_symbol_x` in glibc's `elf/dl-lookup.c`; musl `find_sym` and `do_relocs`.

use std::collections::{HashMap, HashSet};

use crate::elf::{Import, Uses, VersionRule, Wanted};
use crate::host::DynamicLoader;
use crate::loader::{Load, LoadedObject, Problem};

/// Adds the symbols that are defined nowhere. For a library on its own (`is_program` is false),
/// its own unresolved symbols are left to the program that will load it.
pub(super) fn check(load: &mut Load, loader: &DynamicLoader, is_program: bool) {
    let known = Known::of(load);
    let mut scope =
        Scope { objects: &load.objects, ignores_versions: loader.is_musl(), found: HashMap::new() };
    let mut problems = Vec::new();
    let mut left = Vec::new();
    let binds_now = loader.is_musl() || load.objects.first().is_some_and(|o| o.facts.flags.bind_now);
    for (index, object) in load.objects.iter().enumerate() {
        for import in object.facts.imports() {
            if import.weak || known.explains(object, &import) || scope.satisfies(&import) {
                continue;
            }
            if !is_program && index == 0 {
                left.push(String::from_utf8_lossy(import.name).into_owned());
                continue;
            }
            let lazy = import.uses.is_lazy() && !binds_now && !object.facts.flags.bind_now;
            problems.push(missing(object, &import, lazy));
        }
    }
    drop(scope);
    load.problems.extend(problems);
    load.left_to_program = left;
}

fn missing(object: &LoadedObject, import: &Import<'_>, lazy: bool) -> Problem {
    Problem::SymbolMissing {
        symbol: String::from_utf8_lossy(import.name).into_owned(),
        version: import.version.map(|version| version.name.to_owned()),
        library: import.version.map(|version| version.library.to_owned()),
        wanted_by: object.shown.clone(),
        lazy,
    }
}

/// The global scope, with the answers given so far.
struct Scope<'a> {
    objects: &'a [LoadedObject],
    ignores_versions: bool,
    found: HashMap<Question<'a>, bool>,
}

/// What an answer depends on: name, version, whether an undefined definition counts, whether the
/// program itself is passed over.
type Question<'a> = (&'a [u8], Option<&'a str>, bool, bool);

impl<'a> Scope<'a> {
    fn satisfies(&mut self, import: &Import<'a>) -> bool {
        let mut wanted = Wanted::of(import);
        if self.ignores_versions {
            wanted.version = VersionRule::Ignored;
        }
        let skips_program = import.uses.contains(Uses::COPY);
        let version = import.version.map(|version| version.name);
        let question = (import.name, version, wanted.accept_undefined, skips_program);
        if let Some(answer) = self.found.get(&question) {
            return *answer;
        }
        let scope = &self.objects[usize::from(skips_program).min(self.objects.len())..];
        let answer = scope.iter().any(|object| object.facts.satisfies(&wanted));
        self.found.insert(question, answer);
        answer
    }
}

/// What earlier problems already explain: a symbol of a library or version that is missing.
struct Known {
    libraries: HashSet<String>,
    versions: HashSet<(String, String, String)>,
}

impl Known {
    fn of(load: &Load) -> Self {
        let mut known = Self { libraries: HashSet::new(), versions: HashSet::new() };
        for problem in &load.problems {
            match problem {
                Problem::LibraryMissing { library, .. } | Problem::LibraryUnusable { library, .. } => {
                    known.libraries.insert(library.clone());
                }
                Problem::VersionMissing { library, version, wanted_by, .. } => {
                    known.versions.insert((wanted_by.clone(), library.clone(), version.clone()));
                }
                _ => {}
            }
        }
        known
    }

    fn explains(&self, object: &LoadedObject, import: &Import<'_>) -> bool {
        match import.version {
            Some(version) => {
                self.libraries.contains(version.library)
                    || self.versions.contains(&(
                        object.shown.clone(),
                        version.library.to_owned(),
                        version.name.to_owned(),
                    ))
            }
            // Without a version it may well have been in a library that is missing.
            None => !self.libraries.is_empty(),
        }
    }
}
