//! The answer of `compat`, from the files and from the specification that it derives from them.

use std::collections::BTreeSet;
use std::path::Path;

use compat_loader::check::{Host, Options};
use compat_loader::generate;
use compat_loader::loader::{
    Application, Context, EdgeKind, EdgeOutcome, Effect, Environment, Load, Problem, Rule, ScopeContext,
    ScopeFiles,
};
use compat_loader::spec;

use super::{Scene, Sets};

/// The answer of `compat` for one program.
#[derive(Debug, Default)]
pub struct Model {
    /// The problems, in the loader's order.
    pub problems: Vec<Problem>,
    /// The sets.
    pub sets: Sets,
    /// The loader of the program, if it is a program.
    pub interpreter: Option<String>,
    /// The reason why there is no answer.
    pub failed: Option<String>,
    /// The difference between the answers from the specification and from the files.
    pub specification_differs: Option<String>,
}

/// Returns a host for many programs. Its files are read once.
pub fn host(root: &Path) -> Host {
    Host::at(root, &Options::default()).unwrap_or_else(|error| panic!("{}: {error}", root.display()))
}

impl Model {
    /// Checks a program that is in the root.
    pub fn of(scene: &Scene, host: &Host) -> Self {
        let options = generate::Options { paths: vec![scene.outside()], ..generate::Options::default() };
        let mut application = match generate::read(&options) {
            Ok(read) => read.application,
            Err(error) => return Self { failed: Some(chain(&error)), ..Self::default() },
        };
        let environment = Environment {
            library_path: scene.library_path.clone(),
            working_directory: scene.directory.clone(),
            host_program: scene.plugin.as_ref().map(|_| scene.path.clone()),
            ..host.environment.clone()
        };
        let location = location(scene, host);
        application.location = Some(location.clone());
        let interpreter = application.objects.first().and_then(|(_, facts)| facts.interpreter.clone());
        let mut model = Self::started(&application, host, &environment);
        model.interpreter = interpreter;
        model.specification_differs = match specified(&options, host, &environment, &location) {
            Ok(application) => difference(&model, &Self::started(&application, host, &environment)),
            Err(error) => Some(error),
        };
        model
    }

    fn started(application: &Application, host: &Host, environment: &Environment) -> Self {
        let files = ScopeFiles::new(application, host.files.as_ref());
        let mut model = Self::default();
        application.start_all(ScopeContext { files: &files, environment }, false, |_, load| model.add(load));
        model
    }

    fn add(&mut self, load: &Load) {
        let untraced = before_the_program(load);
        for (index, object) in load.objects.iter().enumerate() {
            if !matches!(object.rule, Rule::Program | Rule::Interpreter) && !untraced.contains(&index) {
                let name = object.names.first().cloned().unwrap_or_default();
                self.sets.resolved.insert((as_printed(&name), as_printed(&object.shown)));
            }
        }
        for problem in &load.problems {
            self.sets.add(problem);
        }
        for edge in untraced.iter().flat_map(|index| &load.objects[*index].edges) {
            if edge.kind == EdgeKind::Filter && edge.outcome == EdgeOutcome::Missing {
                self.sets.missing_libraries.remove(&as_printed(&edge.name));
            }
        }
        self.problems.extend(load.problems.iter().cloned());
    }

    /// Returns whether it would reach its entry point.
    pub fn loads(&self, now: bool) -> bool {
        self.failed.is_none() && !self.problems.iter().any(|problem| stops(problem, now))
    }

    /// Returns whether it is expected to start and then fail.
    pub fn misbehaves(&self) -> bool {
        self.problems.iter().any(|problem| problem.effect() == Effect::Misbehaves)
    }

    /// Returns the first problem that stops it before its entry point.
    pub fn cause(&self, now: bool) -> Option<&Problem> {
        self.problems.iter().find(|problem| stops(problem, now))
    }
}

/// Returns the program and the objects that it filters, directly or indirectly. They precede the program in the
/// loader's list, and a trace begins after the program.
fn before_the_program(load: &Load) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![0];
    while let Some(object) =
        waiting.pop().and_then(|index| load.objects.get(index).map(|object| (index, object)))
    {
        if !found.insert(object.0) {
            continue;
        }
        for edge in &object.1.edges {
            if let (
                EdgeKind::Filter | EdgeKind::Auxiliary,
                EdgeOutcome::Loaded(to) | EdgeOutcome::Known(to, _),
            ) = (edge.kind, &edge.outcome)
            {
                waiting.push(*to);
            }
        }
    }
    found
}

/// Returns whether a problem stops the start.
fn stops(problem: &Problem, now: bool) -> bool {
    matches!(problem.effect(), Effect::Refuses | Effect::Undecided)
        || now
            && matches!(
                problem,
                Problem::SymbolMissing { .. }
                    | Problem::VersionlessProvider { .. }
                    | Problem::IndirectFunctionOfProgram { .. }
            )
}

/// Returns the directory of the program inside the root, with links followed.
fn location(scene: &Scene, host: &Host) -> String {
    let real = host.files.real_path(scene.subject());
    let directory = Path::new(&real).parent().expect("a program is in a directory");
    directory.to_string_lossy().into_owned()
}

/// Returns the application that its own specification describes, after writing and reading it.
fn specified(
    options: &generate::Options,
    host: &Host,
    environment: &Environment,
    location: &str,
) -> Result<Application, String> {
    let generated = generate::generate(options, Context::new(host.files.as_ref(), environment))
        .map_err(|error| chain(&error))?;
    let mut specification = generated.specification;
    specification.location = Some(location.to_owned());
    let bytes = serde_json::to_vec(&specification).map_err(|error| chain(&error))?;
    let read = spec::parse(&bytes).map_err(|error| chain(&error))?;
    Ok(Application::of_specification(&read))
}

/// Compares without order, because a document does not keep the order of one object's symbols.
fn difference(files: &Model, specification: &Model) -> Option<String> {
    let told = |model: &Model| model.problems.iter().map(|p| format!("{p:?}")).collect::<BTreeSet<_>>();
    let (ours, theirs) = (told(files), told(specification));
    let mut lines = files.sets.differences(&specification.sets);
    lines.extend(ours.difference(&theirs).map(|problem| format!("lacks {problem}")));
    lines.extend(theirs.difference(&ours).map(|problem| format!("adds {problem}")));
    (!lines.is_empty()).then(|| lines.join("; "))
}

impl Sets {
    /// Adds the missing items of a problem.
    pub fn add(&mut self, problem: &Problem) {
        match problem.clone() {
            Problem::LibraryMissing { library, .. }
            | Problem::HostLibraryMissing { library, .. }
            | Problem::LibraryUnusable { library, .. } => {
                self.missing_libraries.insert(as_printed(&library));
            }
            Problem::VersionMissing { path, version, wanted_by, .. } => {
                self.missing_versions.insert((version, path, wanted_by));
            }
            Problem::VersionUnknown { path, wanted_by, .. } => {
                self.unversioned.insert((path, wanted_by));
            }
            Problem::SymbolMissing { symbol, version, wanted_by, .. } => {
                self.missing_symbols.insert((as_printed(&symbol), version.unwrap_or_default(), wanted_by));
            }
            _ => {}
        }
    }
}

/// Returns a name as the harness reads it from a loader's output: all invalid UTF-8 bytes look the same.
pub fn as_printed(text: &str) -> String {
    text.replace(|character| ('\u{ef80}'..='\u{efff}').contains(&character), "\u{fffd}")
}

/// Returns an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
