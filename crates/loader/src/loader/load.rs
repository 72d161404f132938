//! The objects of a program: breadth-first, each name once.
//!
//! Source: `_dl_map_object_deps` in glibc's `elf/dl-deps.c` (order), `_dl_map_object` and
//! `_dl_map_object_from_fd` in `elf/dl-load.c` (names and identities of what is already loaded); musl
//! `load_deps` and `load_library`.

mod filter;
mod plugin;
mod preload;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::elf::{Dependency, DependencyKind};
use crate::host::{DynamicLoader, Platform};
use crate::loader::candidate::{Fit, Verdict};
use crate::loader::files::Identity;
use crate::loader::index::{Index, goes_by};
use crate::loader::search::{Outcome, Search};
use crate::loader::vdso::Vdso;
use crate::loader::{
    Edge, EdgeOutcome, Effort, Elsewhere, Environment, Facts, Files, KnownBy, Opened, Problem, Reason,
    binding, dlopen, indirect, layout, start, static_tls, uncertain, version,
};
use compat_sys::raw;

/// The most objects of one program: more than the largest programs have by far. Each is asked for the
/// symbols of each other.
const MOST_OBJECTS: usize = 4096;
/// What loading one object takes of the budget.
const COST_OF_OBJECT: usize = 64;

/// Why an object is where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum Rule {
    /// It is the program, or the library in question.
    Program,
    /// The program names it as its loader.
    Interpreter,
    /// `/etc/ld.so.preload` names it.
    Preload,
    /// The needed name is a path.
    Path,
    /// The RPATH of an object.
    Rpath {
        /// The object.
        object: String,
    },
    /// `LD_LIBRARY_PATH`.
    LibraryPath,
    /// The RUNPATH of an object.
    Runpath {
        /// The object.
        object: String,
    },
    /// `ld.so.cache`.
    Cache,
    /// A directory that the loader searches last.
    DefaultDirectory,
    /// A container runtime brings it from the host.
    Injected,
}

/// One object in the program's scope.
#[derive(Clone, Debug)]
pub struct LoadedObject {
    /// Its path.
    pub path: String,
    /// Its path as people and the loader's messages show it.
    pub shown: String,
    /// What `$ORIGIN` stands for in it.
    pub origin: String,
    /// The names under which it is known to be loaded.
    pub names: Vec<String>,
    /// What it says.
    pub facts: Arc<Facts>,
    /// The object that first asked for it, by its index.
    pub loaded_by: Option<usize>,
    /// Why it is this file.
    pub rule: Rule,
    /// Whether it is part of the scope rather than of the host.
    pub in_scope: bool,
    /// What it asks for, in order; of the program, the preloads first.
    pub edges: Vec<Edge>,
    /// How many were loaded before it.
    order: usize,
    identity: Identity,
}

/// What one object leaves to the program that loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftToProgram {
    /// The object, as people see it.
    pub object: String,
    /// The symbols, in the order of its symbol table.
    pub symbols: Vec<String>,
}

/// What became of a program's start.
#[derive(Debug, Default)]
pub struct Load {
    /// The objects in the order of the scope: the program first.
    pub objects: Vec<LoadedObject>,
    /// What the loader objects to, in the order in which it would.
    pub problems: Vec<Problem>,
    /// Symbols that a library, or one that it loads, leaves to the program that loads it; in the order of the
    /// objects.
    pub left_to_program: Vec<LeftToProgram>,
    /// What was found where only the program that loads it looks for it.
    pub elsewhere: Vec<Elsewhere>,
    /// How many objects are in the global scope; the rest was opened later, and only those see it.
    pub(super) global: usize,
    /// The loader takes no notice of versions (musl).
    pub(super) ignores_versions: bool,
    /// The loader binds thread-local variables that are reached by descriptors at their first use.
    pub(super) lazy_descriptors: bool,
}

impl Load {
    /// The names of what an object wants from others: with musl's loader that may be its own, too.
    pub fn wanted_names(&self, object: &LoadedObject) -> Vec<String> {
        let own = if self.ignores_versions { object.facts.found_by_version_only() } else { Vec::new() };
        let all = object.facts.imports().into_iter().chain(own);
        all.map(|import| raw::string(import.name)).collect()
    }

    /// The objects by the names that were asked for, which a version's library name may mean them by; the
    /// first of each name (`_dl_name_match_p`).
    pub(super) fn by_name(&self) -> HashMap<&str, usize> {
        let mut known = HashMap::new();
        for (index, object) in self.objects.iter().enumerate() {
            for name in &object.names {
                known.entry(name.as_str()).or_insert(index);
            }
        }
        known
    }

    /// Some of the objects in the order in which glibc relocates them: the last loaded first. Those that another one
    /// filters are among what it needs, and are relocated before it.
    pub(super) fn relocated(&self, mut objects: Vec<usize>) -> Vec<usize> {
        objects.sort_by_key(|index| Reverse(self.objects[*index].order));
        objects
    }

    /// The places, among the application's objects, of those that were loaded.
    pub(super) fn in_scope(&self) -> impl Iterator<Item = usize> {
        self.objects.iter().filter_map(|object| match object.identity {
            Identity::Scope(place) => Some(place),
            Identity::Host(_) | Identity::Profile(_) => None,
        })
    }

    /// Adds what another program that is started besides came to.
    pub(super) fn append(&mut self, other: Self) {
        let before = self.objects.len();
        for mut object in other.objects {
            object.loaded_by = object.loaded_by.map(|by| by + before);
            object.edges = object.edges.into_iter().map(|edge| edge.moved(|index| index + before)).collect();
            self.objects.push(object);
        }
        self.problems.extend(other.problems);
        self.ignores_versions |= other.ignores_versions;
        self.lazy_descriptors |= other.lazy_descriptors;
    }
}

/// The program to be loaded.
pub(super) struct Program {
    pub opened: Opened,
    /// Its path.
    pub path: String,
    /// Its path as people see it.
    pub shown: String,
}

/// What the program loads itself once it runs (dlopen(3)).
#[derive(Default)]
pub(super) struct Later<'a> {
    /// An object that was opened already.
    pub plugin: Option<Program>,
    /// Names and paths of libraries, in the order in which the program opens them.
    pub names: &'a [String],
}

/// Loads a program or library with the given loader, and then what the program loads itself.
pub(super) fn load(
    program: Program,
    later: Later<'_>,
    loader: &DynamicLoader,
    loader_file: Opened,
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    let facts = Arc::clone(&program.opened.facts);
    let kernel = environment.platform.kernel.filter(|_| !loader.knows_relr);
    let fit = Fit {
        program: &facts,
        kernel,
        is_musl: loader.is_musl(),
        is_old: loader.is_older_than(2, 35),
        ends_at_files: loader.is_older_than(2, 39),
        platform: &environment.platform,
        is_this_machine: files.is_this_machine(),
    };
    let search = Search::new(files, environment, loader, fit);
    let waiting = LoadedObject::of_loader(loader, loader_file);
    let mut loading = Loading {
        search,
        loader,
        waiting: Some(waiting),
        load: Load::default(),
        index: Index::default(),
        fit,
        opened: Vec::new(),
        exceeded: None,
    };
    loading.add_program(program);
    loading.judge_library();
    loading.add_preloads();
    loading.add_dependencies(0);
    let global = loading.load.objects.len();
    loading.load.global = global;
    if let Some(plugin) = later.plugin {
        loading.opened.push(global);
        loading.add_plugin(plugin);
        loading.add_dependencies(global);
    }
    for name in later.names {
        let next = loading.load.objects.len();
        if loading.is_too_much() {
            break;
        }
        loading.opened.push(next);
        loading.add_dependency(name, DependencyKind::Needed, 0);
        loading.add_dependencies(next);
    }
    loading.load.ignores_versions = loader.is_musl();
    loading.concluded(facts.is_program(), files, environment)
}

struct Loading<'a> {
    search: Search<'a>,
    loader: &'a DynamicLoader,
    /// The loader itself: loaded from the start, in the scope from when something asks for it.
    waiting: Option<LoadedObject>,
    load: Load,
    index: Index,
    /// What every object must fit.
    fit: Fit<'a>,
    /// The first object of each dlopen(3); empty while the program starts.
    opened: Vec<usize>,
    /// What it took too much of: nothing more is loaded, and nothing said of what needs it.
    exceeded: Option<Effort>,
}

impl LoadedObject {
    /// The same where the objects got other numbers.
    fn moved(mut self, places: &[usize]) -> Self {
        self.loaded_by = self.loaded_by.map(|by| places[by]);
        self.edges = self.edges.into_iter().map(|edge| edge.moved(|index| places[index])).collect();
        self
    }

    /// Which file it is.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// The program, alone in its scope.
    pub(super) fn alone(program: Program) -> Self {
        Self {
            origin: directory_of(&program.path),
            names: Vec::new(),
            in_scope: program.opened.is_in_scope(),
            path: program.path,
            shown: program.shown,
            facts: program.opened.facts,
            loaded_by: None,
            rule: Rule::Program,
            edges: Vec::new(),
            order: 0,
            identity: program.opened.identity,
        }
    }
}

impl LoadedObject {
    fn of_loader(loader: &DynamicLoader, opened: Opened) -> Self {
        let names = std::iter::once(loader.path.clone()).chain(opened.facts.soname.clone());
        Self {
            path: loader.path.clone(),
            shown: loader.path.clone(),
            origin: directory_of(&loader.path),
            names: names.collect(),
            facts: opened.facts,
            loaded_by: None,
            rule: Rule::Interpreter,
            in_scope: false,
            edges: Vec::new(),
            order: 0,
            identity: opened.identity,
        }
    }
}

impl Loading<'_> {
    /// Checks what was loaded. Where not all of it was, what is missing of it cannot be told.
    fn concluded(self, is_program: bool, files: &dyn Files, environment: &Environment) -> Load {
        let Loading { mut load, waiting, search, loader, index, exceeded, opened, .. } = self;
        let is_musl = loader.is_musl();
        load.lazy_descriptors = binding::is_lazy_about_descriptors(&load, loader);
        if exceeded.is_none() && !is_musl {
            version::check(&mut load, loader, waiting.as_ref(), &files.memory().budget);
        }
        layout::check(&mut load, Some(loader), &environment.platform);
        start::check_platform(&mut load, Some(loader), environment);
        if exceeded.is_none() {
            indirect::check(&mut load, loader, &files.memory().budget);
            binding::check(&mut load, loader, is_program, files.memory());
            static_tls::check(&mut load, loader, &opened, &files.memory().budget);
            dlopen::look_up(&search, &mut load, &index);
        }
        uncertain::leave_out_dependent(&mut load);
        let exceeded = exceeded.or(files.memory().budget.exceeded());
        load.problems.extend(exceeded.map(|effort| Problem::EffortExceeded { effort }));
        load
    }

    fn add_program(&mut self, program: Program) {
        let real = self.search.files().real_path(&program.path);
        let program = LoadedObject { origin: directory_of(&real), ..LoadedObject::alone(program) };
        self.admit(program);
    }

    /// What the loader says of a library that is loaded on its own.
    fn judge_library(&mut self) {
        let object = &self.load.objects[0];
        if object.facts.is_program() {
            return;
        }
        let opened = Opened { identity: object.identity, facts: Arc::clone(&object.facts) };
        if let Some(reason) = self.search.refusal(opened) {
            let (library, path, wanted_by) =
                (object.shown.clone(), object.shown.clone(), object.shown.clone());
            self.object_once(Problem::LibraryUnusable { library, path, wanted_by, reason });
        }
    }

    /// Loads what the objects from number `first` on need, breadth-first; what an object filters comes before
    /// all else that waits.
    fn add_dependencies(&mut self, first: usize) {
        let mut scope = filter::Scope::new(first..self.load.objects.len());
        while let Some(index) = scope.take_next() {
            let facts = Arc::clone(&self.load.objects[index].facts);
            for dependency in &facts.needed {
                // musl reads DT_NEEDED only.
                if self.loader.is_musl() && dependency.kind != DependencyKind::Needed {
                    continue;
                }
                let name = self.search.expand(&dependency.name, &self.load.objects[index]);
                if self.is_too_much() {
                    return;
                }
                let known = self.load.objects.len();
                let outcome = match self.is_token_refused(dependency, index) {
                    true => EdgeOutcome::Missing,
                    false => self.add_dependency(&name, dependency.kind, index),
                };
                scope.extend(known..self.load.objects.len());
                if dependency.kind != DependencyKind::Needed
                    && let EdgeOutcome::Loaded(object) | EdgeOutcome::Known(object, _) = outcome
                {
                    self.bring_forward(&mut scope, object, index, index == first);
                }
                let edge = Edge { name: self.shown_name(&name), kind: dependency.kind.into(), outcome };
                self.load.objects[index].edges.push(edge);
            }
        }
        self.judge_filters(&scope);
        self.arrange(first, &scope);
    }

    /// Whether what was loaded is all that will be.
    fn is_too_much(&mut self) -> bool {
        let budget = &self.search.files().memory().budget;
        budget.spend(Effort::Libraries, 4);
        self.exceeded = self.exceeded.or(budget.exceeded());
        self.exceeded.is_some()
    }

    fn add_dependency(&mut self, name: &str, kind: DependencyKind, requester: usize) -> EdgeOutcome {
        if let Some(outcome) = self.already_loaded(name, requester) {
            return outcome;
        }
        if self.load.objects.len() >= MOST_OBJECTS {
            self.exceeded = Some(Effort::Libraries);
            return EdgeOutcome::Missing;
        }
        let wanted_by = self.load.objects[requester].shown.clone();
        let library = self.shown_name(name);
        let is_optional = kind == DependencyKind::Auxiliary;
        let outcome = self.search.find(name, requester, &self.load.objects);
        if self.is_too_much() {
            // What was found may not be what a search to the end would have found.
            return EdgeOutcome::Missing;
        }
        match outcome {
            Outcome::Found(opened, path, rule) => {
                if let Some(reason) = self.refusal_at_run_time(&opened) {
                    if !is_optional {
                        let reason = reason.to_owned();
                        self.object_once(Problem::LibraryUnusable { library, path, wanted_by, reason });
                    }
                    return EdgeOutcome::Missing;
                }
                self.tell_unsure(name, &path, &wanted_by);
                return self.push(opened, path, vec![name.to_owned()], Some(requester), rule);
            }
            _ if is_optional => {}
            Outcome::Stopped { path, reason } => {
                self.object_once(Problem::LibraryUnusable {
                    library: self.search.files().placed(name),
                    path,
                    wanted_by,
                    reason: reason.to_string(),
                });
            }
            Outcome::NotInjected { provider, rejected } => {
                self.object_once(Problem::HostLibraryMissing { library, provider, wanted_by, rejected });
            }
            Outcome::Missing { searched, rejected } => {
                self.object_once(Problem::LibraryMissing {
                    library: self.search.files().placed(name),
                    wanted_by,
                    searched,
                    rejected,
                });
            }
        }
        EdgeOutcome::Missing
    }

    /// A name that may be a path, as people should see it.
    fn shown_name(&self, name: &str) -> String {
        if name.contains('/') { self.search.files().placed(name) } else { name.to_owned() }
    }

    /// Notes that a saved host may have another file of the name than the one that was found.
    fn tell_unsure(&mut self, library: &str, path: &str, wanted_by: &str) {
        if let Some(place) = self.search.take_unsure() {
            self.object_once(Problem::LibraryUncertain {
                library: library.to_owned(),
                path: self.search.files().shown(path),
                wanted_by: wanted_by.to_owned(),
                rejected: vec![place],
            });
        }
    }

    /// A program with raised privileges may not use tokens in needed names (`expand_dst`).
    fn is_token_refused(&mut self, dependency: &Dependency, requester: usize) -> bool {
        if self.loader.is_musl() {
            return false;
        }
        let object = &self.load.objects[requester];
        let is_secure = object.rule == Rule::Program && object.facts.is_secure(self.fit.is_this_machine);
        let is_refused = is_secure && dependency.name.contains("$ORIGIN");
        if is_refused {
            let problem = Problem::LibraryUnusable {
                library: dependency.name.clone(),
                path: object.shown.clone(),
                wanted_by: object.shown.clone(),
                reason: "DST not allowed in SUID/SGID programs".to_owned(),
            };
            self.object_once(problem);
        }
        is_refused
    }

    /// Notes a problem unless the same library was already found wanting.
    fn object_once(&mut self, problem: Problem) {
        if self.index.is_newly_wanting(&problem) {
            self.search.files().memory().budget.spend(Effort::Problems, problem.size());
            self.load.problems.push(problem);
        }
    }

    /// The loaded object that satisfies a name without a search: by a name it was asked for before, or
    /// by its soname.
    fn already_loaded(&mut self, name: &str, requester: usize) -> Option<EdgeOutcome> {
        let is_musl = self.loader.is_musl();
        if !is_musl && name.is_empty() {
            // For glibc this is the name of the program itself.
            return Some(EdgeOutcome::Known(0, KnownBy::Name));
        }
        let program = &self.load.objects[0].facts;
        if !is_musl && name == Vdso::of(program.machine, program.class).name {
            return Some(EdgeOutcome::Kernel);
        }
        let admits = self.waiting.as_ref().is_some_and(|loader| goes_by(loader, name, is_musl));
        if admits {
            self.admit_loader(requester);
        }
        let index = self.index.find(name)?;
        let was_asked = self.index.was_asked(name, index);
        let known_by = match was_asked || self.index.is_path(name, index) {
            true => KnownBy::Name,
            false => KnownBy::Soname,
        };
        if !was_asked {
            self.load.objects[index].names.push(name.to_owned());
            self.index.add_name(name, index);
        }
        Some(if admits { EdgeOutcome::Loaded(index) } else { EdgeOutcome::Known(index, known_by) })
    }

    /// Puts the loader itself into the scope.
    fn admit_loader(&mut self, requester: usize) {
        if let Some(loader) = self.waiting.take() {
            self.admit(LoadedObject { loaded_by: Some(requester), ..loader });
        }
    }

    /// Puts an object into the scope.
    fn admit(&mut self, object: LoadedObject) {
        self.search.files().memory().budget.spend(Effort::Libraries, COST_OF_OBJECT + object.shown.len());
        let order = self.load.objects.len();
        self.index.add(&object, order, self.loader.is_musl());
        self.load.objects.push(LoadedObject { order, ..object });
    }

    fn push(
        &mut self,
        opened: Opened,
        path: String,
        names: Vec<String>,
        loaded_by: Option<usize>,
        rule: Rule,
    ) -> EdgeOutcome {
        if self.waiting.as_ref().is_some_and(|loader| loader.identity == opened.identity) {
            self.admit_loader(loaded_by.unwrap_or(0));
        }
        if let Some(index) = self.index.file(opened.identity) {
            names.iter().for_each(|name| self.index.add_name(name, index));
            self.load.objects[index].names.extend(names);
            return EdgeOutcome::Known(index, KnownBy::File);
        }
        self.admit(LoadedObject {
            origin: directory_of(&path),
            in_scope: opened.is_in_scope(),
            shown: self.search.files().shown(&path),
            path,
            names,
            facts: opened.facts,
            loaded_by,
            rule,
            edges: Vec::new(),
            order: 0,
            identity: opened.identity,
        });
        EdgeOutcome::Loaded(self.load.objects.len() - 1)
    }
}

fn directory_of(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}

/// Opens the file of a loader, whatever kind of object it is.
pub(super) fn open_loader(
    files: &dyn Files,
    path: &str,
    program: &Facts,
    platform: &Platform,
) -> Result<Opened, Reason> {
    let fit = Fit {
        program,
        kernel: None,
        is_musl: false,
        is_old: false,
        ends_at_files: false,
        platform,
        is_this_machine: false,
    };
    match fit.judge(files, path) {
        Verdict::Use(opened) => Ok(opened),
        Verdict::Pass(reason) | Verdict::EndList { reason, .. } | Verdict::Stop(reason) => Err(reason),
    }
}
