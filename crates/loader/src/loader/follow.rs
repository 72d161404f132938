//! Scripts: from the first line to the interpreter, through `env` to the program that it starts, and through a
//! shell's text to the main command of the script, as far as the text allows.
//!
//! Nothing is executed. The rest of a script is reported as not checked ([`Problem::ScriptNotFollowed`]).
//! Sources: execve(2), `fs/binfmt_script.c`; [`crate::script`].

use crate::loader::loaded::Start;
use crate::loader::{Context, Effect, Effort, Environment, Load, OpenError, Problem, Reason};
use crate::script::{
    ARGUMENTS, Env, EnvKind, OWN_DIRECTORY, ParsedScript, UNKNOWN, is_shell, is_wrapper, parse_script,
    runs_arguments,
};

/// The search path of execvp(3) if PATH is not set.
const PATH_OF_NO_ENVIRONMENT: &str = "/bin:/usr/bin";
/// The program that execvp(3) starts for a file without an interpreter line.
const SHELL_OF_EXECVP: &str = "/bin/sh";
/// The budget cost of a script that another script starts: each may start two others.
const COST_OF_NESTED_SCRIPT: usize = 1 << 14;

/// The remaining depth of a chain of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    /// The number of scripts that the kernel still follows in one execve(2).
    pub scripts: usize,
    /// The number of programs that `env` may still start. Each is a separate execve, so without a limit a
    /// script that starts itself would never end.
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

/// A program that a script or its shell executes, on behalf of the script that is shown.
pub(super) struct Executed<'a> {
    /// The script as it is shown to users.
    pub script: &'a str,
    /// The name that the script uses.
    pub name: &'a str,
    /// Its absolute path.
    pub path: &'a str,
}

/// Starts a program, or returns the problem that prevents it.
pub(super) type Execute = fn(&Executed<'_>, Context<'_>, Depth) -> Result<Load, Problem>;

/// The context in which a script is followed.
#[derive(Clone, Copy)]
pub(super) struct Follower<'a> {
    /// The context of the start.
    pub context: Context<'a>,
    /// The remaining depth of the chain of scripts.
    pub depth: Depth,
    /// Starts the next file: a script or a program.
    pub execute: Execute,
}

/// A script that is being followed.
struct Script<'a> {
    /// Its path as it is shown to users.
    shown: &'a str,
    /// Its absolute path.
    path: &'a str,
    parsed: &'a ParsedScript,
}

impl<'a> Follower<'a> {
    /// Starts the script at a path.
    pub(super) fn start(self, start: &Start<'_>) -> Load {
        let object = start.shown.to_owned();
        let data = match self.context.files.read(start.path) {
            Ok(data) => data,
            Err(error) => return Load::of(Problem::NotAProgram { object, reason: error.into_reason() }),
        };
        match parse_script(&data) {
            None => {
                let reason = crate::script::why_none(&data).into();
                Load::of(Problem::NotAProgram { object, reason })
            }
            Some(Err(reason)) => Load::of(Problem::NotAProgram { object, reason: reason.into() }),
            Some(Ok(_)) if self.depth.scripts == 0 => Load::of(Problem::ScriptTooDeep { object }),
            Some(Ok(parsed)) => self.follow(start, &parsed),
        }
    }

    /// Follows a script that is already parsed.
    pub(super) fn follow(self, start: &Start<'_>, parsed: &ParsedScript) -> Load {
        Script { shown: start.shown, path: start.path, parsed }.follow(self)
    }

    /// Returns this follower in another environment.
    fn within<'b>(self, environment: &'b Environment) -> Follower<'b>
    where
        'a: 'b,
    {
        Follower { context: self.context.within(environment), ..self }
    }
}

impl Script<'_> {
    fn follow(&self, follower: Follower<'_>) -> Load {
        let Follower { context, depth, execute } = follower;
        let budget = context.budget();
        if depth != Depth::START && !budget.spend(Effort::Search, COST_OF_NESTED_SCRIPT) {
            return budget.problem().map(Load::of).unwrap_or_default();
        }
        let interpreter = &self.parsed.interpreter;
        let path = context.environment.absolute(interpreter);
        let executed = Executed { script: self.shown, name: interpreter, path: &path };
        let mut load = match execute(&executed, context, depth) {
            Ok(load) => load,
            Err(problem) => return Load::of(problem),
        };
        if let Some(reason) = self.parsed.refused_argument() {
            load.problems.push(Problem::ScriptFails { object: self.shown.to_owned(), reason: reason.into() });
        } else if name_of(interpreter) == "env" {
            self.follow_env(&path, &mut load, follower);
        } else {
            let name = self.parsed.applet().unwrap_or_else(|| name_of(interpreter));
            self.follow_body(name, &path, &mut load, follower);
        }
        load
    }

    /// Follows the program that the `env` of the first line starts.
    fn follow_env(&self, path_of_env: &str, load: &mut Load, follower: Follower<'_>) {
        let context = follower.context;
        let env = match kind_of_env(path_of_env, context).start(self.parsed.argument.as_deref()) {
            Ok(env) => env,
            Err(reason) => {
                load.problems.push(Problem::ScriptFails { object: self.shown.to_owned(), reason });
                return;
            }
        };
        let change = Change::of(&env, context);
        if change == Change::Fails {
            load.problems.push(no_directory(self.shown, &env));
            return;
        }
        let changed = changed_by(&env, context.environment);
        let follower = follower.within(&changed);
        let Some(program) = find(&env.program, follower.context) else {
            load.append(missing(self.shown, &env.program, false, follower.context));
            return;
        };
        load.append(start_program(self.shown, &program, false, follower));
        self.follow_body(name_of(&env.program), &program, load, follower);
        if change == Change::Unknown {
            self.note_not_followed(&program, None, load);
        }
    }

    /// Follows the text of a script. `name` is the shell, `runs` the path of the program that runs the script.
    fn follow_body(&self, name: &str, runs: &str, load: &mut Load, follower: Follower<'_>) {
        let body = &self.parsed.body;
        let context = follower.context;
        let (mut started, mut is_whole) = (None, body.whole);
        let changed = self.environment(context.environment);
        let change = match &body.directory {
            Some(directory) if directory == OWN_DIRECTORY => Change::Done,
            Some(directory) => Change::to(&self.expand(directory), context),
            None => Change::Done,
        };
        // If the change of directory fails, the shell's behaviour depends on its options and on how the
        // commands are joined.
        let is_followed = is_shell(name) && change != Change::Fails;
        if is_followed && !body.command.is_empty() && body.command[0] != ARGUMENTS {
            let follower = follower.within(&changed);
            let words: Vec<String> = body.command.iter().map(|word| self.expand(word)).collect();
            let found =
                find(&words[0], follower.context).filter(|program| context.files.is_executable(program));
            // The directory in which the script is started is not known.
            let is_relative =
                words[0].contains('/') && !words[0].starts_with('/') && body.directory.is_none();
            let is_inside = |program: &String| program.starts_with(&changed.working_directory);
            is_whole &= change == Change::Done || found.as_ref().is_some_and(is_inside);
            if !is_relative || found.is_some() {
                started = Some(words[0].clone());
                load.append(start_command(self.shown, &words, follower, &mut is_whole));
            }
        }
        let is_whole = is_followed && is_whole && (started.is_some() || body.command.is_empty());
        if !is_whole {
            self.note_not_followed(runs, started, load);
        }
    }

    /// Adds the problem that the commands of the script were not all checked, unless the script fails or the
    /// problem is already known.
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

    /// Returns the environment of the script's last command.
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

    /// Returns a word with the script's own directory filled in.
    fn expand(&self, word: &str) -> String {
        let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        word.replace(OWN_DIRECTORY, if directory.is_empty() { "/." } else { directory })
    }
}

/// The result of changing the directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The directory exists, or no change was requested.
    Done,
    /// The directory does not exist.
    Fails,
    /// It is not known whether the directory exists.
    Unknown,
}

impl Change {
    /// Returns the result for `env -C`.
    fn of(env: &Env, context: Context<'_>) -> Self {
        env.directory.as_ref().map_or(Self::Done, |directory| Self::to(directory, context))
    }

    fn to(directory: &str, context: Context<'_>) -> Self {
        match context.files.has_directory(&context.environment.absolute(directory)) {
            Some(true) => Self::Done,
            // The directory in which the program is started is not known.
            Some(false) if directory.starts_with('/') => Self::Fails,
            _ => Self::Unknown,
        }
    }
}

/// The problem of `env -C` with a directory that does not exist.
fn no_directory(shown: &str, env: &Env) -> Problem {
    let directory = env.directory.as_deref().unwrap_or_default();
    Problem::ScriptFails {
        object: shown.to_owned(),
        reason: format!("env: cannot change directory to '{directory}'").into(),
    }
}

/// Starts the last command of a shell's text, and the program that this command starts in turn. `is_followed`
/// becomes false if that program is not known.
fn start_command(shown: &str, words: &[String], follower: Follower<'_>, is_followed: &mut bool) -> Load {
    let context = follower.context;
    let Some(program) = find(&words[0], context) else {
        return missing(shown, &words[0], true, context);
    };
    let mut load = start_program(shown, &program, true, follower);
    let arguments = &words[1..];
    let name = name_of(&words[0]);
    if name == "env" {
        let env = kind_of_env(&program, context).command(arguments);
        match env.ok().filter(|env| !env.program.contains(UNKNOWN)).zip(follower.depth.after_search()) {
            Some((env, depth)) => {
                let follower = Follower { depth, ..follower };
                start_by_env(shown, env, follower, &mut load, is_followed);
            }
            None => *is_followed = false,
        }
    } else if is_wrapper(name) {
        let is_word = |word: &str| !word.starts_with('-') && !word.contains('=');
        let is_there = |path: String| context.files.is_executable(&path);
        let is_program = |word: &String| is_word(word) && find(word, context).is_some_and(is_there);
        match arguments.iter().position(is_program).zip(follower.depth.after_search()) {
            Some((at, depth)) => {
                let follower = Follower { depth, ..follower };
                load.append(start_command(shown, &arguments[at..], follower, is_followed));
            }
            None => *is_followed = false,
        }
    } else if (is_shell(name) || runs_arguments(name)) && !arguments.is_empty() {
        *is_followed = false;
    }
    load
}

/// Starts the command of an `env`.
fn start_by_env(shown: &str, env: Env, follower: Follower<'_>, load: &mut Load, is_followed: &mut bool) {
    let change = Change::of(&env, follower.context);
    if change == Change::Fails {
        load.problems.push(no_directory(shown, &env));
        return;
    }
    *is_followed &= change == Change::Done;
    let changed = changed_by(&env, follower.context.environment);
    let words: Vec<String> = std::iter::once(env.program).chain(env.arguments).collect();
    load.append(start_command(shown, &words, follower.within(&changed), is_followed));
}

/// Starts a program that a script starts itself, with a separate execve.
fn start_program(shown: &str, path: &str, by_script: bool, follower: Follower<'_>) -> Load {
    let Some(depth) = follower.depth.after_search() else {
        return Load::of(Problem::ScriptTooDeep { object: shown.to_owned() });
    };
    if is_left_to_shell(path, follower.context) {
        return Load::of(Problem::ScriptNotFollowed {
            object: path.to_owned(),
            interpreter: SHELL_OF_EXECVP.to_owned(),
            started: None,
        });
    }
    match (follower.execute)(&Executed { script: shown, name: path, path }, follower.context, depth) {
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

/// Returns whether the kernel refuses a file as neither an object nor a script (ENOEXEC). Shells and execvp(3)
/// then read it as a shell script.
fn is_left_to_shell(path: &str, context: Context<'_>) -> bool {
    let files = context.files;
    match files.open(path) {
        Err(OpenError::NotElf | OpenError::TooShort) => {
            files.is_executable(path) && files.read(path).is_ok_and(|data| parse_script(&data).is_none())
        }
        Err(OpenError::RecordedNotElf(_)) => true,
        _ => false,
    }
}

/// Returns the absolute path of a program that is named by a path or found in PATH.
fn find(program: &str, context: Context<'_>) -> Option<String> {
    let Context { files, environment } = context;
    if program.contains('/') {
        return Some(environment.absolute(program));
    }
    let mut paths = environment.program_path.split(':').map(|directory| match directory {
        "" => environment.absolute(program),
        directory => format!("{directory}/{program}"),
    });
    paths.find(|path| files.is_executable(path))
}

/// The problem of a program that is not in any directory of PATH.
fn missing(shown: &str, program: &str, by_script: bool, context: Context<'_>) -> Load {
    let path = &context.environment.program_path;
    if !context.budget().spend(Effort::Search, 4 * path.len()) {
        return Load::default();
    }
    let is_unrecorded = |directory: &str| context.files.is_unrecorded(&format!("{directory}/{program}"));
    if path.split(':').any(is_unrecorded) {
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

/// Busybox supports less than coreutils. It is recognised by the real file of the path.
fn kind_of_env(path: &str, context: Context<'_>) -> EnvKind {
    let real = context.files.real_path(path);
    if name_of(&real).starts_with("busybox") { EnvKind::Busybox } else { EnvKind::Coreutils }
}

/// Returns the environment that `env` passes to the program that it starts.
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
