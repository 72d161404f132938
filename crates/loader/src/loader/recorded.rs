//! Checks whether the libraries that recorded runs loaded would load here.
//!
//! A run opened libraries with dlopen(3) and executed programs. Each program is started again, and its recorded
//! libraries are opened in their order. Problems beyond those of the start are caused by the libraries. The
//! object that called dlopen is not known: names are searched on behalf of the program, and all opened objects
//! may bind to each other, as with `RTLD_GLOBAL`.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::loader::application::Special;
use crate::loader::start::{honest, open_later, start_object_or_script};
use crate::loader::{
    Application, Edge, EdgeKind, EdgeOutcome, Effect, Effort, Environment, Files as _, Load, LoadedObject,
    Problem, ScopeContext, Start, above,
};
use crate::spec::{Recorded, RecordedLibrary, RecordedProgram};

/// The budget cost of reporting one problem of a recorded library.
const COST_OF_TELLING: usize = 64;

/// The reason why the behaviour of a recorded program is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// The program no longer existed when the document was made, or the recording does not identify it.
    Gone,
    /// The program is static, or is itself a dynamic loader, but loaded libraries. Its facts do not show how it
    /// searches for them, or for which program.
    OwnLoader,
}

/// A program of recorded runs on a host.
#[derive(Debug)]
pub struct RecordedStart<'a> {
    /// The program.
    pub program: &'a RecordedProgram,
    /// The reason why the results are incomplete.
    pub unknown: Option<Unknown>,
    /// The problems of the program itself.
    pub problems: Vec<Problem>,
    /// The problems of the libraries, each with its library.
    pub of_libraries: Vec<(&'a RecordedLibrary, Problem)>,
}

impl Application {
    /// Starts the programs of recorded runs and calls `visit` with each. If a program itself does not start,
    /// its libraries are not followed.
    pub fn start_recorded<'a>(
        &self,
        recorded: &'a Recorded,
        context: ScopeContext<'_>,
        mut visit: impl FnMut(RecordedStart<'a>),
    ) {
        let environment = Environment { opens_programs: false, ..self.environment(context) };
        let context = context.within(&environment);
        let special = Special::of(self);
        let budget = context.budget();
        for program in &recorded.programs {
            budget.spend(Effort::Problems, COST_OF_TELLING + program.path.len());
            if let Some(problem) = budget.problem() {
                let (problems, of_libraries) = (vec![problem], Vec::new());
                visit(RecordedStart { program, unknown: None, problems, of_libraries });
                return;
            }
            let start = self.start_one(program, &special, context);
            let told = start.problems.len() + start.of_libraries.len();
            budget.spend(Effort::Problems, told * COST_OF_TELLING);
            visit(start);
        }
    }

    fn start_one<'a>(
        &self,
        program: &'a RecordedProgram,
        special: &Special<'_>,
        context: ScopeContext<'_>,
    ) -> RecordedStart<'a> {
        let is_gone = program.gone || program.path.is_empty();
        let mut start = RecordedStart {
            program,
            unknown: is_gone.then_some(Unknown::Gone),
            problems: Vec::new(),
            of_libraries: Vec::new(),
        };
        if program.path.is_empty() {
            return start;
        }
        let place = place_of(&program.path, context);
        let alone = if program.path.starts_with('/') {
            let start = Start { path: &place, shown: &program.path };
            let context = context.of_any_files();
            honest(start_object_or_script(&start, context), context)
        } else {
            self.start(&program.path, special, context)
        };
        let starts = alone.problems.iter().all(|problem| problem.effect() < Effect::Refuses);
        if starts && !program.libraries.is_empty() {
            if has_no_loader(&alone) {
                start.unknown = start.unknown.or(Some(Unknown::OwnLoader));
            } else {
                start.of_libraries = open_libraries(program, &place, &alone, context);
            }
        }
        start.problems = alone.problems;
        start
    }
}

/// Returns whether a program is started without a loader: a static program, or a loader.
fn has_no_loader(alone: &Load) -> bool {
    alone.objects.first().is_some_and(|program| program.facts.interpreter.is_none())
}

/// Returns the place of a recorded program. A program of the host from a `PATH` directory may be in another one
/// here.
fn place_of(path: &str, context: ScopeContext<'_>) -> String {
    let files = context.files;
    if !path.starts_with('/') {
        return files.path_of(path);
    }
    let (directory, name) = path.rsplit_once('/').unwrap_or_default();
    let directories = context.environment.program_path.split(':');
    let is_usual = directories.clone().any(|usual| usual == directory);
    if !is_usual || files.is_executable(path) {
        return path.to_owned();
    }
    let mut elsewhere = directories.map(|usual| format!("{usual}/{name}"));
    elsewhere.find(|place| files.is_executable(place)).unwrap_or_else(|| path.to_owned())
}

/// Opens the recorded libraries of a program, and returns their problems.
fn open_libraries<'a>(
    program: &'a RecordedProgram,
    place: &str,
    alone: &Load,
    context: ScopeContext<'_>,
) -> Vec<(&'a RecordedLibrary, Problem)> {
    // The needs of a library are loaded with it.
    let opened: Vec<&RecordedLibrary> =
        program.libraries.iter().filter(|library| library.needed_by.is_none()).collect();
    let name_of = |library: &RecordedLibrary| match (&library.name, library.path.starts_with('/')) {
        (Some(name), _) => name.clone(),
        (None, true) => library.path.clone(),
        (None, false) => context.files.path_of(&library.path),
    };
    let names: Vec<String> = opened.iter().map(|library| name_of(library)).collect();
    let start = Start { path: place, shown: &program.path };
    let context = context.of_any_files();
    let load = honest(open_later(&start, &names, context), context);
    let Some(last) = opened.last().copied() else { return Vec::new() };
    let asked = Asked::of(&names, &load.objects);
    let library_of = |problem: &Problem| asked.number(problem).map_or(last, |number| opened[number]);
    let known: HashSet<&Problem> = alone.problems.iter().collect();
    let (noted, needed) = (noted(alone), missing_needs(&load));
    let told = |problem: &Problem| match problem {
        Problem::LibraryMissing { library, wanted_by, .. }
            if noted.contains(library.as_str())
                && *wanted_by == program.path
                && asked.names.contains_key(library.as_str()) =>
        {
            // The first object that needs it may work without it, unlike a library that was opened.
            needed.get(library.as_str()).map(|object| problem.with_wanting(object))
        }
        _ => Some(problem.clone()),
    };
    let new = load.problems.iter().filter(|problem| !known.contains(problem));
    new.filter_map(|problem| Some((library_of(problem), told(problem)?))).collect()
}

/// Returns the missing libraries that an object needs (`DT_NEEDED`), each with the first such object.
fn missing_needs(load: &Load) -> HashMap<&str, &str> {
    let mut needs = HashMap::new();
    for object in &load.objects {
        let is_need = |edge: &&Edge| {
            edge.outcome == EdgeOutcome::Missing && matches!(edge.kind, EdgeKind::Needed | EdgeKind::Filter)
        };
        for edge in object.edges.iter().filter(is_need) {
            needs.entry(edge.name.as_str()).or_insert(object.shown.as_str());
        }
    }
    needs
}

/// The libraries that a program opened, by their names and by the objects that they loaded.
struct Asked<'a> {
    names: HashMap<&'a str, usize>,
    /// The library for which an object was loaded, by the object's shown path.
    objects: HashMap<&'a str, usize>,
}

impl<'a> Asked<'a> {
    fn of(names: &'a [String], objects: &'a [LoadedObject]) -> Self {
        let names: HashMap<&str, usize> =
            names.iter().enumerate().rev().map(|(number, name)| (name.as_str(), number)).collect();
        let own =
            |object: &LoadedObject| object.names.iter().find_map(|name| names.get(name.as_str()).copied());
        let mut shown = HashMap::new();
        for (object, number) in objects.iter().zip(above::nearest(objects, own)) {
            if let Some(number) = number {
                shown.entry(object.shown.as_str()).or_insert(number);
            }
        }
        Self { names, objects: shown }
    }

    /// Returns the number of the library that a problem is about.
    fn number(&self, problem: &Problem) -> Option<usize> {
        let named = problem.library().and_then(|name| self.names.get(name));
        named.or_else(|| self.objects.get(problem.object()?)).copied()
    }
}

/// Returns the missing libraries that the objects' own notes declare: the priority of the notes counts.
fn noted(alone: &Load) -> HashSet<&str> {
    let notes = alone.problems.iter().filter_map(|problem| match problem {
        Problem::DlopenMissing { need, .. } => Some(need.sonames.iter().map(String::as_str)),
        _ => None,
    });
    notes.flatten().collect()
}
