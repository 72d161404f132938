//! The start of a program: the kernel's part, then the loader's (execve(2), `fs/binfmt_elf.c`).

use crate::host::DynamicLoader;
use crate::host::Platform;
use crate::loader::load::{self, Program};
use crate::loader::script::searched_program;
use crate::loader::{
    DEFAULT_PROGRAM_PATH, Facts, Files, Form, Load, LoadedObject, OpenError, Opened, Problem, parse_script,
};

/// How many scripts may lead to one another.
const MAXIMUM_SCRIPTS: usize = 5;

/// What the start of a program depends on besides the files.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The CPU and the kernel.
    pub platform: Platform,
    /// `LD_LIBRARY_PATH`.
    pub library_path: Option<String>,
    /// The working directory, absolute.
    pub working_directory: String,
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
    match files.open(start.path) {
        Ok(opened) => start_object(start, opened, files, environment),
        Err(OpenError::NotElf | OpenError::TooShort) => {
            start_script(start, files, environment, MAXIMUM_SCRIPTS)
        }
        Err(error) => {
            Load::of(Problem::NotAProgram { object: start.shown.to_owned(), reason: error.to_string() })
        }
    }
}

/// Follows a script that is not in `files` itself, from what its first line says.
pub fn start_script_line(
    shown: &str,
    interpreter: &str,
    argument: Option<&str>,
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    follow(shown, interpreter, argument, files, environment, MAXIMUM_SCRIPTS)
}

impl Load {
    /// The start ends before anything is loaded.
    pub(super) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }
}

fn start_script(start: &Start<'_>, files: &dyn Files, environment: &Environment, depth: usize) -> Load {
    let object = start.shown.to_owned();
    let script = files.read(start.path).ok().and_then(|data| parse_script(&data));
    match script {
        None => {
            Load::of(Problem::NotAProgram { object, reason: "neither an ELF object nor a script".to_owned() })
        }
        Some(Err(reason)) => Load::of(Problem::NotAProgram { object, reason: reason.to_owned() }),
        Some(Ok(_)) if depth == 0 => Load::of(Problem::ScriptTooDeep { object }),
        Some(Ok(script)) => {
            follow(start.shown, &script.interpreter, script.argument.as_deref(), files, environment, depth)
        }
    }
}

fn follow(
    shown: &str,
    interpreter: &str,
    argument: Option<&str>,
    files: &dyn Files,
    environment: &Environment,
    depth: usize,
) -> Load {
    let path = match interpreter.starts_with('/') {
        true => interpreter.to_owned(),
        false => format!("{}/{interpreter}", environment.working_directory.trim_end_matches('/')),
    };
    let next = Start { path: &path, shown: &path };
    let mut load = match files.open(&path) {
        Ok(opened) => start_object(&next, opened, files, environment),
        Err(OpenError::NotElf | OpenError::TooShort) if depth == 0 => {
            return Load::of(Problem::ScriptTooDeep { object: shown.to_owned() });
        }
        Err(OpenError::NotElf | OpenError::TooShort) => start_script(&next, files, environment, depth - 1),
        Err(error) => {
            return Load::of(Problem::InterpreterMissing {
                object: shown.to_owned(),
                interpreter: interpreter.to_owned(),
                reason: error.to_string(),
            });
        }
    };
    if let Some(program) = searched_program(interpreter, argument) {
        let searched = start_searched(shown, program, files, environment, depth);
        load.append(searched);
    }
    load
}

/// Starts the program that a script asks `env` to find.
fn start_searched(
    shown: &str,
    program: &str,
    files: &dyn Files,
    environment: &Environment,
    depth: usize,
) -> Load {
    if program.contains('/') {
        return follow(shown, program, None, files, environment, depth);
    }
    let directories = DEFAULT_PROGRAM_PATH.split(':');
    let mut paths = directories.clone().map(|directory| format!("{directory}/{program}"));
    match paths.find(|path| files.is_executable(path)) {
        Some(path) if depth > 0 => follow(shown, &path, None, files, environment, depth - 1),
        Some(_) => Load::of(Problem::ScriptTooDeep { object: shown.to_owned() }),
        None => Load::of(Problem::ProgramMissing {
            object: shown.to_owned(),
            program: program.to_owned(),
            searched: directories.map(str::to_owned).collect(),
        }),
    }
}

fn start_object(start: &Start<'_>, opened: Opened, files: &dyn Files, environment: &Environment) -> Load {
    let facts = std::sync::Arc::clone(&opened.facts);
    let shown = start.shown.to_owned();
    if !environment.platform.runs(facts.machine) {
        let host = environment.platform.machine.to_string();
        return Load::of(Problem::WrongMachine { object: shown, machine: facts.machine.to_string(), host });
    }
    if facts.form == Form::Other {
        let reason = "a relocatable object or a core dump, nothing that runs".to_owned();
        return Load::of(Problem::NotAProgram { object: shown, reason });
    }
    let program = Program { opened, path: start.path.to_owned(), shown: shown.clone() };
    let Some(interpreter) = interpreter_of(&facts) else {
        return static_program(program, environment);
    };
    let missing = |reason| {
        let (object, interpreter) = (shown.clone(), interpreter.clone());
        Load::of(Problem::InterpreterMissing { object, interpreter, reason })
    };
    let path = match interpreter.starts_with('/') {
        true => interpreter.clone(),
        false => format!("{}/{interpreter}", environment.working_directory.trim_end_matches('/')),
    };
    let loader_file = match load::open_loader(files, &path, &facts) {
        Ok(opened) => opened,
        Err(reason) => return missing(reason),
    };
    match files.memory().dynamic_loader(files, &path, facts.machine, facts.class) {
        Some(loader) => load::load(program, &loader, loader_file, files, environment),
        None => Load::of(Problem::InterpreterUnknown { object: shown, interpreter }),
    }
}

/// The loader that an object names, or for a library the one that its programs would name. `None` for
/// a static program.
fn interpreter_of(facts: &Facts) -> Option<String> {
    if facts.interpreter.is_some() || facts.is_program() {
        return facts.interpreter.clone();
    }
    let wants_musl = facts.needed.iter().any(|dependency| dependency.name.starts_with("libc.musl-"));
    if wants_musl {
        return Some(DynamicLoader::usual_musl_path(facts.machine));
    }
    let usual = DynamicLoader::usual_path(facts.machine, facts.class, facts.big_endian);
    usual.map(str::to_owned)
}

/// A program without a loader: what remains is the CPU and the kernel.
fn static_program(program: Program, environment: &Environment) -> Load {
    let mut load = Load { objects: vec![LoadedObject::alone(program)], ..Load::default() };
    check_platform(&mut load, false, environment);
    load
}

/// Checks the CPU levels and kernels that the objects of a loaded program were built for; `refused` says
/// whether the loader refuses objects for a newer CPU.
pub(super) fn check_platform(load: &mut Load, refused: bool, environment: &Environment) {
    let platform = &environment.platform;
    let mut problems = Vec::new();
    for object in &load.objects {
        let shown = || object.shown.clone();
        if let (Some(wanted), Some(host)) = (object.facts.isa, platform.isa)
            && !wanted.is_subset_of(host)
        {
            let (wanted, host) = (wanted.to_string(), host.to_string());
            problems.push(Problem::IsaTooLow { object: shown(), wanted, host, refused });
        }
        if let (Some(wanted), Some(host)) = (object.facts.kernel, platform.kernel)
            && wanted > host
        {
            let (wanted, host) = (wanted.to_string(), host.to_string());
            problems.push(Problem::KernelTooOld { object: shown(), wanted, host });
        }
    }
    load.problems.extend(problems);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::host::Root;
    use crate::loader::HostFiles;

    #[test]
    fn scripts_that_lead_through_env_to_scripts_end_where_the_kernel_does() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join("usr/bin").join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        };
        // More than the 64 bytes of an ELF header, or the file would be too short for one.
        let line = |interpreter: &str| format!("#!{interpreter}\n{}", "#".repeat(64));
        write("env", &line("/usr/bin/env a"));
        write("a", &line("/usr/bin/env a"));
        let files = HostFiles::new(Root::at(root.path()).unwrap());
        let environment = Environment {
            platform: Platform::of_this_machine(),
            library_path: None,
            working_directory: "/".to_owned(),
        };
        let load = start(&Start { path: "/usr/bin/a", shown: "a" }, &files, &environment);
        assert!(load.problems.iter().all(|problem| matches!(problem, Problem::ScriptTooDeep { .. })));
        assert!(!load.problems.is_empty());
    }
}
