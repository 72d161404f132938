//! Scripts: from the first line to the interpreter, through `env` to the program that it starts, and as far as a
//! shell's text can be told to the command that the script is for.
//!
//! Nothing is executed. What a script does besides is said not to have been looked at
//! ([`Problem::ScriptNotFollowed`]). Sources: execve(2), `fs/binfmt_script.c`; [`crate::script`].

use crate::loader::loaded::Start;
use crate::loader::{Context, Effect, Effort, Environment, Load, OpenError, Problem, Reason};
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

/// What a script or its shell executes, on behalf of the script that is shown.
pub(super) struct Executed<'a> {
    /// The script as people see it.
    pub script: &'a str,
    /// How the script names it.
    pub name: &'a str,
    /// Its absolute path.
    pub path: &'a str,
}

/// Starts what is executed, or says why it cannot be.
pub(super) type Execute = fn(&Executed<'_>, Context<'_>, Depth) -> Result<Load, Problem>;

/// How a script is followed.
#[derive(Clone, Copy)]
pub(super) struct Follower<'a> {
    /// Where it is started.
    pub context: Context<'a>,
    /// How far the chain of scripts has come.
    pub depth: Depth,
    /// How what it leads to is started: a script again, or a program.
    pub execute: Execute,
}

/// A script that is being followed.
struct Script<'a> {
    /// Its path as people see it.
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

    /// Follows a script whose text is known.
    pub(super) fn follow(self, start: &Start<'_>, parsed: &ParsedScript) -> Load {
        Script { shown: start.shown, path: start.path, parsed }.follow(self)
    }

    /// The same in another environment.
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

    /// Follows the text as far as it can be told: the shell's name, and the path of what runs the script.
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
        // What the shell does then depends on its options and on how the commands are joined.
        let is_followed = is_shell(name) && change != Change::Fails;
        if is_followed && !body.command.is_empty() && body.command[0] != ARGUMENTS {
            let follower = follower.within(&changed);
            let words: Vec<String> = body.command.iter().map(|word| self.expand(word)).collect();
            let found =
                find(&words[0], follower.context).filter(|program| context.files.is_executable(program));
            // Nobody knows here in which directory the script is started.
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
    fn of(env: &Env, context: Context<'_>) -> Self {
        env.directory.as_ref().map_or(Self::Done, |directory| Self::to(directory, context))
    }

    fn to(directory: &str, context: Context<'_>) -> Self {
        match context.files.has_directory(&context.environment.absolute(directory)) {
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
        reason: format!("env: cannot change directory to '{directory}'").into(),
    }
}

/// Starts the command that a shell's text ends with, and what it is told to start. `is_followed` becomes false
/// if it is told to start something that cannot be told.
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

/// Starts the command that an `env` is told to start.
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

/// Starts a program that a script starts by itself: an execve of its own.
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

/// Whether the kernel refuses a file as neither an object nor a script (ENOEXEC): shells and execvp(3) then read it
/// as a shell's script.
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

/// The absolute path of a program that is named by a path, or found in PATH.
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

/// A program that is in no directory of PATH.
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

/// Busybox knows less than coreutils do; it is known by the file that the path leads to.
fn kind_of_env(path: &str, context: Context<'_>) -> EnvKind {
    let real = context.files.real_path(path);
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
