//! An application: the objects it brings along, and which of them are started; from its files or from
//! a specification alike.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::loader::{Environment, Facts, Load, Problem, ScopeFiles, Start, start, start_script_line};
use crate::spec::{Script, Specification};

/// How much is done for one application, over all that is started: objects loaded, directories searched,
/// text of problems. The programs of a whole distribution take a tenth of it.
const MOST_EFFORT: usize = 1 << 22;

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
            scripts: specification.scripts.clone(),
            library_path: specification.library_path.clone(),
            subjects: specification.subjects.clone(),
            ..Self::default()
        };
        for object in &specification.objects {
            match Facts::of_specified(object) {
                Some(facts) => application.objects.push((object.path.clone(), Arc::new(facts))),
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
        let own = self.library_path.iter().map(|directory| match directory.starts_with('/') {
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
        let special = Special::of(self);
        let mut left = MOST_EFFORT;
        let mut start = |subject: &str, reached: &mut HashSet<String>| {
            let load = match left {
                0 => Load::of(not_started(subject)),
                _ => self.start(subject, &special, files, &environment),
            };
            left = left.saturating_sub(effort(subject, &load));
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
    fn start(
        &self,
        subject: &str,
        special: &Special<'_>,
        files: &ScopeFiles<'_>,
        environment: &Environment,
    ) -> Load {
        if let Some(script) = special.scripts.get(subject) {
            let argument = script.argument.as_deref();
            return start_script_line(subject, &script.interpreter, argument, files, environment);
        }
        if let Some(machine) = special.foreign.get(subject) {
            return Load::of(Problem::WrongMachine {
                object: subject.to_owned(),
                machine: (*machine).to_owned(),
                host: environment.platform.machine.to_string(),
            });
        }
        start(&Start { path: &files.path_of(subject), shown: subject }, files, environment)
    }
}

/// The subjects that are no objects for this machine, by path; of several the first counts.
struct Special<'a> {
    scripts: HashMap<&'a str, &'a Script>,
    foreign: HashMap<&'a str, &'a str>,
}

impl<'a> Special<'a> {
    fn of(application: &'a Application) -> Self {
        let scripts = application.scripts.iter().rev().map(|script| (script.path.as_str(), script));
        let foreign =
            application.foreign.iter().rev().map(|(path, machine)| (path.as_str(), machine.as_str()));
        Self { scripts: scripts.collect(), foreign: foreign.collect() }
    }
}

fn effort(subject: &str, load: &Load) -> usize {
    let size = |problem| serde_json::to_vec(problem).map_or(0, |text| text.len());
    // A problem is told with each subject that has it.
    let told = load.problems.iter().map(size).sum::<usize>() / 16 * (1 + subject.len() / 64);
    1 + load.objects.len() + load.effort + told
}

fn not_started(subject: &str) -> Problem {
    let reason = "not looked at: the programs before it have too many libraries or problems".to_owned();
    Problem::NotAProgram { object: subject.to_owned(), reason }
}
