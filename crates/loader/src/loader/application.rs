//! An application: the objects it contains and those that are started. It is made from files or from a
//! specification.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::loader::elsewhere::Libraries;
use crate::loader::root::Trial;
use crate::loader::start::{honest, start_object_or_script};
use crate::loader::{
    Context, Effort, Environment, Facts, Files as _, Load, PassedOver, Problem, ScopeContext, Start,
    start_script_line,
};
use crate::spec::{Alternatives, Script, Specification, written_size};

/// The cost of one start in the budget. `COST_OF_TELLING` is the cost of each problem that is reported with a
/// subject.
const COST_OF_START: usize = 64;
const COST_OF_TELLING: usize = 32;

/// The object of a verdict: the files of an application.
#[derive(Debug, Default)]
pub struct Application {
    /// Its location on the host, if the location matters.
    pub location: Option<String>,
    /// Whether it is a container image, which says how its subjects are started.
    pub is_image: bool,
    /// The objects by their path in the scope, sorted by path.
    pub objects: Vec<(String, Arc<Facts>)>,
    /// Objects for machines that this version does not know: path and machine.
    pub foreign: Vec<(String, String)>,
    /// Links in the scope: path to target.
    pub links: BTreeMap<String, String>,
    /// Paths on which the loader would fail, with its message. They have the name of a needed library but are
    /// not libraries.
    pub unusable: BTreeMap<String, String>,
    /// Scripts among the subjects.
    pub scripts: Vec<Script>,
    /// The paths of scripts that this user may not execute on this machine.
    pub denied_scripts: HashSet<String>,
    /// Directories that the application's start adds to `LD_LIBRARY_PATH`.
    pub library_path: Vec<String>,
    /// The paths of the files that are started or loaded.
    pub subjects: Vec<String>,
    /// Subjects that are equivalents for different hosts.
    pub alternatives: Vec<Alternatives>,
    /// Files in the application's directories that are not subjects on any host.
    pub passed_over: Vec<PassedOver>,
}

/// The result of starting an application.
#[derive(Debug, Default)]
pub struct Started {
    /// The paths of the libraries that were started because no other object loads them.
    pub roots: Vec<String>,
    /// The files that this host passes over.
    pub passed_over: Vec<PassedOver>,
}

impl Application {
    /// Returns the application that a specification describes.
    pub fn of_specification(specification: &Specification) -> Self {
        let mut application = Self {
            location: specification.location.clone(),
            is_image: specification.image.is_some(),
            links: specification.links.clone(),
            unusable: specification.unusable.clone(),
            scripts: specification.scripts.clone(),
            library_path: specification.library_path.clone(),
            subjects: specification.subjects.clone(),
            alternatives: specification.alternatives.clone(),
            ..Self::default()
        };
        for object in &specification.objects {
            match Facts::of_specified(object) {
                Some(mut facts) => {
                    facts.names_only = specification.detail.is_some();
                    application.objects.push((object.path.clone(), Arc::new(facts)));
                }
                None => application.foreign.push((object.path.clone(), object.machine.clone())),
            }
        }
        application
    }

    /// Returns the object at a path of the scope.
    pub fn object(&self, path: &str) -> Option<&Arc<Facts>> {
        self.objects.iter().find(|(known, _)| known == path).map(|(_, facts)| facts)
    }

    /// Returns the size in bytes, of the files or of the document.
    pub(super) fn size(&self) -> u64 {
        let objects = self.objects.iter().map(|(_, facts)| facts.size).sum::<u64>();
        let links = self.links.iter().map(|(path, target)| path.len() + target.len()).sum::<usize>();
        let scripts = self.scripts.iter().map(written_size).sum::<u64>();
        let subjects = self.subjects.iter().map(String::len).sum::<usize>();
        objects + scripts + (links + subjects) as u64
    }

    /// Returns the environment with the directories that the application adds to `LD_LIBRARY_PATH`. They
    /// precede the existing ones.
    pub fn environment(&self, context: ScopeContext<'_>) -> Environment {
        let Context { files, environment } = context;
        let own = self.library_path.iter().map(|directory| {
            if directory.starts_with(['/', '$']) { directory.clone() } else { files.path_of(directory) }
        });
        let all: Vec<String> = own.chain(environment.library_path.clone()).collect();
        let library_path = (!all.is_empty()).then(|| all.join(":"));
        // A program among others is started. A single program is opened by the host program.
        let opens_programs = self.objects.len() == 1 && self.scripts.is_empty();
        Environment { library_path, opens_programs, ..environment.clone() }
    }

    /// Starts every subject and calls `visit` with each. If `all` is set, libraries that no other object in the
    /// scope loads are also started. A library that another one loads is judged as part of that load.
    pub fn start_all(
        &self,
        context: ScopeContext<'_>,
        all: bool,
        mut visit: impl FnMut(&str, &Load),
    ) -> Started {
        let budget = context.budget();
        budget.extend(context.environment.library_path.as_deref());
        let environment = self.environment(context);
        let context = context.within(&environment);
        let passed = self.passed_over(context.of_any_files());
        let special = Special::of(self);
        let libraries = Libraries::of(self);
        let mut start = |subject: &str| {
            budget.spend(Effort::Problems, COST_OF_START + subject.len());
            let load = match budget.problem() {
                Some(problem) => Load::of(problem),
                None => self.start(subject, &special, context),
            };
            budget.spend(Effort::Problems, load.problems.len() * (COST_OF_TELLING + subject.len()));
            load
        };
        let find = |subject: &str, load: Load| {
            let again =
                |environment: &Environment| self.start(subject, &special, context.within(environment));
            libraries.find(subject, load, context, again)
        };
        let of_directory = self.alternative_paths();
        let mut candidates = self.candidates(all, &of_directory);
        let is_candidate = |subject: &str| of_directory.contains(subject) && candidates.contains_key(subject);
        let is_fixed = |subject: &&String| !passed.contains_key(*subject) && !is_candidate(subject);
        let mut loaded: HashSet<usize> = HashSet::new();
        for subject in self.subjects.iter().filter(is_fixed) {
            let load = start(subject);
            loaded.extend(load.in_scope());
            visit(subject, &find(subject, load));
        }
        candidates.retain(|path, place| !loaded.contains(place) && !passed.contains_key(*path));
        let mut started = Started::default();
        let mut round = Trial::all(&candidates, &self.objects, &mut start);
        while let Some(roots) = round.next_roots() {
            for path in roots {
                let load = start(path);
                round.forget(load.in_scope());
                visit(path, &find(path, load));
                started.roots.push(path.to_owned());
            }
        }
        started.passed_over = self.passed_over.iter().cloned().chain(PassedOver::grouped(passed)).collect();
        started
    }

    /// Returns the libraries that are subjects if no other object loads them, with their index among the
    /// objects. For a directory, these are all of them. For a document, they are those from its directories.
    fn candidates(&self, all: bool, of_directory: &HashSet<&str>) -> BTreeMap<&str, usize> {
        let named: HashSet<&str> = self.subjects.iter().map(String::as_str).collect();
        let is_candidate = |path: &str| {
            if of_directory.contains(path) {
                all || named.contains(path)
            } else {
                all && !named.contains(path)
            }
        };
        let objects = self.objects.iter().enumerate();
        let libraries = objects.filter(|(_, (path, facts))| !facts.is_program() && is_candidate(path));
        libraries.map(|(place, (path, _))| (path.as_str(), place)).collect()
    }

    /// Starts one subject up to its entry point.
    pub(super) fn start(&self, subject: &str, special: &Special<'_>, context: ScopeContext<'_>) -> Load {
        let (files, any) = (context.files, context.of_any_files());
        if let Some(script) = special.scripts.get(subject) {
            let is_denied = self.denied_scripts.contains(subject) && files.is_this_machine();
            if script.not_executable || is_denied {
                return Load::of(Problem::not_executable(subject));
            }
            let start = Start { path: &files.path_of(subject), shown: subject };
            return honest(start_script_line(&start, script, any), any);
        }
        if let Some(machine) = special.foreign.get(subject) {
            return Load::of(Problem::WrongMachine {
                object: subject.to_owned(),
                machine: (*machine).to_owned(),
                host: context.environment.platform.name(),
            });
        }
        let shown = files.subject(subject);
        let start = Start { path: &files.path_of(subject), shown: &shown };
        honest(start_object_or_script(&start, any), any)
    }
}

/// The subjects that are no objects for this machine, by path. The first of several entries counts.
pub(super) struct Special<'a> {
    scripts: HashMap<&'a str, &'a Script>,
    foreign: HashMap<&'a str, &'a str>,
}

impl<'a> Special<'a> {
    pub(super) fn of(application: &'a Application) -> Self {
        let scripts = application.scripts.iter().rev().map(|script| (script.path.as_str(), script));
        let foreign =
            application.foreign.iter().rev().map(|(path, machine)| (path.as_str(), machine.as_str()));
        Self { scripts: scripts.collect(), foreign: foreign.collect() }
    }
}
