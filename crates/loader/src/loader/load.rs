//! The objects of a program: breadth-first, each name once.
//!
//! Source: `_dl_map_object_deps` in glibc's `elf/dl-deps.c` (order), `_dl_map_object` and
//! `_dl_map_object_from_fd` in `elf/dl-load.c` (names and identities of loaded objects); musl `load_deps` and
//! `load_library`.

mod filter;
mod plugin;
mod preload;

use std::sync::Arc;

use crate::elf::{Dependency, DependencyKind};
use crate::host::DynamicLoader;
use crate::loader::candidate::{Fit, Verdict};
use crate::loader::effort::Budget;
use crate::loader::index::{Index, goes_by};
use crate::loader::loaded::{Program, directory_of};
use crate::loader::search::{Outcome, Search};
use crate::loader::vdso::Vdso;
use crate::loader::{
    Context, Edge, EdgeOutcome, Effort, Facts, Files, KnownBy, Load, LoadedObject, Opened, Problem, Reason,
    Rule, binding, dlopen, indirect, layout, mark, static_tls, uncertain, version,
};

/// The maximum number of objects of one program, far above the largest known programs. Each object is searched
/// for the symbols of every other.
const MOST_OBJECTS: usize = 4096;
/// The budget cost of loading one object.
const COST_OF_OBJECT: usize = 64;

/// The libraries that the program loads itself at run time (dlopen(3)).
#[derive(Default)]
pub(super) struct Later<'a> {
    /// An object that is already opened.
    pub plugin: Option<Program>,
    /// Names and paths of libraries, in the order in which the program opens them.
    pub names: &'a [String],
}

/// Loads a program or library with the given loader, then the libraries that the program loads itself.
pub(super) fn load(
    program: Program,
    later: Later<'_>,
    loader: &DynamicLoader,
    loader_file: Opened,
    context: Context<'_>,
) -> Load {
    let facts = Arc::clone(&program.opened.facts);
    let platform = &context.environment.platform;
    let kernel = platform.kernel.filter(|_| !loader.knows_relr);
    let fit = Fit {
        program: &facts,
        kernel,
        is_musl: loader.is_musl(),
        is_old: loader.is_older_than(2, 35),
        ends_at_files: loader.is_older_than(2, 39),
        platform,
        is_this_machine: context.files.is_this_machine(),
    };
    let search = Search::new(context, loader, fit);
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
    loading.load.global = loading.load.objects.len();
    loading.open_later(later);
    loading.load.ignores_versions = loader.is_musl();
    loading.concluded(facts.is_program(), context)
}

struct Loading<'a> {
    search: Search<'a>,
    loader: &'a DynamicLoader,
    /// The loader itself. It is loaded from the start, but joins the scope only when an object requests it.
    waiting: Option<LoadedObject>,
    load: Load,
    index: Index,
    /// The requirements for every object.
    fit: Fit<'a>,
    /// The first object of each dlopen(3); empty during the start.
    opened: Vec<usize>,
    /// The effort that exceeded its limit. Then nothing more is loaded, and objects that need the rest are not
    /// judged.
    exceeded: Option<Effort>,
}

impl Loading<'_> {
    /// Checks the loaded objects. If some were not loaded, missing symbols and versions cannot be decided.
    fn concluded(self, is_program: bool, context: Context<'_>) -> Load {
        let Loading { mut load, waiting, search, loader, index, exceeded, opened, .. } = self;
        let (is_musl, budget) = (loader.is_musl(), context.budget());
        load.lazy_descriptors = binding::is_lazy_about_descriptors(&load, loader);
        if exceeded.is_none() && !is_musl {
            version::check(&mut load, loader, waiting.as_ref(), budget);
        }
        layout::check(&mut load, Some(loader), &context.environment.platform);
        mark::check(&mut load, Some(loader), &context.environment.platform);
        if exceeded.is_none() {
            indirect::check(&mut load, loader, budget);
            binding::check(&mut load, loader, is_program, context.files.memory());
            static_tls::check(&mut load, loader, &opened, budget);
            dlopen::look_up(&search, &mut load, &index);
        }
        uncertain::leave_out_dependent(&mut load);
        let exceeded = exceeded.or(budget.exceeded());
        load.problems.extend(exceeded.map(|effort| Problem::EffortExceeded { effort }));
        load
    }

    fn files(&self) -> &dyn Files {
        self.search.context().files
    }

    fn budget(&self) -> &Budget {
        self.search.context().budget()
    }

    /// Loads the libraries that the program opens at run time.
    fn open_later(&mut self, later: Later<'_>) {
        if let Some(plugin) = later.plugin {
            let first = self.load.objects.len();
            self.opened.push(first);
            self.add_plugin(plugin);
            self.add_dependencies(first);
        }
        for name in later.names {
            let next = self.load.objects.len();
            if self.is_too_much() {
                break;
            }
            self.opened.push(next);
            self.add_dependency(name, DependencyKind::Needed, 0);
            self.add_dependencies(next);
        }
    }

    fn add_program(&mut self, program: Program) {
        let real = self.files().real_path(&program.path);
        let program = LoadedObject { origin: directory_of(&real), ..LoadedObject::alone(program) };
        self.admit(program);
    }

    /// Adds the loader's verdict on a library without a program.
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

    /// Loads the needs of the objects from number `first` on, breadth-first. Objects that another one filters
    /// come before all other waiting objects.
    fn add_dependencies(&mut self, first: usize) {
        let mut scope = filter::Scope::new(first..self.load.objects.len());
        while let Some(index) = scope.take_next() {
            let facts = Arc::clone(&self.load.objects[index].facts);
            for dependency in &facts.needed {
                // musl reads only DT_NEEDED.
                if self.loader.is_musl() && dependency.kind != DependencyKind::Needed {
                    continue;
                }
                let name = self.search.expand(&dependency.name, &self.load.objects[index]);
                if self.is_too_much() {
                    return;
                }
                let known = self.load.objects.len();
                let outcome = if self.is_token_refused(dependency, index) {
                    EdgeOutcome::Missing
                } else {
                    self.add_dependency(&name, dependency.kind, index)
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

    /// Returns whether the budget is exhausted, so that nothing more is loaded.
    fn is_too_much(&mut self) -> bool {
        let budget = self.budget();
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
        let is_optional = kind == DependencyKind::Auxiliary;
        let outcome = self.search.find(name, requester, &self.load.objects);
        if self.is_too_much() {
            // A complete search might have found another file.
            return EdgeOutcome::Missing;
        }
        match outcome {
            Outcome::Found(opened, path, rule) => {
                let Some(reason) = self.refusal_at_run_time(&opened) else {
                    self.tell_unsure(name, &path, &wanted_by);
                    return self.push(opened, path, vec![name.to_owned()], Some(requester), rule);
                };
                if !is_optional {
                    let library = self.shown_name(name);
                    self.object_once(Problem::LibraryUnusable { library, path, wanted_by, reason });
                }
            }
            _ if is_optional => {}
            failed => self.note_failed(name, wanted_by, failed),
        }
        EdgeOutcome::Missing
    }

    /// Records that the search for a name found nothing that can be loaded.
    fn note_failed(&mut self, name: &str, wanted_by: String, outcome: Outcome) {
        let library = self.files().placed(name);
        self.object_once(match outcome {
            Outcome::Found(..) => return,
            Outcome::Stopped { path, reason } => {
                Problem::LibraryUnusable { library, path, wanted_by, reason }
            }
            Outcome::NotInjected { provider, rejected } => {
                let library = self.shown_name(name);
                Problem::HostLibraryMissing { library, provider, wanted_by, rejected }
            }
            Outcome::Missing { searched, rejected } => {
                Problem::LibraryMissing { library, wanted_by, searched, rejected }
            }
        });
    }

    /// Returns a name, which may be a path, in the form that is shown to users.
    fn shown_name(&self, name: &str) -> String {
        if name.contains('/') { self.files().placed(name) } else { name.to_owned() }
    }

    /// Records that a saved host may have another file of that name.
    fn tell_unsure(&mut self, library: &str, path: &str, wanted_by: &str) {
        if let Some(place) = self.search.take_unsure() {
            self.object_once(Problem::LibraryUncertain {
                library: library.to_owned(),
                path: self.files().shown(path),
                wanted_by: wanted_by.to_owned(),
                rejected: vec![place],
            });
        }
    }

    /// Refuses tokens in the needed names of a program with raised privileges (`expand_dst`).
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
                reason: Reason::of_name("DST not allowed in SUID/SGID programs"),
            };
            self.object_once(problem);
        }
        is_refused
    }

    /// Records a problem unless the same library was already reported.
    fn object_once(&mut self, problem: Problem) {
        if self.index.is_newly_wanting(&problem) {
            self.budget().spend(Effort::Problems, problem.size());
            self.load.problems.push(problem);
        }
    }

    /// Returns the loaded object that satisfies a name without a search, because the name was requested before
    /// or is its soname.
    fn already_loaded(&mut self, name: &str, requester: usize) -> Option<EdgeOutcome> {
        let is_musl = self.loader.is_musl();
        if !is_musl && name.is_empty() {
            // For glibc, this is the name of the program itself.
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
        let known_by =
            if was_asked || self.index.is_path(name, index) { KnownBy::Name } else { KnownBy::Soname };
        if !was_asked {
            self.load.objects[index].names.push(name.to_owned());
            self.index.add_name(name, index);
        }
        Some(if admits { EdgeOutcome::Loaded(index) } else { EdgeOutcome::Known(index, known_by) })
    }

    /// Adds the loader itself to the scope.
    fn admit_loader(&mut self, requester: usize) {
        if let Some(loader) = self.waiting.take() {
            self.admit(LoadedObject { loaded_by: Some(requester), ..loader });
        }
    }

    /// Adds an object to the scope.
    fn admit(&mut self, object: LoadedObject) {
        self.budget().spend(Effort::Libraries, COST_OF_OBJECT + object.shown.len());
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
            shown: self.files().shown(&path),
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

/// Opens the file of a loader, no matter which kind of object it is.
pub(super) fn open_loader(path: &str, program: &Facts, context: Context<'_>) -> Result<Opened, Reason> {
    let fit = Fit {
        program,
        kernel: None,
        is_musl: false,
        is_old: false,
        ends_at_files: false,
        platform: &context.environment.platform,
        is_this_machine: false,
    };
    match fit.judge(context.files, path) {
        Verdict::Use(opened) => Ok(opened),
        Verdict::Pass(reason) | Verdict::EndList { reason, .. } | Verdict::Stop(reason) => Err(reason),
    }
}
