//! Symbols: checks every reference of every relocation against the global scope.
//!
//! Source: `_dl_lookup_symbol_x` in glibc's `elf/dl-lookup.c`; musl `find_sym` and `do_relocs`.
//!
//! The check asks only whether any object of the scope satisfies a reference. So the order of the scope does
//! not matter, and the answer for a pair of objects is the same in every program that loads both. [`Memo`]
//! keeps these answers: each pair is looked up once per system. A versioned reference is looked up first in the
//! library that the version names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::elf::{Import, Machine, Uses, VersionRule, Wanted};
use crate::host::DynamicLoader;
use crate::loader::effort::Budget;
use crate::loader::memo::{Memo, Question};
use crate::loader::vdso::Vdso;
use crate::loader::{
    EdgeOutcome, Effort, Facts, LeftToProgram, Load, LoadedObject, Memory, Problem, version,
};
use compat_sys::raw;

/// The budget cost of a lookup in an object's file.
const COST_OF_LOOK_UP: usize = 1;
/// The budget cost of a lookup in an object of a document.
const COST_OF_LISTED: usize = 2;
/// The budget cost of a known answer, in addition to an eighth of its length.
const COST_OF_ANSWER: usize = 8;

/// Adds the symbols that no loaded object defines. If a library is checked without a program (`is_program` is
/// false), the symbols that it and its libraries need are left to the program that loads it, unless they name a
/// loaded library.
pub(super) fn check(load: &mut Load, loader: &DynamicLoader, is_program: bool, memory: &Memory) {
    let known = Explained::of(load);
    let (memo, budget) = (&memory.bindings, &memory.budget);
    let by_name = load.by_name();
    let lazy_descriptors = load.lazy_descriptors;
    let ignores_versions = loader.is_musl();
    let scope = Scope { objects: &load.objects, by_name, ignores_versions, lazy_descriptors, memo, budget };
    let stops_without_versions = !loader.is_musl() && loader.is_older_than(2, 41);
    let mut problems = Vec::new();
    let mut left: BTreeMap<usize, LeftToProgram> = BTreeMap::new();
    for index in relocation_order(load, loader.is_musl()) {
        let object = &load.objects[index];
        let visible = if index < load.global { load.global } else { load.objects.len() };
        let unsatisfied = scope.unsatisfied(object, visible);
        if budget.exceeded().is_some() {
            // The objects that were not searched may define the rest.
            break;
        }
        for import in unsatisfied {
            let import = object.facts.import(import as usize);
            if known.explains(object, &import) || scope.kernel_satisfies(&import, visible) {
                continue;
            }
            if !budget.spend(Effort::Problems, size(object, &import)) {
                break;
            }
            let names_loaded =
                import.version.is_some_and(|version| scope.position(version.library).is_some());
            if !is_program && !names_loaded {
                let symbols = Vec::new();
                let new = || LeftToProgram { object: object.shown.clone(), symbols };
                let of_object = left.entry(index).or_insert_with(new);
                of_object.symbols.push(raw::string(import.name));
                continue;
            }
            problems.push(missing(object, &import, scope.is_lazy(object, &import)));
        }
        if loader.is_musl() {
            problems.extend(scope.own_not_found(object, visible));
        }
        if stops_without_versions && !object.facts.names_only {
            let versionless = scope.versionless(object);
            problems.extend(versionless.into_iter().take_while(|_| budget.exceeded().is_none()));
        }
    }
    load.problems.extend(problems);
    load.left_to_program = left.into_values().collect();
}

/// The relocation order of the objects. glibc relocates from the last loaded object to the program; musl
/// relocates the libraries first and the program last.
fn relocation_order(load: &Load, is_musl: bool) -> Vec<usize> {
    let count = load.objects.len();
    if is_musl { (1..count).chain(0..count.min(1)).collect() } else { load.relocated((0..count).collect()) }
}

/// Returns whether the loader binds thread-local variables with descriptors at their first use.
/// `elf_machine_lazy_rel` does so in glibc before 2.34 on x86, and before 2.27 on Arm.
pub(super) fn is_lazy_about_descriptors(load: &Load, loader: &DynamicLoader) -> bool {
    let Some(program) = load.objects.first().filter(|_| !loader.is_musl()) else { return false };
    // A loader before 2.33 does not contain its version.
    let libc = || load.by_name().get("libc.so.6").map(|index| Arc::clone(&load.objects[*index].facts));
    let minor = || version::minor_of_release(libc()?.release.as_deref()?);
    match program.facts.machine {
        Machine::X86_64 | Machine::I386 => loader.is_older_than(2, 34),
        Machine::AARCH64 | Machine::ARM => {
            loader.is_older_than(2, 27) && minor().is_some_and(|minor| minor < 27)
        }
        _ => false,
    }
}

/// The approximate size of a report that a symbol is missing, in bytes.
fn size(object: &LoadedObject, import: &Import<'_>) -> usize {
    let version = import.version.map_or(0, |version| version.library.len() + version.name.len());
    64 + object.shown.len() + import.name.len() + version
}

fn missing(object: &LoadedObject, import: &Import<'_>, lazy: bool) -> Problem {
    Problem::SymbolMissing {
        symbol: raw::string(import.name),
        version: import.version.map(|version| version.name.to_owned()),
        library: import.version.map(|version| version.library.to_owned()),
        wanted_by: object.shown.clone(),
        lazy,
    }
}

struct Scope<'a> {
    objects: &'a [LoadedObject],
    by_name: HashMap<&'a str, usize>,
    ignores_versions: bool,
    lazy_descriptors: bool,
    memo: &'a Memo,
    budget: &'a Budget,
}

impl Scope<'_> {
    /// Returns the references of an object that none of the first `visible` objects satisfies, in import order.
    fn unsatisfied(&self, object: &LoadedObject, visible: usize) -> Vec<u32> {
        let references = self.memo.references(&object.facts);
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

    /// Returns whether a reference binds to the vDSO, the kernel's object, which is in the scope of the objects
    /// that need it.
    fn kernel_satisfies(&self, import: &Import<'_>, visible: usize) -> bool {
        let Some(program) = self.objects.first() else { return false };
        let needs_it = |object: &LoadedObject| object.edges.iter().any(|e| e.outcome == EdgeOutcome::Kernel);
        Vdso::of(program.facts.machine, program.facts.class).satisfies(import)
            && self.objects[..visible].iter().any(needs_it)
    }

    /// Returns whether a reference is looked up only at the first call or use.
    fn is_lazy(&self, object: &LoadedObject, import: &Import<'_>) -> bool {
        let uses = import.uses;
        let is_lazy = uses.is_lazy() || (self.lazy_descriptors && uses.is_lazy_with_descriptors());
        is_lazy && !self.ignores_versions && !object.facts.flags.bind_now
    }

    /// Returns the versioned references of an object that reach a library of the right name whose definitions
    /// have no versions.
    fn versionless(&self, object: &LoadedObject) -> Vec<Problem> {
        let references = self.memo.references(&object.facts);
        let strong = references.groups.iter().map(|(library, group)| (library.as_deref(), group));
        let weak = references.weak.iter().map(|(library, group)| (Some(library.as_str()), group));
        let named = strong.chain(weak).enumerate().filter_map(|(number, (library, group))| {
            let position = self.position(library?)?;
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
                symbol: raw::string(first.name),
                lazy: imports.iter().all(|import| self.is_lazy(object, import)),
            });
        }
        problems
    }

    /// Returns the references of an object to its own symbols that musl's loader does not find. This loader
    /// ignores definitions that only versioned references bind to, and does not support indirect functions.
    fn own_not_found(&self, object: &LoadedObject, visible: usize) -> Vec<Problem> {
        let mut problems = Vec::new();
        for import in object.facts.own_references() {
            let wanted = Wanted { version: VersionRule::Ignored, ..Wanted::of(&import) };
            let satisfies = |other: &LoadedObject| {
                self.budget.spend(Effort::Symbols, COST_OF_ANSWER);
                other.facts.names_only || other.facts.satisfies(&wanted)
            };
            if satisfies(object) || self.budget.exceeded().is_some() {
                continue;
            }
            if !self.objects[..visible].iter().any(satisfies) {
                self.budget.spend(Effort::Problems, size(object, &import));
                // musl ignores versions and prints none.
                problems.push(missing(object, &Import { version: None, ..import }, false));
            }
        }
        problems
    }

    fn position(&self, library: &str) -> Option<usize> {
        self.by_name.get(library).copied()
    }

    /// Returns the references of a group that none of the providers satisfies.
    fn left_by_all(
        &self,
        facts: &Facts,
        number: usize,
        group: &Arc<[u32]>,
        providers: impl Iterator<Item = usize>,
    ) -> Vec<u32> {
        let mut left: Option<Vec<u32>> = None;
        for provider in providers {
            if self.budget.exceeded().is_some() {
                break;
            }
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

    /// Returns the references of a whole group that one object does not satisfy.
    fn left_by(&self, facts: &Facts, number: usize, group: &Arc<[u32]>, provider: usize) -> Arc<[u32]> {
        let asked = &self.objects[provider].facts;
        if asked.names_only {
            // The object's definitions are not known, so it satisfies everything: only names are checked.
            return Arc::from([]);
        }
        let question = Question {
            wanting: facts.number,
            group: number,
            asked: asked.number,
            ignores_versions: self.ignores_versions,
            is_program: provider == 0,
        };
        if let Some(known) = self.memo.known(&question) {
            self.budget.spend(Effort::Symbols, COST_OF_ANSWER + known.len() / 8);
            return known;
        }
        let cost = if asked.object().is_some() { COST_OF_LOOK_UP } else { COST_OF_LISTED };
        if !self.budget.spend(Effort::Symbols, COST_OF_ANSWER + cost * group.len()) {
            return Arc::clone(group);
        }
        let satisfies = |index: &&u32| {
            let import = facts.import(**index as usize);
            let mut wanted = Wanted::of(&import);
            if self.ignores_versions {
                wanted.version = VersionRule::Ignored;
            }
            // A copy relocation looks for the variable in every object except the program.
            let passed_over = provider == 0 && import.uses.contains(Uses::COPY);
            !passed_over && asked.satisfies(&wanted)
        };
        let leftover: Arc<[u32]> = group.iter().filter(|index| !satisfies(index)).copied().collect();
        self.memo.remember(question, &leftover);
        leftover
    }
}

/// The symbols that earlier problems already explain, because their library or version is missing.
struct Explained {
    libraries: HashSet<String>,
    /// The missing libraries and versions, by the object that needs them.
    versions: HashMap<String, HashSet<(String, String)>>,
}

impl Explained {
    fn of(load: &Load) -> Self {
        let mut known = Self { libraries: HashSet::new(), versions: HashMap::new() };
        for problem in &load.problems {
            match problem {
                Problem::LibraryMissing { library, .. }
                | Problem::HostLibraryMissing { library, .. }
                | Problem::LibraryUnusable { library, .. } => {
                    known.libraries.insert(library.clone());
                }
                Problem::VersionMissing { library, version, wanted_by, .. } => {
                    let of_object = known.versions.entry(wanted_by.clone()).or_default();
                    of_object.insert((library.clone(), version.clone()));
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
                    || self.versions.get(&object.shown).is_some_and(|known| {
                        known.contains(&(version.library.to_owned(), version.name.to_owned()))
                    })
            }
            // A symbol without a version may belong to a library that is missing.
            None => !self.libraries.is_empty(),
        }
    }
}
