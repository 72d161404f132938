//! Symbols: every reference of every relocation against the global scope.
//!
//! Source: `_dl_lookup_symbol_x` in glibc's `elf/dl-lookup.c`; musl `find_sym` and `do_relocs`.
//!
//! What is asked is whether a reference is satisfied by any object of the scope, so the order of the
//! scope does not matter, and the answer for one pair of objects is the same in every program that
//! loads both. [`Memo`] keeps these answers: over a whole system each pair is looked at once. A
//! reference with a version is looked for in the library that the version names before all others.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::elf::{Import, Uses, VersionRule, Wanted};
use crate::host::DynamicLoader;
use crate::loader::{Facts, Load, LoadedObject, Problem};

/// Adds the symbols that are defined nowhere. For a library on its own (`is_program` is false),
/// its own unresolved symbols are left to the program that will load it.
pub(super) fn check(load: &mut Load, loader: &DynamicLoader, is_program: bool, memo: &Memo) {
    let known = Known::of(load);
    let scope = Scope { objects: &load.objects, ignores_versions: loader.is_musl(), memo };
    let stops_without_versions = !loader.is_musl() && loader.is_older_than(2, 41);
    let mut problems = Vec::new();
    let mut left = Vec::new();
    for index in relocation_order(load.objects.len(), loader.is_musl()) {
        let object = &load.objects[index];
        let visible = if index < load.global { load.global } else { load.objects.len() };
        for import in scope.unsatisfied(object, visible) {
            let import = object.facts.import(import as usize);
            if known.explains(object, &import) {
                continue;
            }
            if !is_program && index == 0 {
                left.push(String::from_utf8_lossy(import.name).into_owned());
                continue;
            }
            problems.push(missing(object, &import, is_lazy(object, &import, loader)));
        }
        if stops_without_versions && !object.facts.names_only {
            problems.extend(scope.versionless(object, loader));
        }
    }
    load.problems.extend(problems);
    load.left_to_program = left;
}

/// The order in which objects are relocated: glibc from the last loaded to the program, musl the libraries
/// first and the program last.
fn relocation_order(count: usize, is_musl: bool) -> Vec<usize> {
    match is_musl {
        true => (1..count).chain(0..count.min(1)).collect(),
        false => (0..count).rev().collect(),
    }
}

/// Whether a reference is looked up at the first call only.
fn is_lazy(object: &LoadedObject, import: &Import<'_>, loader: &DynamicLoader) -> bool {
    import.uses.is_lazy() && !loader.is_musl() && !object.facts.flags.bind_now
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

/// Answers that hold in every program.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// The strong references of an object, by its number.
    references: RefCell<HashMap<u64, Rc<References>>>,
    /// Which references of a group one object leaves unsatisfied.
    leftovers: RefCell<HashMap<Question, Rc<[u32]>>>,
}

/// The object that wants, the group of its references, the object that is asked, whether versions are
/// ignored, whether the one that is asked is the program.
type Question = (u64, usize, u64, bool, bool);

/// The references of one object that must be satisfied, by the library that they name.
#[derive(Debug)]
struct References {
    /// The library, and indices of imports; the last group names none.
    groups: Vec<(Option<String>, Rc<[u32]>)>,
}

impl References {
    fn of(facts: &Facts) -> Self {
        let mut named: Vec<(String, Vec<u32>)> = Vec::new();
        let mut unnamed = Vec::new();
        for index in 0..facts.import_count() {
            let import = facts.import(index);
            let Ok(number) = u32::try_from(index) else { break };
            if import.weak {
                continue;
            }
            match import.version.filter(|version| !version.library.is_empty()) {
                Some(version) => match named.iter_mut().find(|(library, _)| library == version.library) {
                    Some((_, group)) => group.push(number),
                    None => named.push((version.library.to_owned(), vec![number])),
                },
                None => unnamed.push(number),
            }
        }
        let mut groups: Vec<_> =
            named.into_iter().map(|(library, group)| (Some(library), group.into())).collect();
        groups.push((None, unnamed.into()));
        Self { groups }
    }
}

struct Scope<'a> {
    objects: &'a [LoadedObject],
    ignores_versions: bool,
    memo: &'a Memo,
}

impl Scope<'_> {
    /// The references of an object that none of the first `visible` objects satisfies, in the order of
    /// its imports.
    fn unsatisfied(&self, object: &LoadedObject, visible: usize) -> Vec<u32> {
        let references = self.references(&object.facts);
        let mut unsatisfied = Vec::new();
        for (number, (library, group)) in references.groups.iter().enumerate() {
            if group.is_empty() {
                continue;
            }
            let named = library.as_deref().and_then(|library| self.position(library));
            let named = named.filter(|index| *index < visible);
            let others = (0..visible).filter(|index| Some(*index) != named);
            unsatisfied.extend(self.left_by_all(
                &object.facts,
                number,
                group,
                named.into_iter().chain(others),
            ));
        }
        unsatisfied.sort_unstable();
        unsatisfied
    }

    /// Versioned references of an object that reach a library of the right name whose definitions carry
    /// no versions.
    fn versionless(&self, object: &LoadedObject, loader: &DynamicLoader) -> Vec<Problem> {
        let references = self.references(&object.facts);
        let named = references.groups.iter().enumerate().filter_map(|(number, (library, group))| {
            let position = self.position(library.as_deref()?)?;
            let provider = &self.objects[position];
            (!provider.facts.has_symbol_versions() && !provider.facts.names_only)
                .then_some((number, group, position, provider))
        });
        let mut problems = Vec::new();
        for (number, group, position, provider) in named {
            let earlier = self.left_by_all(&object.facts, number, group, 0..position);
            let own = self.left_by(&object.facts, number, group, position);
            let reach = earlier.iter().filter(|index| own.binary_search(index).is_err());
            let imports: Vec<_> = reach.map(|index| object.facts.import(*index as usize)).collect();
            let Some(first) = imports.first() else { continue };
            problems.push(Problem::VersionlessProvider {
                library: first.version.map_or_else(String::new, |version| version.library.to_owned()),
                path: provider.shown.clone(),
                wanted_by: object.shown.clone(),
                symbol: String::from_utf8_lossy(first.name).into_owned(),
                lazy: imports.iter().all(|import| is_lazy(object, import, loader)),
            });
        }
        problems
    }

    fn references(&self, facts: &Facts) -> Rc<References> {
        let mut known = self.memo.references.borrow_mut();
        Rc::clone(known.entry(facts.number).or_insert_with(|| Rc::new(References::of(facts))))
    }

    fn position(&self, library: &str) -> Option<usize> {
        self.objects.iter().position(|object| object.goes_by(library))
    }

    /// What is left of a group when every object has been asked.
    fn left_by_all(
        &self,
        facts: &Facts,
        number: usize,
        group: &Rc<[u32]>,
        providers: impl Iterator<Item = usize>,
    ) -> Vec<u32> {
        let mut left: Option<Vec<u32>> = None;
        for provider in providers {
            let leftover = self.left_by(facts, number, group, provider);
            match &mut left {
                None => left = Some(leftover.to_vec()),
                Some(left) => left.retain(|index| leftover.binary_search(index).is_ok()),
            }
            if left.as_ref().is_some_and(Vec::is_empty) {
                break;
            }
        }
        left.unwrap_or_else(|| group.to_vec())
    }

    /// What one object leaves unsatisfied of a whole group.
    fn left_by(&self, facts: &Facts, number: usize, group: &Rc<[u32]>, provider: usize) -> Rc<[u32]> {
        let asked = &self.objects[provider].facts;
        if asked.names_only {
            // What it defines is not known, and it is as good as everything: names are all that is asked.
            return Rc::from([]);
        }
        let question = (facts.number, number, asked.number, self.ignores_versions, provider == 0);
        if let Some(known) = self.memo.leftovers.borrow().get(&question) {
            return Rc::clone(known);
        }
        let satisfies = |index: &&u32| {
            let import = facts.import(**index as usize);
            let mut wanted = Wanted::of(&import);
            if self.ignores_versions {
                wanted.version = VersionRule::Ignored;
            }
            // A copy relocation looks for the variable everywhere but in the program.
            let passed_over = provider == 0 && import.uses.contains(Uses::COPY);
            !passed_over && asked.satisfies(&wanted)
        };
        let leftover: Rc<[u32]> = group.iter().filter(|index| !satisfies(index)).copied().collect();
        self.memo.leftovers.borrow_mut().insert(question, Rc::clone(&leftover));
        leftover
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
                Problem::LibraryMissing { library, .. }
                | Problem::HostLibraryMissing { library, .. }
                | Problem::LibraryUnusable { library, .. } => {
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
