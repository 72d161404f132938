//! The start of a program: the kernel's part, then the loader's (execve(2), `fs/binfmt_elf.c`).

use std::sync::Arc;

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, Platform};
use crate::loader::emulation::start_foreign;
use crate::loader::follow::{follow_parsed, start_script};
use crate::loader::layout::{self, Judgement};
use crate::loader::listed_script::parsed;
use crate::loader::load::{self, Later, Program};
use crate::loader::{
    Facts, Files, Form, Identity, Load, LoadedObject, OpenError, Opened, Problem, Reason, library, mark,
};

/// How far a chain of scripts has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    /// How many scripts the kernel still follows in one execve(2).
    pub scripts: usize,
    /// How many programs `env` may still be asked for: each is an execve of its own, and without a bound
    /// a script that names itself would go on for ever.
    searches: usize,
}

impl Depth {
    pub(super) const START: Self = Self { scripts: 5, searches: 16 };

    pub(super) fn after_script(self) -> Option<Self> {
        Some(Self { scripts: self.scripts.checked_sub(1)?, ..self })
    }

    pub(super) fn after_search(self) -> Option<Self> {
        Some(Self { searches: self.searches.checked_sub(1)?, ..Self::START })
    }
}

/// What the start of a program depends on besides the files.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The CPU and the kernel.
    pub platform: Platform,
    /// `LD_LIBRARY_PATH`.
    pub library_path: Option<String>,
    /// The working directory, absolute.
    pub working_directory: String,
    /// `PATH`, where `env` looks for programs.
    pub program_path: String,
    /// The program that loads the libraries in question; without it they are loaded on their own.
    pub host_program: Option<String>,
    /// That program loads what is a program itself, too: nothing else is in question.
    pub opens_programs: bool,
}

impl Environment {
    /// Whether the host program opens an object, rather than that it is started.
    fn opens(&self, facts: &Facts) -> bool {
        self.host_program.is_some() && (self.opens_programs || !facts.is_program())
    }

    /// A path from the working directory.
    pub(super) fn absolute(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", self.working_directory.trim_end_matches('/')),
        }
    }
}

/// A program or library, or a script, and how it is started.
pub struct Start<'a> {
    /// Its absolute path.
    pub path: &'a str,
    /// Its path as people see it.
    pub shown: &'a str,
}

/// Starts a program as far as its entry point, and says what would become of it. A library is loaded
/// as by a program that needs nothing else.
pub fn start(start: &Start<'_>, files: &dyn Files, environment: &Environment) -> Load {
    files.memory().budget.refill(0);
    files.memory().budget.extend(environment.library_path.as_deref());
    honest(start_object_or_script(start, files, environment), files)
}

/// Starts a program, and opens libraries as it would once it runs (dlopen(3)): each by its path, or by a name
/// that is searched for on behalf of the program, in this order and together with what it needs. A library
/// sees the symbols of all that was opened before or after it.
pub fn start_and_open(
    start: &Start<'_>,
    names: &[String],
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    files.memory().budget.refill(0);
    files.memory().budget.extend(environment.library_path.as_deref());
    honest(open_later(start, names, files, environment), files)
}

/// As [`start_and_open`], out of the budget that there is.
pub(super) fn open_later(
    start: &Start<'_>,
    names: &[String],
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    match files.open(start.path) {
        Ok(opened) => start_object(start, opened, names, files, environment),
        Err(error) => {
            Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason: reason_of(error) })
        }
    }
}

/// What a start came to that may have been cut short: then what it found missing may be there.
pub(super) fn honest(load: Load, files: &dyn Files) -> Load {
    match files.memory().budget.problem() {
        Some(problem) if !load.problems.contains(&problem) => Load::of(problem),
        _ => load,
    }
}

/// Starts what is at a path.
pub(super) fn start_object_or_script(
    start: &Start<'_>,
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    match files.open(start.path) {
        Ok(opened) => start_object(start, opened, &[], files, environment),
        Err(OpenError::NotElf | OpenError::TooShort)
            if is_script(start, files) && !files.is_executable(start.path) =>
        {
            Load::of(Problem::not_executable(start.shown))
        }
        Err(OpenError::NotElf | OpenError::TooShort) => start_script(start, files, environment, Depth::START),
        Err(OpenError::RecordedNotElf(_)) => {
            let reason = "Exec format error: it has neither an ELF header nor a #! line".into();
            Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason })
        }
        Err(error) => {
            Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason: reason_of(error) })
        }
    }
}

/// Follows a script that is not in `files` itself, from what a document says of it.
pub fn start_script_line(
    start: &Start<'_>,
    script: &crate::spec::Script,
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    follow_parsed(start, &parsed(script), files, environment)
}

impl Load {
    /// The start ends before anything is loaded.
    pub(super) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }
}

fn is_script(start: &Start<'_>, files: &dyn Files) -> bool {
    files.read(start.path).is_ok_and(|data| data.starts_with(b"#!"))
}

pub(super) fn start_object(
    start: &Start<'_>,
    opened: Opened,
    names: &[String],
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    let facts = Arc::clone(&opened.facts);
    let is_plugin = environment.opens(&facts);
    if !is_plugin && !environment.platform.runs(facts.machine, facts.big_endian) {
        return start_foreign(start, opened, names, files, environment);
    }
    if !is_plugin && facts.form == Form::Other {
        let reason = "a relocatable object or a core dump, nothing that runs".into();
        return Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason });
    }
    let subject = Program { opened, path: start.path.to_owned(), shown: start.shown.to_owned() };
    let (program, plugin) = match &environment.host_program {
        Some(path) if is_plugin => match host_program(path, files) {
            Ok(program) => (program, Some(subject)),
            Err(problem) => return Load::of(problem),
        },
        _ => (subject, None),
    };
    if let Some(problem) = refused_by_kernel(&program, files, environment) {
        return Load::of(problem);
    }
    let facts = Arc::clone(&program.opened.facts);
    let Some(interpreter) = &facts.interpreter else {
        return match facts.is_program() {
            true => static_program(program, environment),
            false => library::start(program, files, environment),
        };
    };
    match loader_of(start.shown, &facts, interpreter, files, environment) {
        Ok((loader, loader_file)) => {
            load::load(program, Later { plugin, names }, &loader, loader_file, files, environment)
        }
        Err(problem) => Load::of(problem),
    }
}

/// Opens the loader that a program names, and reads how it searches. `shown` is the subject that a problem is found in.
fn loader_of(
    shown: &str,
    program: &Facts,
    interpreter: &str,
    files: &dyn Files,
    environment: &Environment,
) -> Result<(Arc<DynamicLoader>, Opened), Problem> {
    let (object, interpreter) = (shown.to_owned(), interpreter.to_owned());
    let path = environment.absolute(&interpreter);
    let opened = match load::open_loader(files, &path, program, &environment.platform) {
        Ok(opened) => opened,
        // The kernel starts what is no loader as well.
        Err(_) if is_other_program(&path, program, files) => {
            return Err(Problem::InterpreterUnknown { object, interpreter });
        }
        Err(reason) => {
            let is_regular = !matches!(files.open(&path), Err(OpenError::NotRegular));
            let reason = if is_regular { reason } else { "Permission denied".into() };
            return Err(Problem::InterpreterMissing { object, interpreter, reason });
        }
    };
    if !files.is_executable(&path) {
        let reason = "Permission denied".into();
        return Err(Problem::InterpreterMissing { object, interpreter, reason });
    }
    let judged = layout::of_interpreter(&opened.facts, &environment.platform);
    if let (Judgement::Wrong(_), Some(problem)) = (&judged, judged.problem(&path)) {
        return Err(problem);
    }
    match files.memory().dynamic_loader(files, &path, program.machine, program.class) {
        Some(loader) => Ok((loader, opened)),
        None => Err(Problem::InterpreterUnknown { object, interpreter }),
    }
}

/// Why the kernel does not start a program: its permissions, its segments, its machine.
fn refused_by_kernel(program: &Program, files: &dyn Files, environment: &Environment) -> Option<Problem> {
    let facts = &program.opened.facts;
    let is_recorded = matches!(program.opened.identity, Identity::Profile(_));
    if facts.is_program() && facts.is_executed() && !is_recorded && !files.is_executable(&program.path) {
        return Some(Problem::not_executable(&program.shown));
    }
    let judgement = layout::of_kernel(facts, &environment.platform);
    if matches!(judgement, Judgement::Wrong(_))
        && facts.is_program()
        && let Some(problem) = judgement.problem(&program.shown)
    {
        return Some(problem);
    }
    if !environment.platform.runs(facts.machine, facts.big_endian) {
        let (object, machine) = (program.shown.clone(), facts.machine_name());
        return Some(Problem::WrongMachine { object, machine, host: environment.platform.name() });
    }
    x32_refused(program, environment)
}

/// Whether the kernel starts what is at the path of an interpreter (`load_elf_interp`): any program or shared
/// object for the machine.
fn is_other_program(path: &str, program: &Facts, files: &dyn Files) -> bool {
    files.open(path).is_ok_and(|opened| {
        let facts = opened.facts;
        let is_same = (facts.machine, facts.class, facts.big_endian)
            == (program.machine, program.class, program.big_endian);
        is_same && facts.form != Form::Other && program.interpreter.is_some() && files.is_executable(path)
    })
}

/// What the kernel says of an interpreter that cannot be started.
pub(super) fn interpreter_words(error: OpenError) -> Reason {
    match error {
        OpenError::NotRegular => "Permission denied".into(),
        other => reason_of(other),
    }
}

/// Why a path gives no object.
pub(super) fn reason_of(error: OpenError) -> Reason {
    match error {
        OpenError::Absent(reason) => reason,
        other => other.to_string().into(),
    }
}

/// The program that is to load a library.
fn host_program(path: &str, files: &dyn Files) -> Result<Program, Problem> {
    let refused = |reason: Reason| Problem::NotAProgram { object: path.to_owned(), reason };
    let opened = files.open(path).map_err(|error| refused(reason_of(error)))?;
    match opened.facts.is_program() && opened.facts.interpreter.is_some() {
        true => Ok(Program { opened, path: path.to_owned(), shown: path.to_owned() }),
        false => Err(refused("not a program that could load libraries".into())),
    }
}

/// Why the kernel does not start a program with 32-bit addresses on x86-64 (x32): most kernels are built
/// without that.
fn x32_refused(program: &Program, environment: &Environment) -> Option<Problem> {
    let (facts, platform) = (&program.opened.facts, &environment.platform);
    if facts.machine != Machine::X86_64 || facts.class != Class::Elf32 {
        return None;
    }
    let (object, machine) = (program.shown.clone(), "x86_64 with 32-bit addresses (x32)".to_owned());
    match platform.x32 {
        Some(true) => None,
        Some(false) => {
            Some(Problem::WrongMachine { object, machine, host: "x86_64 without them".to_owned() })
        }
        None => Some(Problem::MachineUncertain { object, machine }),
    }
}

/// A program without a loader: what remains is the CPU and the kernel.
fn static_program(program: Program, environment: &Environment) -> Load {
    let mut load = Load { objects: vec![LoadedObject::alone(program)], ..Load::default() };
    layout::check(&mut load, None, &environment.platform);
    check_platform(&mut load, None, environment);
    load
}

/// Checks the CPU levels and kernels that the objects of a loaded program were built for; with
/// what the loader, if there is one, makes of them.
pub(super) fn check_platform(load: &mut Load, loader: Option<&DynamicLoader>, environment: &Environment) {
    let refused = loader.is_some_and(|loader| loader.checks_isa);
    let platform = &environment.platform;
    let mut problems = Vec::new();
    for (index, object) in load.objects.iter().enumerate() {
        let shown = || object.shown.clone();
        if let (Some(wanted), Some(host)) = (object.facts.isa, platform.isa)
            && !wanted.is_subset_of(host)
        {
            let (wanted, host) = (wanted.to_string(), host.to_string());
            let setting = mark::reason(&object.facts).cloned();
            let refused = refused || setting.is_some();
            problems.push(Problem::IsaTooLow { object: shown(), wanted, host, refused, setting });
        }
        if object.facts.flags.relr && loader.is_some_and(|loader| !loader.knows_relr) {
            problems.push(Problem::RelrUnknown { object: shown() });
        }
        if let (Some(wanted), Some(host)) = (object.facts.kernel, platform.kernel)
            && wanted > host
        {
            let (wanted, host) = (wanted.to_string(), host.to_string());
            let ignored = index > 0 || !object.facts.checks_kernel;
            problems.push(Problem::KernelTooOld { object: shown(), wanted, host, ignored });
        }
    }
    load.problems.extend(problems);
    mark::check(load, environment);
}
