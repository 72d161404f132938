//! What an image would run.

use crate::image::Config;
use crate::loader::Files;

use super::files::{TreeFiles, relative};

/// Where commands are looked for when the configuration does not say (`defaultPathEnv` of container
/// engines).
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that only start the one that their arguments name.
const WRAPPERS: &[&str] = &[
    "tini",
    "tini-static",
    "dumb-init",
    "catatonit",
    "docker-init",
    "env",
    "exec",
    "gosu",
    "su-exec",
    "nice",
];

/// Shells whose `-c` takes a command.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "busybox"];

/// What was found of a command.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// Programs and scripts, by their paths without links, relative to the root; the first is what the
    /// engine starts.
    pub subjects: Vec<String>,
    /// A first word that leads to no program.
    pub missing: Option<String>,
}

/// Finds what the command of a configuration starts: its first word, and through wrappers and shells the
/// programs that they are told to start.
pub(super) fn find(config: &Config, files: &TreeFiles<'_>) -> Command {
    let words: Vec<String> = config.command().into_iter().map(str::to_owned).collect();
    let mut command = Command::default();
    let Some(first) = words.first() else { return command };
    if program(first, config, files).is_none() {
        command.missing = Some(first.clone());
    }
    add(&words, config, files, &mut command);
    command
}

fn add(words: &[String], config: &Config, files: &TreeFiles<'_>, command: &mut Command) {
    let Some((first, arguments)) = words.split_first() else { return };
    let Some(path) = program(first, config, files) else { return };
    if !command.subjects.contains(&path) {
        command.subjects.push(path);
    }
    let name = first.rsplit('/').next().unwrap_or_default();
    if SHELLS.contains(&name) {
        add_of_shell(arguments, config, files, command);
    } else if WRAPPERS.contains(&name) {
        let is_plain = |word: &&String| !word.starts_with('-') && !word.contains('=');
        let next = arguments.iter().position(|word| program_of(word, config, files, is_plain).is_some());
        add(&arguments[next.unwrap_or(arguments.len())..], config, files, command);
    } else {
        // An entrypoint script ends, as a rule, with the command that it was given.
        let is_first_argument = arguments.first().is_some_and(|word| !word.starts_with('-'));
        if is_first_argument && is_script(first, config, files) {
            add(arguments, config, files, command);
        }
    }
}

/// The program of a wrapper's argument, where the argument can be one.
fn program_of(
    word: &String,
    config: &Config,
    files: &TreeFiles<'_>,
    is_plain: impl Fn(&&String) -> bool,
) -> Option<String> {
    Some(word).filter(is_plain).and_then(|word| program(word, config, files))
}

/// What `sh -c COMMAND` and `sh SCRIPT` start, as far as the first word says.
fn add_of_shell(arguments: &[String], config: &Config, files: &TreeFiles<'_>, command: &mut Command) {
    let at = arguments.iter().position(|word| word.starts_with('-') && word.ends_with('c'));
    if let Some(text) = at.and_then(|at| arguments.get(at + 1)) {
        let is_assignment = |word: &&str| word.contains('=');
        let words = text.split_whitespace().skip_while(|word| *word == "exec" || is_assignment(word));
        let words: Vec<String> = words.map(str::to_owned).collect();
        add(&words, config, files, command);
    } else if let Some(script) = arguments.iter().find(|word| !word.starts_with('-'))
        && script.contains('/')
    {
        add(std::slice::from_ref(script), config, files, command);
    }
}

/// The path, without links and relative to the root, of the program or script that a word names.
fn program(word: &str, config: &Config, files: &TreeFiles<'_>) -> Option<String> {
    let found = |path: String| files.is_executable(&path).then(|| files.real_path(&path));
    let real = match word.contains('/') {
        true if word.starts_with('/') => found(word.to_owned()),
        true => found(format!("{}/{word}", config.working_dir.trim_end_matches('/'))),
        false => {
            let path = config.variable("PATH").unwrap_or(DEFAULT_PATH);
            path.split(':').find_map(|directory| found(format!("{directory}/{word}")))
        }
    };
    real.map(|real| relative(&real))
}

fn is_script(word: &str, config: &Config, files: &TreeFiles<'_>) -> bool {
    let path = program(word, config, files);
    path.is_some_and(|path| matches!(files.open(&format!("/{path}")), Err(crate::loader::OpenError::NotElf)))
}
