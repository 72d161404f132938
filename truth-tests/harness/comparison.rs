//! The comparison of the loader's answer with the model's.

use std::fmt;

use compat_loader::loader::Problem;

use super::loader::{End, Run};
use super::model::as_printed;
use super::{Model, Scene, Truth};

/// The result of comparing one program.
#[derive(Debug)]
pub struct Comparison {
    /// Whether it reached its entry point with lazy binding: in reality, and in the model.
    pub lazy: (bool, bool),
    /// The same with immediate binding.
    pub now: (bool, bool),
    /// Whether the model expects it to start and then fail.
    pub misbehaves: bool,
    /// Whether there were sets to compare.
    pub has_sets: bool,
    /// All differences.
    pub differences: Vec<String>,
}

impl Comparison {
    /// Runs both and compares them.
    pub fn of(scene: &Scene, host: &compat_loader::check::Host) -> Self {
        let model = Model::of(scene, host);
        let truth = scene.truth(model.interpreter.as_deref());
        Self::between(scene, truth, model)
    }

    fn between(scene: &Scene, truth: Truth, model: Model) -> Self {
        let mut differences = Vec::new();
        differences.extend(model.failed.iter().map(|why| format!("compat gives no answer: {why}")));
        differences.extend(model.specification_differs.iter().map(|how| format!("specification: {how}")));
        let runs = [("lazy", &truth.lazy, false), ("now", &truth.now, true)];
        let verdicts = runs.map(|(mode, run, now)| verdict(scene, mode, run, &model, now, &mut differences));
        let misbehaves = model.misbehaves();
        let has_sets = truth.sets.is_some();
        if let Some(sets) = truth.sets {
            let (sets, ours) = (sets.without_consequences(), model.sets.without_consequences());
            differences.extend(sets.differences(&ours));
        }
        Self { lazy: verdicts[0], now: verdicts[1], misbehaves, has_sets, differences }
    }
}

/// Compares the two verdicts on one start. Adds a difference between them or in the first cause.
fn verdict(
    scene: &Scene,
    mode: &str,
    run: &Run,
    model: &Model,
    now: bool,
    differences: &mut Vec<String>,
) -> (bool, bool) {
    let loaded = if scene.plugin.is_some() { End::Exit(0) } else { End::Entry };
    let (started, expected) = (run.end == loaded, model.loads(now));
    // "will misbehave" warns of a crash on the way to the entry point.
    let crashed = matches!(run.end, End::Signal(_)) && model.misbehaves() && expected;
    if started != expected && !crashed {
        let cause = run.cause(scene.shown()).unwrap_or_default();
        let ours = model.cause(now);
        differences.push(format!("{mode}: {:?} ({cause}), compat: {}", run.end, told(ours)));
    } else if let (false, Some(problem), Some(cause)) = (expected, model.cause(now), run.cause(scene.shown()))
        && !is_cause(problem, &cause, &run.end, scene)
    {
        differences.push(format!("{mode}: first cause: {cause}, compat: {}", told(Some(problem))));
    }
    (started || crashed, expected)
}

/// Returns whether a problem matches the loader's message. For the kernel, only the error is compared. musl
/// prints the same facts in other words, so the names in them are compared.
fn is_cause(problem: &Problem, cause: &str, end: &End, scene: &Scene) -> bool {
    let is_musl = scene.musl.is_some();
    if scene.plugin.is_some() {
        // The library is shown by its path in the scope, but opened by an absolute path.
        return match problem {
            Problem::SymbolMissing { symbol, .. } if is_musl => {
                cause.ends_with(&format!(": {symbol}: symbol not found"))
            }
            // musl names the object by the path that was opened.
            Problem::StaticTlsFull { .. } if is_musl => {
                cause.contains("initial-exec TLS resolves to dynamic")
            }
            _ => problem.loader_message().is_some_and(|message| cause.ends_with(&message)),
        };
    }
    if let End::NotExecuted(errno) = end {
        if let Problem::ScriptTooDeep { .. } = problem {
            return *errno == rustix::io::Errno::LOOP.raw_os_error();
        }
        let text = cause.split(" (os error").next().unwrap_or(cause);
        return told(Some(problem)).contains(text);
    }
    let cause = &*without_line(cause);
    match problem {
        Problem::LibraryMissing { library, .. } | Problem::LibraryUnusable { library, .. } if is_musl => {
            cause.starts_with(&as_printed(&format!("Error loading shared library {library}: ")))
        }
        Problem::SymbolMissing { symbol, wanted_by, .. } if is_musl => {
            cause == as_printed(&format!("Error relocating {wanted_by}: {symbol}: symbol not found"))
        }
        _ => problem.loader_message().map(|message| as_printed(&message)).is_some_and(|message| {
            // The loader's message about the program itself begins with its name once, not twice.
            message == cause || message.strip_prefix(&format!("{}: ", scene.shown())) == Some(cause)
        }),
    }
}

/// Removes the source line from a failed assertion of the loader.
fn without_line(cause: &str) -> String {
    let mut parts: Vec<&str> = cause.split(": ").collect();
    let is_line = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if cause.starts_with("Inconsistency detected by ") && parts.get(2).is_some_and(is_line) {
        parts.remove(2);
    }
    parts.join(": ")
}

fn told(problem: Option<&Problem>) -> String {
    match problem {
        None => "loads".to_owned(),
        Some(problem) => match problem.loader_message() {
            Some(message) => format!("{message} [{problem:?}]"),
            None => format!("{problem:?}"),
        },
    }
}

/// The number of programs with each result.
#[derive(Debug, Default, Clone, Copy)]
pub struct Matrix {
    cells: [[usize; 2]; 2],
}

impl Matrix {
    fn add(&mut self, (truth, model): (bool, bool)) {
        self.cells[usize::from(!truth)][usize::from(!model)] += 1;
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [[both, false_refusal], [false_load, neither]] = self.cells;
        write!(
            formatter,
            "both load {both}, both refuse {neither}, only compat loads {false_load}, only the loader loads {false_refusal}"
        )
    }
}

/// The figures of many comparisons.
#[derive(Debug, Default)]
pub struct Figures {
    programs: usize,
    with_sets: usize,
    equal: usize,
    lazy: Matrix,
    now: Matrix,
}

impl Figures {
    /// Counts one comparison.
    pub fn add(&mut self, comparison: &Comparison) {
        self.programs += 1;
        self.with_sets += usize::from(comparison.has_sets);
        self.equal += usize::from(comparison.differences.is_empty());
        self.lazy.add(comparison.lazy);
        self.now.add(comparison.now);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { programs, with_sets, equal, lazy, now } = self;
        writeln!(
            formatter,
            "{programs} programs, {equal} equal in everything, {with_sets} with sets to compare"
        )?;
        writeln!(formatter, "  lazy: {lazy}")?;
        write!(formatter, "  now:  {now}")
    }
}
