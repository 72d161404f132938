//! An application: the objects it brings along, and which of them are started; from its files or from
//! a specification alike.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::loader::{Environment, Facts, Load, Problem, ScopeFiles, Start, start, start_script_line};
use crate::spec::{Script, Specification};

/// What a verdict is about.
#[derive(Debug, Default)]
pub struct Application {
    /// Where it lies on the host, when that matters.
    pub location: Option<String>,
    /// Its objects by their path in the scope, sorted by path.
    pub objects: Vec<(String, Arc<Facts>)>,
    /// Objects for machines that this program does not know: path and machine.
    pub foreign: Vec<(String, String)>,
    /// Links of the scope: path to target.
    pub links: BTreeMap<String, String>,
    /// Paths at which the loader would stop, with its words: they have the name of a needed library and
    /// are none.
    pub unusable: BTreeMap<String, String>,
    /// Scripts among the subjects.
    pub scripts: Vec<Script>,
    /// Directories that its start puts into `LD_LIBRARY_PATH`.
    pub library_path: Vec<String>,
    /// The paths of what is started or loaded.
    pub subjects: Vec<String>,
}

impl Application {
    /// The application that a specification describes.
    pub fn of_specification(specification: &Specification) -> Self {
        let mut application = Self {
            location: specification.location.clone(),
            links: specification.links.clone(),
            unusable: specification.unusable.clone(),
            scripts: specification.scripts.clone(),
            library_path: specification.library_path.clone(),
            subjects: specification.subjects.clone(),
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

    /// The object at a path of the scope.
    pub fn object(&self, path: &str) -> Option<&Arc<Facts>> {
        self.objects.iter().find(|(known, _)| known == path).map(|(_, facts)| facts)
    }

    /// The environment with the directories that the application itself puts into `LD_LIBRARY_PATH`;
    /// those of the scope come first.
    fn environment(&self, files: &ScopeFiles<'_>, environment: &Environment) -> Environment {
        let own = self.library_path.iter().map(|directory| match directory.starts_with(['/', '$']) {
            true => directory.clone(),
            false => files.path_of(directory),
        });
        let all: Vec<String> = own.chain(environment.library_path.clone()).collect();
        let library_path = (!all.is_empty()).then(|| all.join(":"));
        Environment { library_path, ..environment.clone() }
    }

    /// Starts every subject, and tells `visit` of each. Where `all` is set, so are the libraries of the
    /// scope that none of them loads; their paths are returned.
    pub fn start_all(
        &self,
        files: &ScopeFiles<'_>,
        environment: &Environment,
        all: bool,
        mut visit: impl FnMut(&str, &Load),
    ) -> Vec<String> {
        let environment = self.environment(files, environment);
        let mut reached: HashSet<String> = self.subjects.iter().cloned().collect();
        let mut start = |subject: &str, reached: &mut HashSet<String>| {
            let load = self.start(subject, files, &environment);
            reached.extend(load.objects.iter().filter(|object| object.in_scope).map(|o| o.shown.clone()));
            visit(subject, &load);
        };
        for subject in &self.subjects {
            start(subject, &mut reached);
        }
        let mut unreached = Vec::new();
        for (path, facts) in self.objects.iter().filter(|_| all) {
            if !facts.is_program() && !reached.contains(path) {
                start(path, &mut reached);
                unreached.push(path.clone());
            }
        }
        unreached
    }

    /// Starts one subject as far as its entry point.
    fn start(&self, subject: &str, files: &ScopeFiles<'_>, environment: &Environment) -> Load {
        if let Some(script) = self.scripts.iter().find(|script| script.path == subject) {
            let argument = script.argument.as_deref();
            return start_script_line(subject, &script.interpreter, argument, files, environment);
        }
        if let Some((_, machine)) = self.foreign.iter().find(|(path, _)| path == subject) {
            return Load::of(Problem::WrongMachine {
                object: subject.to_owned(),
                machine: machine.clone(),
                host: environment.platform.machine.to_string(),
            });
        }
        let shown = files.subject(subject);
        start(&Start { path: &files.path_of(subject), shown: &shown }, files, environment)
    }
}
