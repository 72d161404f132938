//! Finds the programs that an image runs.

use std::collections::BTreeMap;

use crate::config::Config;
use compat_loader::loader::{Files, OpenError};
use compat_loader::script::{
    ARGUMENTS, Body, Interpreted, UNKNOWN, interpreted, is_dynamic_loader, is_shell, is_wrapper, parse_script,
};

use compat_loader::generate::recorded;

use super::files::{TreeFiles, relative};

/// The search path for commands if the configuration sets none (`defaultPathEnv` of container engines).
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most commands in a chain. Images have fewer.
const MOST_STEPS: usize = 16;

/// The longest command that is shown in full, in characters.
const LONGEST_TOLD: usize = 200;

/// The programs and scripts of a command.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// Programs and scripts, by their paths without links, relative to the root. The engine starts the first.
    pub subjects: Vec<String>,
    /// The first word, if it does not name a program.
    pub missing: Option<Missing>,
    /// The arguments of the scripts among the subjects, by path.
    pub arguments: BTreeMap<String, Vec<String>>,
    /// Shell commands that were not followed completely.
    pub unfollowed: Vec<String>,
    /// The files or modules that the interpreters among them run.
    pub interpreted: Vec<compat_loader::spec::Interpreted>,
    /// `LD_LIBRARY_PATH` as a shell command sets it.
    pub library_path: Option<String>,
}

/// A first word that does not name a program.
#[derive(Debug)]
pub(super) struct Missing {
    pub word: String,
    /// The file exists, but no user may execute it.
    pub is_there: bool,
}

/// Finds the programs that a configuration's command starts: its first word, and the programs that wrappers and
/// shells start.
pub(super) fn find(config: &Config, files: &TreeFiles<'_>) -> Command {
    let words: Vec<String> = config.command().into_iter().map(str::to_owned).collect();
    let Some(first) = words.first() else { return Command::default() };
    let mut finder = SubjectFinder { files, command: Command::default(), steps: MOST_STEPS };
    if program(first, config, files).is_none() {
        match forbidden(first, config, files) {
            Some(path) => finder.command.subjects.push(path),
            None => {
                let is_there = place(first, config, |path| files.is_file(path)).is_some();
                finder.command.missing = Some(Missing { word: first.clone(), is_there });
            }
        }
    }
    finder.add(&words, config);
    finder.command
}

/// The program or script that a path names and no user may execute. An engine still tries to start it.
fn forbidden(word: &str, config: &Config, files: &TreeFiles<'_>) -> Option<String> {
    if !word.contains('/') {
        return None;
    }
    let path = config.absolute(word);
    let is_startable = matches!(
        files.content(&path),
        recorded::RecordedContent::Object(_) | recorded::RecordedContent::Script
    );
    let real = files.real_path(&path);
    // A specification cannot express that a link to the file is unreachable, so only the real path counts.
    (is_startable && !files.is_executable(&real)).then(|| relative(&real))
}

struct SubjectFinder<'a, 'b> {
    files: &'a TreeFiles<'b>,
    command: Command,
    steps: usize,
}

impl SubjectFinder<'_, '_> {
    fn add(&mut self, words: &[String], config: &Config) {
        let Some((first, arguments)) = words.split_first() else { return };
        let Some(path) = program(first, config, self.files) else { return };
        let Some(steps) = self.steps.checked_sub(1) else { return };
        if steps + 1 < MOST_STEPS && self.files.is_left_to_shell(&format!("/{path}")) {
            self.give_up(words);
            return;
        }
        self.steps = steps;
        if !self.command.subjects.contains(&path) {
            self.command.subjects.push(path.clone());
        }
        let name = first.rsplit('/').next().unwrap_or_default();
        if is_shell(name) {
            self.add_of_shell(words, config);
        } else if is_dynamic_loader(name) && !arguments.is_empty() {
            self.give_up(words);
        } else if is_wrapper(name) {
            let directory = if name == "env" { directory_of_env(arguments) } else { None };
            let Some(config) = &directory.map_or_else(|| Some(config.clone()), |to| self.enter(to, config))
            else {
                self.give_up(words);
                return;
            };
            let is_plain = |word: &&String| !word.starts_with('-') && !word.contains('=');
            let is_program = |word: &String| is_plain(&word) && program(word, config, self.files).is_some();
            let next = arguments.iter().position(is_program);
            self.add(&arguments[next.unwrap_or(arguments.len())..], config);
        } else if let Some(runs) = interpreted(name, arguments) {
            self.add_interpreted(path, runs, config);
        } else if is_script(&path, self.files) {
            self.command.arguments.entry(path).or_insert_with(|| arguments.to_vec());
            // An entrypoint script usually ends by running its arguments as a command.
            if arguments.first().is_some_and(|word| !word.starts_with('-')) {
                self.add(arguments, config);
            }
        }
    }

    /// Records the file or module that an interpreter runs, and whether the image contains it.
    fn add_interpreted(&mut self, interpreter: String, runs: Interpreted, config: &Config) {
        let (what, missing) = match runs {
            Interpreted::Other(what) => (what, false),
            Interpreted::File(path, endings) => {
                let place = config.absolute(&path);
                let is_there = |ending: &&str| self.files.real(&format!("{place}{ending}")).is_some();
                let missing = !path.contains(UNKNOWN) && ![""].iter().chain(endings).any(is_there);
                (path, missing)
            }
        };
        let what = shortened(&what);
        self.command.interpreted.push(compat_loader::spec::Interpreted { interpreter, what, missing });
    }

    /// Follows the programs of `sh -c COMMAND` and `sh SCRIPT`.
    fn add_of_shell(&mut self, words: &[String], config: &Config) {
        let arguments = &words[1..];
        let is_command =
            |word: &String| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
        if let Some(at) = arguments.iter().position(is_command) {
            let given = arguments.get(at + 3..).unwrap_or_default();
            if let Some(text) = arguments.get(at + 1) {
                let body = Body::parse_with(text, &words[..=at + 1].join(" "));
                self.add_command(&body, given, words, config);
            }
            return;
        }
        let is_option = |word: &&String| word.starts_with('-') || *word == "sh";
        let script = arguments.iter().position(|word| !is_option(&word));
        let Some(script) = script.and_then(|at| arguments.get(at..)) else { return };
        let before = self.command.subjects.len();
        if script[0].contains('/') && self.is_for_shell(&script[0], config) {
            self.add(script, config);
        }
        if self.command.subjects.len() == before {
            self.give_up(words);
        }
    }

    /// Whether a shell that reads this script has the same effect as its first line. The shell treats that line
    /// as a comment, so a different or missing interpreter in it has no effect.
    fn is_for_shell(&self, script: &str, config: &Config) -> bool {
        let Some(path) = program(script, config, self.files) else { return false };
        let Ok(data) = self.files.read(&format!("/{path}")) else { return false };
        let Some(Ok(parsed)) = parse_script(&data) else { return false };
        let is_there = |word: &str| program(word, config, self.files).is_some();
        let name = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
        let shell = match (name(&parsed.interpreter).as_str(), &parsed.argument) {
            ("env", Some(argument)) => argument.clone(),
            _ => parsed.interpreter.clone(),
        };
        is_shell(&name(&shell)) && is_there(&parsed.interpreter) && is_there(&shell)
    }

    /// Follows the text of `sh -c` with its arguments.
    fn add_command(&mut self, body: &Body, given: &[String], words: &[String], config: &Config) {
        let is_given = body.command.first().is_some_and(|word| word == ARGUMENTS);
        let command = if is_given { given.to_vec() } else { body.command.clone() };
        let directory = body.directory.as_ref();
        let Some(mut changed) = directory.map_or_else(|| Some(config.clone()), |to| self.enter(to, config))
        else {
            // The shell's reaction depends on its options and on the operators between commands.
            self.give_up(words);
            return;
        };
        if let Some(path) = body.variables.get("PATH") {
            let before = config.variable("PATH").unwrap_or(DEFAULT_PATH);
            changed.env.retain(|variable| !variable.starts_with("PATH="));
            changed.env.push(format!("PATH={}", path.replace("$PATH", before)));
        }
        if let Some(path) = body.variables.get("LD_LIBRARY_PATH") {
            let before = config.variable("LD_LIBRARY_PATH").unwrap_or_default();
            self.command.library_path = Some(path.replace("$LD_LIBRARY_PATH", before));
        }
        let is_found = command.first().is_some_and(|first| program(first, &changed, self.files).is_some());
        if !is_found || !body.whole {
            self.give_up(words);
        }
        self.add(&command, &changed);
    }

    /// Returns the configuration with another working directory, if the directory exists and the account may
    /// search it.
    fn enter(&self, directory: &str, config: &Config) -> Option<Config> {
        let working_dir = config.absolute(directory);
        let is_open = self.files.has_directory(&working_dir) == Some(true);
        is_open.then(|| Config { working_dir, ..config.clone() })
    }

    fn give_up(&mut self, words: &[String]) {
        self.command.unfollowed.push(shortened(&words.join(" ")));
    }
}

/// The directory that `env` changes to before it starts a program.
fn directory_of_env(arguments: &[String]) -> Option<&str> {
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match word {
            "-C" | "--chdir" => return rest.next(),
            "-u" | "--unset" => drop(rest.next()),
            _ if word.starts_with("-C") => return word.strip_prefix("-C"),
            _ if word.starts_with("--chdir=") => return word.strip_prefix("--chdir="),
            _ if word.starts_with('-') || word.contains('=') => {}
            _ => return None,
        }
    }
    None
}

/// Shortens a text for display.
fn shortened(text: &str) -> String {
    let told: String = text.chars().take(LONGEST_TOLD).collect();
    if told.len() < text.len() { format!("{told}…") } else { told }
}

/// The path, without links and relative to the root, of the program or script that a word names.
fn program(word: &str, config: &Config, files: &TreeFiles<'_>) -> Option<String> {
    let path = place(word, config, |path| files.is_executable(path));
    path.map(|path| relative(&files.real_path(&path)))
}

/// Resolves a word to the first path for which `is_it` holds.
fn place(word: &str, config: &Config, is_it: impl Fn(&str) -> bool) -> Option<String> {
    let found = |path: String| is_it(&path).then_some(path);
    if word.contains('/') {
        return found(config.absolute(word));
    }
    let path = config.variable("PATH").unwrap_or(DEFAULT_PATH);
    path.split(':').find_map(|directory| found(format!("{directory}/{word}")))
}

fn is_script(path: &str, files: &TreeFiles<'_>) -> bool {
    matches!(files.open(&format!("/{path}")), Err(OpenError::NotElf))
}
