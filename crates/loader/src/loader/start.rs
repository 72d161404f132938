//! The start of a program: the kernel's part, then the loader's (execve(2), `fs/binfmt_elf.c`).

use std::sync::Arc;

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, Platform};
use crate::loader::emulation::{Emulation, environment_of_emulated, environment_of_handler};
use crate::loader::follow::{Depth, Executed, Follower};
use crate::loader::layout::{self, Judgement};
use crate::loader::listed_script::parsed;
use crate::loader::load::{self, Later};
use crate::loader::loaded::{Program, Start};
use crate::loader::{
    Context, Effect, Facts, Form, Load, LoadedObject, ObjectIdentity, OpenError, Opened, Problem, Reason,
    library, mark,
};

/// Starts a program up to its entry point and returns the result. A library is loaded as if by a program
/// without other needs.
pub fn start(start: &Start<'_>, context: Context<'_>) -> Load {
    context.budget().refill(0);
    context.budget().extend(context.environment.library_path.as_deref());
    honest(start_object_or_script(start, context), context)
}

/// Starts a program, and opens libraries as it would at run time (dlopen(3)). Each is opened by its path, or by
/// a name that is searched on behalf of the program, in this order and together with its needs. A library sees
/// the symbols of all opened objects, earlier and later ones.
pub fn start_and_open(start: &Start<'_>, names: &[String], context: Context<'_>) -> Load {
    context.budget().refill(0);
    context.budget().extend(context.environment.library_path.as_deref());
    honest(open_later(start, names, context), context)
}

/// Like [`start_and_open`], with the remaining budget.
pub(super) fn open_later(start: &Start<'_>, names: &[String], context: Context<'_>) -> Load {
    match context.files.open(start.path) {
        Ok(opened) => start_object(start, opened, names, context),
        Err(error) => {
            Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason: error.into_reason() })
        }
    }
}

/// Returns the result of a start. If the budget cut the start short, its missing libraries may exist, so only
/// the exceeded effort is reported.
pub(super) fn honest(load: Load, context: Context<'_>) -> Load {
    match context.budget().problem() {
        Some(problem) if !load.problems.contains(&problem) => Load::of(problem),
        _ => load,
    }
}

/// Starts the program, library or script at a path.
pub(super) fn start_object_or_script(start: &Start<'_>, context: Context<'_>) -> Load {
    match context.files.open(start.path) {
        Ok(opened) => start_object(start, opened, &[], context),
        Err(OpenError::NotElf | OpenError::TooShort)
            if is_script(start, context) && !context.files.is_executable(start.path) =>
        {
            Load::of(Problem::not_executable(start.shown))
        }
        Err(OpenError::NotElf | OpenError::TooShort) => start_script(start, context, Depth::START),
        Err(OpenError::RecordedNotElf(_)) => {
            let reason = "Exec format error: it has neither an ELF header nor a #! line".into();
            Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason })
        }
        Err(error) => {
            Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason: error.into_reason() })
        }
    }
}

/// Follows a script that is not in `files`, from its description in a document.
pub fn start_script_line(start: &Start<'_>, script: &crate::spec::Script, context: Context<'_>) -> Load {
    follower(context, Depth::START).follow(start, &parsed(script))
}

/// Starts the script at a path.
fn start_script(start: &Start<'_>, context: Context<'_>, depth: Depth) -> Load {
    follower(context, depth).start(start)
}

/// Creates a follower of scripts, which starts the files that they lead to.
fn follower(context: Context<'_>, depth: Depth) -> Follower<'_> {
    Follower { context, depth, execute }
}

/// Starts the file that a script executes: its interpreter, or a program.
fn execute(executed: &Executed<'_>, context: Context<'_>, depth: Depth) -> Result<Load, Problem> {
    let path = executed.path;
    let next = Start { path, shown: path };
    let missing = |reason: Reason| Problem::InterpreterMissing {
        object: executed.script.to_owned(),
        interpreter: executed.name.to_owned(),
        reason,
    };
    match context.files.open(path) {
        Ok(_) | Err(OpenError::NotElf | OpenError::TooShort) if !context.files.is_executable(path) => {
            Err(missing("Permission denied".into()))
        }
        Ok(opened) => Ok(start_object(&next, opened, &[], context)),
        Err(OpenError::NotElf | OpenError::TooShort) => match depth.after_script() {
            Some(depth) => Ok(start_script(&next, context, depth)),
            None => Err(Problem::ScriptTooDeep { object: executed.script.to_owned() }),
        },
        // The kernel's error for an interpreter that is a directory.
        Err(OpenError::NotRegular) => Err(missing("Permission denied".into())),
        Err(error) => Err(missing(error.into_reason())),
    }
}

fn is_script(start: &Start<'_>, context: Context<'_>) -> bool {
    context.files.read(start.path).is_ok_and(|data| data.starts_with(b"#!"))
}

pub(super) fn start_object(
    start: &Start<'_>,
    opened: Opened,
    names: &[String],
    context: Context<'_>,
) -> Load {
    let Context { environment, .. } = context;
    let platform = &environment.platform;
    let facts = Arc::clone(&opened.facts);
    let is_plugin = environment.opens(&facts);
    if !is_plugin && !platform.runs(facts.machine, facts.big_endian) {
        return start_foreign(start, opened, names, context);
    }
    if !is_plugin && facts.form == Form::Other {
        let reason = "a relocatable object or a core dump, not a program".into();
        return Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason });
    }
    let subject = Program { opened, path: start.path.to_owned(), shown: start.shown.to_owned() };
    let (program, plugin) = match &environment.host_program {
        Some(path) if is_plugin => match host_program(path, context) {
            Ok(program) => (program, Some(subject)),
            Err(problem) => return Load::of(problem),
        },
        _ => (subject, None),
    };
    if let Some(problem) = refused_by_kernel(&program, context) {
        return Load::of(problem);
    }
    let facts = Arc::clone(&program.opened.facts);
    let Some(interpreter) = &facts.interpreter else {
        return if facts.is_program() {
            static_program(program, platform)
        } else {
            library::start(program, context)
        };
    };
    match loader_of(start.shown, &facts, interpreter, context) {
        Ok((loader, loader_file)) => {
            load::load(program, Later { plugin, names }, &loader, loader_file, context)
        }
        Err(problem) => Load::of(problem),
    }
}

/// Starts a program for another machine.
fn start_foreign(start: &Start<'_>, opened: Opened, names: &[String], context: Context<'_>) -> Load {
    let environment = context.environment;
    let Emulation { handler, problem } =
        match Emulation::of(start.path, start.shown, &opened.facts, &environment.platform) {
            Ok(emulation) => emulation,
            Err(problem) => return Load::of(problem),
        };
    if !handler.is_open()
        && let Some(load) = refused_handler(start.shown, &handler.interpreter, context)
    {
        return load;
    }
    if !handler.is_emulator() {
        return Load::of(problem);
    }
    let emulated = environment_of_emulated(&opened.facts, environment);
    let mut load = start_object(start, opened, names, context.within(&emulated));
    load.problems.push(problem);
    load
}

/// Returns the failure of the handler itself, if it cannot start. It must be in the root unless it is already
/// open.
fn refused_handler(shown: &str, path: &str, context: Context<'_>) -> Option<Load> {
    let environment = environment_of_handler(context.environment);
    let executed = Executed { script: shown, name: path, path };
    match execute(&executed, context.within(&environment), Depth::START) {
        Ok(load) => load.problems.iter().any(|problem| problem.effect() >= Effect::Refuses).then_some(load),
        Err(problem) => Some(Load::of(problem)),
    }
}

/// Opens the loader that a program names, and reads its search rules. `shown` is the subject that has the
/// problem.
fn loader_of(
    shown: &str,
    program: &Facts,
    interpreter: &str,
    context: Context<'_>,
) -> Result<(Arc<DynamicLoader>, Opened), Problem> {
    let (object, interpreter) = (shown.to_owned(), interpreter.to_owned());
    let path = context.environment.absolute(&interpreter);
    let opened = match load::open_loader(&path, program, context) {
        Ok(opened) => opened,
        // The kernel also starts a file that is not a loader.
        Err(_) if is_other_program(&path, program, context) => {
            return Err(Problem::InterpreterUnknown { object, interpreter });
        }
        Err(reason) => {
            let is_regular = !matches!(context.files.open(&path), Err(OpenError::NotRegular));
            let reason = if is_regular { reason } else { "Permission denied".into() };
            return Err(Problem::InterpreterMissing { object, interpreter, reason });
        }
    };
    if !context.files.is_executable(&path) {
        let reason = "Permission denied".into();
        return Err(Problem::InterpreterMissing { object, interpreter, reason });
    }
    let judged = layout::of_interpreter(&opened.facts, &context.environment.platform);
    if let (Judgement::Wrong(_), Some(problem)) = (&judged, judged.problem(&path)) {
        return Err(problem);
    }
    match context.dynamic_loader(&path, program.machine, program.class) {
        Some(loader) => Ok((loader, opened)),
        None => Err(Problem::InterpreterUnknown { object, interpreter }),
    }
}

/// Returns the reason why the kernel does not start a program: its permissions, its segments or its machine.
fn refused_by_kernel(program: &Program, context: Context<'_>) -> Option<Problem> {
    let facts = &program.opened.facts;
    let platform = &context.environment.platform;
    let is_recorded = matches!(program.opened.identity, ObjectIdentity::Profile(_));
    if facts.is_program()
        && facts.is_executed()
        && !is_recorded
        && !context.files.is_executable(&program.path)
    {
        return Some(Problem::not_executable(&program.shown));
    }
    let judgement = layout::of_kernel(facts, platform);
    if matches!(judgement, Judgement::Wrong(_))
        && facts.is_program()
        && let Some(problem) = judgement.problem(&program.shown)
    {
        return Some(problem);
    }
    if !platform.runs(facts.machine, facts.big_endian) {
        let (object, machine) = (program.shown.clone(), facts.machine_name());
        return Some(Problem::WrongMachine { object, machine, host: platform.name() });
    }
    x32_refused(program, platform)
}

/// Returns whether the kernel starts the file at the path of an interpreter (`load_elf_interp`): any program or
/// shared object for the machine.
fn is_other_program(path: &str, program: &Facts, context: Context<'_>) -> bool {
    context.files.open(path).is_ok_and(|opened| {
        let facts = opened.facts;
        let is_same = (facts.machine, facts.class, facts.big_endian)
            == (program.machine, program.class, program.big_endian);
        is_same
            && facts.form != Form::Other
            && program.interpreter.is_some()
            && context.files.is_executable(path)
    })
}

/// Returns the program that should load a library.
fn host_program(path: &str, context: Context<'_>) -> Result<Program, Problem> {
    let refused = |reason: Reason| Problem::NotAProgram { object: path.to_owned(), reason };
    let opened = context.files.open(path).map_err(|error| refused(error.into_reason()))?;
    if opened.facts.is_program() && opened.facts.interpreter.is_some() {
        Ok(Program { opened, path: path.to_owned(), shown: path.to_owned() })
    } else {
        Err(refused("not a program that can load libraries".into()))
    }
}

/// Returns the reason why the kernel does not start a program with 32-bit addresses on x86-64 (x32). Most
/// kernels are built without x32.
fn x32_refused(program: &Program, platform: &Platform) -> Option<Problem> {
    let facts = &program.opened.facts;
    if facts.machine != Machine::X86_64 || facts.class != Class::Elf32 {
        return None;
    }
    let (object, machine) = (program.shown.clone(), "x86_64 with 32-bit addresses (x32)".to_owned());
    match platform.x32 {
        Some(true) => None,
        Some(false) => Some(Problem::WrongMachine { object, machine, host: "x86_64 without x32".to_owned() }),
        None => Some(Problem::MachineUncertain { object, machine }),
    }
}

/// Returns the result for a program without a loader: only the CPU and the kernel matter.
fn static_program(program: Program, platform: &Platform) -> Load {
    let mut load = Load { objects: vec![LoadedObject::alone(program)], ..Load::default() };
    layout::check(&mut load, None, platform);
    mark::check(&mut load, None, platform);
    load
}
