//! Scripts: from the first line to the interpreter, through `env` to the program that it starts, and as far as a
//! shell's text can be told to the command that the script is for.
//!
//! Nothing is executed. What a script does besides is said not to have been looked at
//! ([`Problem::ScriptNotFollowed`]). Sources: execve(2), `fs/binfmt_script.c`; [`crate::script`].

use crate::loader::Effect;
use crate::loader::start::{Depth, interpreter_words, reason_of, start_object};
use crate::loader::{Effort, Environment, Files, Load, OpenError, Problem, Reason, Start};
use crate::script::{
    ARGUMENTS, Env, EnvKind, OWN_DIRECTORY, ParsedScript, UNKNOWN, is_shell, is_wrapper, parse_script,
    runs_arguments,
};

/// Where execvp(3) looks if there is no PATH.
const PATH_OF_NO_ENVIRONMENT: &str = "/bin:/usr/bin";
/// What execvp(3) starts for a file without a first line.
const SHELL_OF_EXECVP: &str = "/bin/sh";
/// What following a script takes of the budget that another leads to: each may lead to two others.
const COST_OF_NESTED_SCRIPT: usize = 1 << 14;

/// A script that is being followed.
struct Script<'a> {
    /// Its path as people see it.
    shown: &'a str,
    /// Its absolute path.
    path: &'a str,
    parsed: &'a ParsedScript,
}

/// Starts the script at a path.
pub(super) fn start_script(
    start: &Start<'_>,
    files: &dyn Files,
    environment: &Environment,
    depth: Depth,
) -> Load {
    let object = start.shown.to_owned();
    let data = match files.read(start.path) {
        Ok(data) => data,
        Err(error) => return Load::of(Problem::NotAProgram { object, reason: reason_of(error) }),
    };
    match parse_script(&data) {
        None => {
            let reason = crate::script::why_none(&data).into();
            Load::of(Problem::NotAProgram { object, reason })
        }
        Some(Err(reason)) => Load::of(Problem::NotAProgram { object, reason: reason.into() }),
        Some(Ok(_)) if depth.scripts == 0 => Load::of(Problem::ScriptTooDeep { object }),
        Some(Ok(parsed)) => {
            let script = Script { shown: start.shown, path: start.path, parsed: &parsed };
            script.follow(files, environment, depth)
        }
    }
}

/// Follows a script that is not in `files` itself.
pub(super) fn follow_parsed(
    start: &Start<'_>,
    parsed: &ParsedScript,
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    Script { shown: start.shown, path: start.path, parsed }.follow(files, environment, Depth::START)
}

impl Script<'_> {
    fn follow(&self, files: &dyn Files, environment: &Environment, depth: Depth) -> Load {
        let budget = &files.memory().budget;
        if depth != Depth::START && !budget.spend(Effort::Search, COST_OF_NESTED_SCRIPT) {
            return budget.problem().map(Load::of).unwrap_or_default();
        }
        let interpreter = &self.parsed.interpreter;
        let path = environment.absolute(interpreter);
        let mut load = match start_interpreter(self.shown, interpreter, &path, files, environment, depth) {
            Ok(load) => load,
            Err(problem) => return Load::of(problem),
        };
        if let Some(reason) = self.parsed.refused_argument() {
            load.problems.push(Problem::ScriptFails { object: self.shown.to_owned(), reason });
            return load;
        }
        if name_of(interpreter) != "env" {
            let name = self.parsed.applet().unwrap_or_else(|| name_of(interpreter));
            self.follow_body(name, &path, &mut load, files, environment, depth);
            return load;
        }
        match kind_of_env(&path, files).start(self.parsed.argument.as_deref()) {
            Ok(env) => {
                let changed = changed_by(&env, environment);
                let change = Change::of(&env, environment, files);
                if change == Change::Fails {
                    load.problems.push(no_directory(self.shown, &env));
                    return load;
                }
                let name = name_of(&env.program).to_owned();
                match find(&env.program, files, &changed) {
                    Some(program) => {
                        load.append(start_program(self.shown, &program, false, files, &changed, depth));
                        self.follow_body(&name, &program, &mut load, files, &changed, depth);
                        if change == Change::Unknown {
                            self.note_not_followed(&program, None, &mut load);
                        }
                    }
                    None => load.append(missing(self.shown, &env.program, false, files, &changed)),
                }
            }
            Err(reason) => {
                load.problems.push(Problem::ScriptFails { object: self.shown.to_owned(), reason });
            }
        }
        load
    }

    /// Follows the text as far as it can be told: the shell's name, and the path of what runs the script.
    fn follow_body(
        &self,
        name: &str,
        runs: &str,
        load: &mut Load,
        files: &dyn Files,
        environment: &Environment,
        depth: Depth,
    ) {
        let body = &self.parsed.body;
        let (mut started, mut is_whole) = (None, body.whole);
        let changed = self.environment(environment);
        let change = match &body.directory {
            Some(directory) if directory == OWN_DIRECTORY => Change::Done,
            Some(directory) => Change::to(&self.expand(directory), environment, files),
            None => Change::Done,
        };
        // What the shell does then depends on its options and on how the commands are joined.
        let is_followed = is_shell(name) && change != Change::Fails;
        if is_followed && !body.command.is_empty() && body.command[0] != ARGUMENTS {
            let words: Vec<String> = body.command.iter().map(|word| self.expand(word)).collect();
            let found = find(&words[0], files, &changed).filter(|program| files.is_executable(program));
            // Nobody knows here in which directory the script is started.
            let is_relative =
                words[0].contains('/') && !words[0].starts_with('/') && body.directory.is_none();
            let is_inside = |program: &String| program.starts_with(&changed.working_directory);
            is_whole &= change == Change::Done || found.as_ref().is_some_and(is_inside);
            if !is_relative || found.is_some() {
                started = Some(words[0].clone());
                let is_whole = &mut is_whole;
                load.append(start_command(self.shown, &words, files, &changed, depth, is_whole));
            }
        }
        let is_whole = is_followed && is_whole && (started.is_some() || body.command.is_empty());
        if !is_whole {
            self.note_not_followed(runs, started, load);
        }
    }

    /// Adds that what the script does was not looked at, or not all of it, unless it fails or this is known already.
    fn note_not_followed(&self, runs: &str, started: Option<String>, load: &mut Load) {
        let is_known = |problem: &Problem| {
            let is_same =
                matches!(problem, Problem::ScriptNotFollowed { object, .. } if object == self.shown);
            is_same || problem.effect() >= Effect::Undecided
        };
        if !load.problems.iter().any(is_known) {
            load.problems.push(Problem::ScriptNotFollowed {
                object: self.shown.to_owned(),
                interpreter: runs.to_owned(),
                started,
            });
        }
    }

    /// The environment of the command that the script ends with.
    fn environment(&self, environment: &Environment) -> Environment {
        let body = &self.parsed.body;
        let mut changed = environment.clone();
        if let Some(directory) = &body.directory {
            changed.working_directory = environment.absolute(&self.expand(directory));
        }
        if let Some(value) = body.variables.get("PATH") {
            changed.program_path = self.expand(value).replace("$PATH", &environment.program_path);
        }
        if let Some(value) = body.variables.get("LD_LIBRARY_PATH") {
            let before = environment.library_path.as_deref().unwrap_or_default();
            changed.library_path = Some(self.expand(value).replace("$LD_LIBRARY_PATH", before));
        }
        changed
    }

    /// A word with the script's own directory in its place.
    fn expand(&self, word: &str) -> String {
        let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        word.replace(OWN_DIRECTORY, if directory.is_empty() { "/." } else { directory })
    }
}

/// What comes of changing the directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It is there, or none is asked for.
    Done,
    /// It is not there.
    Fails,
    /// Nobody can tell.
    Unknown,
}

impl Change {
    /// Of `env -C`.
    fn of(env: &Env, environment: &Environment, files: &dyn Files) -> Self {
        env.directory.as_ref().map_or(Self::Done, |directory| Self::to(directory, environment, files))
    }

    fn to(directory: &str, environment: &Environment, files: &dyn Files) -> Self {
        match files.has_directory(&environment.absolute(directory)) {
            Some(true) => Self::Done,
            // Nobody knows here in which directory it would be started.
            Some(false) if directory.starts_with('/') => Self::Fails,
            _ => Self::Unknown,
        }
    }
}

/// `env -C` for a directory that is not there.
fn no_directory(shown: &str, env: &Env) -> Problem {
    let directory = env.directory.as_deref().unwrap_or_default();
    Problem::ScriptFails {
        object: shown.to_owned(),
        reason: format!("env: cannot change directory to '{directory}'"),
    }
}

/// Starts the interpreter itself.
pub(super) fn start_interpreter(
    shown: &str,
    interpreter: &str,
    path: &str,
    files: &dyn Files,
    environment: &Environment,
    depth: Depth,
) -> Result<Load, Problem> {
    let next = Start { path, shown: path };
    let missing = |reason: Reason| Problem::InterpreterMissing {
        object: shown.to_owned(),
        interpreter: interpreter.to_owned(),
        reason,
    };
    match files.open(path) {
        Ok(_) | Err(OpenError::NotElf | OpenError::TooShort) if !files.is_executable(path) => {
            Err(missing("Permission denied".into()))
        }
        Ok(opened) => Ok(start_object(&next, opened, &[], files, environment)),
        Err(OpenError::NotElf | OpenError::TooShort) => match depth.after_script() {
            Some(depth) => Ok(start_script(&next, files, environment, depth)),
            None => Err(Problem::ScriptTooDeep { object: shown.to_owned() }),
        },
        Err(error) => Err(missing(interpreter_words(error))),
    }
}

/// Starts the command that a shell's text ends with, and what it is told to start. `is_followed` becomes false
/// if it is told to start something that cannot be told.
fn start_command(
    shown: &str,
    words: &[String],
    files: &dyn Files,
    environment: &Environment,
    depth: Depth,
    is_followed: &mut bool,
) -> Load {
    let Some(program) = find(&words[0], files, environment) else {
        return missing(shown, &words[0], true, files, environment);
    };
    let mut load = start_program(shown, &program, true, files, environment, depth);
    let arguments = &words[1..];
    let name = name_of(&words[0]);
    if name == "env" {
        let env = kind_of_env(&program, files).command(arguments);
        match env.ok().filter(|env| !env.program.contains(UNKNOWN)).zip(depth.after_search()) {
            Some((env, depth)) => {
                let change = Change::of(&env, environment, files);
                if change == Change::Fails {
                    load.problems.push(no_directory(shown, &env));
                    return load;
                }
                *is_followed &= change == Change::Done;
                let changed = changed_by(&env, environment);
                let words: Vec<String> = std::iter::once(env.program).chain(env.arguments).collect();
                load.append(start_command(shown, &words, files, &changed, depth, is_followed));
            }
            None => *is_followed = false,
        }
    } else if is_wrapper(name) {
        let is_word = |word: &str| !word.starts_with('-') && !word.contains('=');
        let is_there = |path: String| files.is_executable(&path);
        let is_program =
            |word: &String| is_word(word) && find(word, files, environment).is_some_and(is_there);
        match arguments.iter().position(is_program).zip(depth.after_search()) {
            Some((at, depth)) => {
                load.append(start_command(shown, &arguments[at..], files, environment, depth, is_followed));
            }
            None => *is_followed = false,
        }
    } else if (is_shell(name) || runs_arguments(name)) && !arguments.is_empty() {
        *is_followed = false;
    }
    load
}

/// Starts a program that a script starts by itself: an execve of its own.
fn start_program(
    shown: &str,
    path: &str,
    by_script: bool,
    files: &dyn Files,
    environment: &Environment,
    depth: Depth,
) -> Load {
    let Some(depth) = depth.after_search() else {
        return Load::of(Problem::ScriptTooDeep { object: shown.to_owned() });
    };
    if is_left_to_shell(path, files) {
        return Load::of(Problem::ScriptNotFollowed {
            object: path.to_owned(),
            interpreter: SHELL_OF_EXECVP.to_owned(),
            started: None,
        });
    }
    match start_interpreter(shown, path, path, files, environment, depth) {
        Ok(load) => load,
        Err(Problem::InterpreterMissing { object, interpreter, reason }) if !reason.is_unrecorded() => {
            Load::of(Problem::ProgramMissing {
                object,
                program: interpreter,
                searched: Vec::new(),
                by_script,
            })
        }
        Err(problem) => Load::of(problem),
    }
}

/// Whether the kernel refuses a file as neither an object nor a script (ENOEXEC): shells and execvp(3) then read it
/// as a shell's script.
fn is_left_to_shell(path: &str, files: &dyn Files) -> bool {
    match files.open(path) {
        Err(OpenError::NotElf | OpenError::TooShort) => {
            files.is_executable(path) && files.read(path).is_ok_and(|data| parse_script(&data).is_none())
        }
        Err(OpenError::RecordedNotElf(_)) => true,
        _ => false,
    }
}

/// The absolute path of a program that is named by a path, or found in PATH.
fn find(program: &str, files: &dyn Files, environment: &Environment) -> Option<String> {
    if program.contains('/') {
        return Some(environment.absolute(program));
    }
    let mut paths = environment.program_path.split(':').map(|directory| match directory {
        "" => environment.absolute(program),
        directory => format!("{directory}/{program}"),
    });
    paths.find(|path| files.is_executable(path))
}

/// A program that is in no directory of PATH.
fn missing(
    shown: &str,
    program: &str,
    by_script: bool,
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    let path = &environment.program_path;
    if !files.memory().budget.spend(Effort::Search, 4 * path.len()) {
        return Load::default();
    }
    if path.split(':').any(|directory| files.is_unrecorded(&format!("{directory}/{program}"))) {
        return Load::of(Problem::InterpreterMissing {
            object: shown.to_owned(),
            interpreter: program.to_owned(),
            reason: Reason::Unrecorded,
        });
    }
    Load::of(Problem::ProgramMissing {
        object: shown.to_owned(),
        program: program.to_owned(),
        searched: path.split(':').map(str::to_owned).collect(),
        by_script,
    })
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Busybox knows less than coreutils do; it is known by the file that the path leads to.
fn kind_of_env(path: &str, files: &dyn Files) -> EnvKind {
    let real = files.real_path(path);
    if name_of(&real).starts_with("busybox") { EnvKind::Busybox } else { EnvKind::Coreutils }
}

/// The environment that `env` gives to what it starts.
fn changed_by(env: &Env, environment: &Environment) -> Environment {
    let path = env.variable("PATH", Some(&environment.program_path)).unwrap_or(PATH_OF_NO_ENVIRONMENT);
    let libraries = env.variable("LD_LIBRARY_PATH", environment.library_path.as_deref());
    let directory = env.directory.as_deref().map(|directory| environment.absolute(directory));
    Environment {
        program_path: path.to_owned(),
        library_path: libraries.map(str::to_owned),
        working_directory: directory.unwrap_or_else(|| environment.working_directory.clone()),
        ..environment.clone()
    }
}

#[cfg(test)]
mod tests;
