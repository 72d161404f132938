//! Determines the final command of a shell script, as far as possible without running it.
//!
//! Only commands at the script's top level count. Assignments and builtins that start nothing are followed, and
//! the last command is the purpose of the script. Anything else is reported as not followed: a branch, a loop,
//! a function, a pipeline, or another program before the last. Source: POSIX.1-2024, Shell Command Language.

mod field;
mod option;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

use option::Options;
use statement::{Command, Statement, statements};

use crate::script::lexer::{Part, Token, Word, tokens};

/// The longest script that is read, in bytes.
pub const LONGEST: usize = 64 << 10;
/// The most words of a command that are kept.
const MOST_WORDS: usize = 64;
const LONGEST_WORD: usize = 4096;
/// The placeholder for an argument that cannot be determined.
pub const UNKNOWN: &str = "…";
/// The placeholder for the script's own directory at the beginning of a path.
pub const OWN_DIRECTORY: &str = "${0%/*}";
/// The placeholder for all arguments of the script.
pub const ARGUMENTS: &str = "$@";
/// The variables with the search paths of programs and libraries.
const SEARCH_PATHS: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// The effect of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The words of the command that it ends with. [`ARGUMENTS`] stands for the script's arguments, and
    /// [`OWN_DIRECTORY`] at the beginning of a word for its directory. Empty if the command cannot be
    /// determined or does not exist.
    pub command: Vec<String>,
    /// The directory that it changes to before the command.
    pub directory: Option<String>,
    /// PATH and LD_LIBRARY_PATH of the command, if the script sets them. `$PATH` and `$LD_LIBRARY_PATH` in them
    /// stand for the previous values.
    pub variables: BTreeMap<String, String>,
    /// Whether it starts nothing else.
    pub whole: bool,
}

impl Body {
    /// Reads a script without its first line, or the text of `sh -c`.
    pub fn parse(text: &str) -> Self {
        Self::parse_with(text, "")
    }

    /// Reads the same text for a shell that was started with `words`: its name, and arguments such as the one
    /// on the first line (`-e`).
    pub fn parse_with(text: &str, words: &str) -> Self {
        if text.len() > LONGEST || text.contains('\0') {
            return Self::default();
        }
        let options = Options::of_words(words);
        let reader = Reader { options, is_partial: options.executes_nothing, ..Reader::default() };
        tokens(text).map(|tokens| reader.read(&tokens)).unwrap_or_default()
    }

    /// Whether any of its effect is known.
    pub fn is_known(&self) -> bool {
        self.whole || !self.command.is_empty()
    }

    /// Returns a shorter script with the same effect.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.whole {
            text.push_str("true | true\n");
        }
        if let Some(directory) = &self.directory {
            text.push_str(&format!("cd {}\n", quoted(directory)));
        }
        for (name, value) in &self.variables {
            text.push_str(&format!("export {name}={}\n", quoted(value)));
        }
        if !self.command.is_empty() {
            let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
            text.push_str(&format!("exec {}\n", words.join(" ")));
        }
        text
    }
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The state of the reader.
#[derive(Default)]
struct Reader {
    body: Body,
    variables: BTreeMap<String, Option<String>>,
    exported: BTreeSet<String>,
    functions: BTreeSet<String>,
    /// Whether a command that was not followed may have changed the directory or a variable.
    is_tainted: bool,
    /// Whether it starts a program that is not followed.
    is_partial: bool,
    has_other_arguments: bool,
    /// Whether a command that was not followed may have ended the script.
    may_have_ended: bool,
    /// Whether a command runs when the script ends, unless a program replaces the shell.
    has_exit_trap: bool,
    is_replaced: bool,
    /// Whether the command opens files. If that fails, the command does not run.
    opens_files: bool,
    options: Options,
    /// Whether the previous command changed the directory. Its existence is checked when the script is
    /// followed.
    is_after_change: bool,
    /// Whether the commands between the last program and here cannot prevent the next command.
    is_certain: bool,
    /// Whether a condition decides if the next command runs.
    is_conditional: bool,
}

/// Builtins that neither start a program nor change the followed state.
const HARMLESS: [&str; 11] =
    [":", "true", "echo", "printf", "umask", "ulimit", "shopt", "wait", "local", "trap", "builtin"];
/// Other builtins that may fail for external reasons.
const MAY_FAIL: [&str; 5] = ["ulimit", "umask", "wait", "shopt", "local"];
/// Builtins for which a failed redirection ends the script (POSIX, "Consequences of Shell Errors").
const SPECIAL: [&str; 15] = [
    ":", ".", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift",
    "times", "trap", "unset",
];
/// The variables that change the loaded libraries.
const LOADED: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "LD_PRELOAD"];
/// Variables that shells set themselves or that are always set.
const ALWAYS_SET: [&str; 6] = ["PATH", "HOME", "PWD", "IFS", "OPTIND", "PPID"];
/// Builtins that test a condition, so that a command after `&&` may not run.
const CONDITIONS: [&str; 9] = ["test", "[", "[[", "command", "type", "hash", "read", "kill", "false"];

impl Reader {
    fn read(mut self, tokens: &[Token]) -> Body {
        self.is_certain = true;
        for statement in statements(tokens) {
            match statement {
                Statement::Compound => self.give_up(),
                Statement::Function(name) => {
                    self.functions.insert(name);
                }
                Statement::Simple(command) => {
                    if self.take(&command) {
                        break;
                    }
                }
            }
        }
        self.conclude()
    }

    /// Marks the script as not followed from here on: the command before is not its end.
    fn give_up(&mut self) {
        self.is_tainted = true;
        self.is_partial = true;
        self.is_certain = false;
        self.body.command.clear();
    }

    /// Reads one command. Returns whether the script ends there.
    fn take(&mut self, command: &Command<'_>) -> bool {
        // The effect of a carriage return in a word of a builtin or program is unknown.
        self.is_partial |= command.words.iter().any(|word| word.has_carriage_return());
        let is_pipe = |operator: &str| operator.starts_with('|') && operator != "||";
        if is_pipe(command.before) || is_pipe(command.after) || command.after == "&" {
            self.is_partial = true;
            self.body.command.clear();
            return false;
        }
        if command.before == ";" {
            (self.is_certain, self.is_conditional) = (true, false);
        }
        self.is_conditional |= command.before == "||";
        self.note_expansions(command);
        let assigned = command.words.iter().take_while(|word| assignment(word).is_some()).count();
        let (assignments, words) = command.words.split_at(assigned);
        let is_certain = self.is_certain && command.before != "||";
        let is_after_change = std::mem::take(&mut self.is_after_change);
        let words = without_prefix(words);
        self.opens_files = command.opens_files;
        let name = words.first().and_then(|word| word.plain());
        let ends = match name {
            _ if words.is_empty() => {
                assignments.iter().for_each(|word| self.assign(word, false, is_certain));
                false
            }
            Some(name) if self.functions.contains(name) => {
                self.give_up();
                false
            }
            // Shells disagree about `return` outside of functions.
            Some("return") => {
                self.give_up();
                true
            }
            // A missing directory is found when the script is followed.
            Some("exit") if command.before == "||" && is_after_change => false,
            Some("exit") => {
                self.may_have_ended |= !is_certain;
                is_certain
            }
            Some("false") if is_certain && self.options.exits_on_error && command.after == ";" => true,
            Some("exec") => self.execute(assignments, &words[1..], is_certain),
            name => {
                self.builtin_or_program(name, assignments, words, is_certain);
                false
            }
        };
        self.note_failure(command, name.unwrap_or_default());
        ends
    }

    /// Reads a command that does not end the script by itself.
    fn builtin_or_program(
        &mut self,
        name: Option<&str>,
        assignments: &[&Word],
        words: &[&Word],
        is_certain: bool,
    ) {
        match name {
            Some("export" | "readonly" | "declare" | "typeset") => self.export(words, is_certain),
            Some("trap") => self.trap(&words[1..]),
            Some("unset") => self.unset(&words[1..], is_certain),
            Some("cd") => self.change_directory(words, is_certain),
            Some("set") => self.set(words),
            Some("shift") => {
                self.has_other_arguments = true;
                // Some shells exit if there are fewer arguments.
                self.may_have_ended = true;
            }
            Some("builtin") if words.len() > 1 => self.give_up(),
            Some("." | "source" | "eval" | "!" | "time" | "coproc" | "pushd" | "popd" | "alias") => {
                self.give_up();
            }
            Some(builtin) if CONDITIONS.contains(&builtin) => {
                self.note_output(words);
                (self.is_certain, self.is_conditional) = (false, true);
            }
            Some(builtin) if HARMLESS.contains(&builtin) => self.note_output(words),
            None if self.command(words).is_some_and(|command| is_builtin(&command[0])) => self.give_up(),
            _ => {
                self.program(assignments, words, is_certain);
                self.is_certain = false;
            }
        }
    }

    /// Records expansions that may end the script before the command runs.
    fn note_expansions(&mut self, command: &Command<'_>) {
        let may_end = |part: &Part| match part {
            Part::Required => true,
            Part::MayBeUnset => self.options.exits_on_unset,
            Part::Variable(name) => {
                let is_set = self.variables.contains_key(name) || ALWAYS_SET.contains(&name.as_str());
                self.options.exits_on_unset && !is_set
            }
            _ => false,
        };
        self.may_have_ended |= command.words.iter().any(|word| word.parts.iter().any(may_end));
    }

    /// Records whether a failure of the command ends the script.
    fn note_failure(&mut self, command: &Command<'_>, name: &str) {
        let may_fail = CONDITIONS.contains(&name) || MAY_FAIL.contains(&name);
        self.may_have_ended |=
            name == "kill" || (self.options.exits_on_error && may_fail && command.after == ";");
        let ends = SPECIAL.contains(&name) || (self.options.exits_on_error && command.after == ";");
        self.may_have_ended |= command.opens_files && ends;
        // A command after `&&` does not run if the file cannot be opened.
        self.is_certain &= !command.opens_files;
    }

    /// `set` changes options, and may change the arguments that `"$@"` stands for.
    fn set(&mut self, words: &[&Word]) {
        self.note_output(words);
        let mut rest = words[1..].iter();
        while let Some(word) = rest.next() {
            match word.plain() {
                Some("--") => {
                    self.has_other_arguments = true;
                    return;
                }
                Some("-o") | Some("+o") => {
                    let is_on = word.plain() == Some("-o");
                    self.options.set_by_name(rest.next().and_then(|word| word.plain()), is_on);
                }
                Some(letters) if letters.starts_with(['-', '+']) => {
                    self.options.set(&letters[1..], letters.starts_with('-'));
                    if letters.ends_with('o') {
                        let name = rest.next().and_then(|word| word.plain());
                        self.options.set_by_name(name, letters.starts_with('-'));
                    }
                }
                _ => {
                    self.has_other_arguments = true;
                    return;
                }
            }
        }
        self.is_partial |= self.options.executes_nothing;
        self.may_have_ended |= self.options.may_be_unknown;
    }

    /// A command substitution in an argument starts that command.
    fn note_output(&mut self, words: &[&Word]) {
        self.is_partial |= words.iter().any(|word| word.parts.contains(&Part::Output));
    }

    fn assign(&mut self, word: &Word, is_exported: bool, is_certain: bool) {
        let Some((name, parts)) = assignment(word) else { return };
        self.is_partial |= parts.contains(&Part::Output) || name == "LD_PRELOAD";
        let is_home = word.is_pattern
            && word.parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('~')));
        let value = self.resolve(&parts).filter(|_| is_certain && !self.is_tainted && !is_home);
        self.variables.insert(name.clone(), value);
        if is_exported {
            self.exported.insert(name);
        }
    }

    /// `export` and the other builtins that declare variables.
    fn export(&mut self, words: &[&Word], is_certain: bool) {
        let has_option = |letter: char| {
            words[1..]
                .iter()
                .any(|word| word.plain().is_some_and(|w| w.starts_with('-') && w.contains(letter)))
        };
        let is_exported = (words[0].plain() == Some("export") && !has_option('n')) || has_option('x');
        for word in &words[1..] {
            self.assign(word, is_exported, is_certain);
            let name = word.plain().filter(|name| !name.contains('='));
            if is_exported {
                self.exported.extend(name.map(str::to_owned));
            } else {
                self.is_partial |= name.is_some_and(|name| LOADED.contains(&name));
            }
        }
    }

    /// `unset`. For the loader, an absent and an empty search path are the same.
    fn unset(&mut self, words: &[&Word], is_certain: bool) {
        self.note_output(words);
        for word in words {
            match word.plain() {
                Some("-f") => return,
                Some("LD_LIBRARY_PATH") => {
                    let value = Some(String::new()).filter(|_| is_certain && !self.is_tainted);
                    self.variables.insert("LD_LIBRARY_PATH".to_owned(), value);
                    self.exported.insert("LD_LIBRARY_PATH".to_owned());
                }
                Some("PATH") => {
                    self.is_partial = true;
                    self.variables.insert("PATH".to_owned(), None);
                }
                Some("LD_PRELOAD") | None => self.is_partial = true,
                Some(name) => _ = self.variables.remove(name),
            }
        }
    }

    fn change_directory(&mut self, words: &[&Word], is_certain: bool) {
        let words: Vec<&&Word> = words.iter().filter(|word| word.plain() != Some("--")).collect();
        let target = match &words[1..] {
            [target] if is_certain => self.single(target).filter(|path| !path.starts_with(['-', '~'])),
            _ => None,
        };
        self.is_after_change = target.is_some();
        self.body.directory = match (target, self.body.directory.take()) {
            (Some(path), _) if path.starts_with('/') || path.starts_with(OWN_DIRECTORY) => Some(path),
            (Some(path), Some(before)) => Some(format!("{}/{path}", before.trim_end_matches('/'))),
            (Some(path), None) => Some(path),
            (None, before) => {
                self.is_tainted = true;
                self.is_certain = false;
                self.may_have_ended |= self.options.exits_on_error;
                before
            }
        };
    }

    /// `exec COMMAND`. Without a command it only changes the shell's own redirections.
    fn execute(&mut self, assignments: &[&Word], words: &[&Word], is_certain: bool) -> bool {
        let mut words = words;
        while let Some(option) = words.first().and_then(|word| word.plain()).filter(|w| w.starts_with('-')) {
            let taken = if option == "-a" { 2 } else { 1 };
            words = words.get(taken..).unwrap_or_default();
            if option == "--" {
                break;
            }
        }
        if words.is_empty() {
            return false;
        }
        self.program(assignments, words, is_certain);
        self.is_partial |= !is_certain;
        self.is_certain = false;
        self.is_replaced = is_certain;
        is_certain
    }

    /// `trap`. Commands that run at the end, or after each command, are not followed.
    fn trap(&mut self, words: &[&Word]) {
        self.note_output(words);
        let words =
            if words.first().and_then(|word| word.plain()) == Some("--") { &words[1..] } else { words };
        let [action, conditions @ ..] = words else { return };
        let is_nothing = matches!(&action.parts[..], [Part::Text(text)] if text.is_empty() || text == "-");
        if is_nothing {
            return;
        }
        for condition in conditions {
            let name = match &condition.parts[..] {
                [Part::Text(name)] => name.to_ascii_uppercase(),
                _ => "EXIT".to_owned(),
            };
            match name.trim_start_matches("SIG") {
                "EXIT" | "0" => self.has_exit_trap = true,
                "DEBUG" | "ERR" => self.is_partial = true,
                _ => {}
            }
        }
    }

    /// Records a program, which is the last one so far.
    fn program(&mut self, assignments: &[&Word], words: &[&Word], is_certain: bool) {
        let may_fail_before = self.may_have_ended || self.opens_files;
        self.is_partial |= !self.body.command.is_empty() || !is_certain || may_fail_before;
        self.note_output(words);
        self.body.command.clear();
        let before = self.assign_for_one(assignments);
        self.body.variables = BTreeMap::new();
        let is_known = self.pass_search_paths();
        let command = self.command(words).filter(|command| !self.functions.contains(&command[0]));
        let is_found = |word: &String| {
            let is_place = word.starts_with('/') || word.starts_with(OWN_DIRECTORY) || word == ARGUMENTS;
            !self.is_tainted || is_place
        };
        match command {
            Some(command) if is_known && is_found(&command[0]) && !self.is_conditional => {
                self.body.command = command;
            }
            Some(_) => self.is_partial = true,
            None => self.give_up(),
        }
        // In reverse order, because a name may be assigned twice.
        for (name, value, is_exported) in before.into_iter().rev() {
            if !is_exported {
                self.exported.remove(&name);
            }
            match value {
                Some(value) => _ = self.variables.insert(name, value),
                None => _ = self.variables.remove(&name),
            }
        }
    }

    /// Assigns the variables of one command. Returns their names, their previous values, and whether they were
    /// exported.
    fn assign_for_one(&mut self, assignments: &[&Word]) -> Vec<(String, Option<Option<String>>, bool)> {
        let mut before = Vec::new();
        for word in assignments {
            if let Some((name, _)) = assignment(word) {
                let value = self.variables.get(&name).cloned();
                let is_exported = self.exported.contains(&name);
                before.push((name, value, is_exported));
            }
            self.assign(word, true, true);
        }
        before
    }

    /// Records PATH and LD_LIBRARY_PATH for the command. Returns whether LD_LIBRARY_PATH is known.
    fn pass_search_paths(&mut self) -> bool {
        let mut is_known = true;
        for name in SEARCH_PATHS {
            let is_passed = name == "PATH" || self.exported.contains(name);
            // The variable is passed on if the environment already contained it.
            self.is_partial |= !is_passed && self.variables.contains_key(name);
            match self.variables.get(name).filter(|_| is_passed) {
                Some(Some(value)) => {
                    self.body.variables.insert(name.to_owned(), value.clone());
                }
                Some(None) if name == "PATH" => self.is_tainted = true,
                Some(None) => is_known = false,
                None => {}
            }
        }
        is_known
    }

    /// Returns the text of a word, if its expansions are known.
    fn resolve(&self, parts: &[Part]) -> Option<String> {
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(literal)
                    if literal.contains(|c: char| matches!(c, '$' | '`') || c.is_control()) =>
                {
                    return None;
                }
                Part::Text(literal) => text.push_str(literal),
                Part::OwnDirectory if text.is_empty() => text.push_str(OWN_DIRECTORY),
                Part::Variable(name) => match self.variables.get(name) {
                    Some(value) => text.push_str(value.as_deref()?),
                    None if SEARCH_PATHS.contains(&name.as_str()) => text.push_str(&format!("${name}")),
                    None => return None,
                },
                _ => return None,
            }
        }
        let is_inner = text.rfind(OWN_DIRECTORY).is_some_and(|at| at > 0);
        Some(text).filter(|text| text.len() <= LONGEST_WORD && !is_inner)
    }

    fn conclude(self) -> Body {
        let whole = !self.is_partial && (self.is_replaced || !self.has_exit_trap);
        if self.body.command.is_empty() {
            Body { whole, ..Body::default() }
        } else {
            Body { whole, ..self.body }
        }
    }
}

/// Whether the shell runs this name itself.
fn is_builtin(name: &str) -> bool {
    const OTHERS: [&str; 13] = [
        "cd", "source", "declare", "typeset", "alias", "unalias", "getopts", "let", "pushd", "popd",
        "enable", "mapfile", "exec",
    ];
    [&HARMLESS[..], &MAY_FAIL, &SPECIAL, &CONDITIONS, &OTHERS].iter().any(|names| names.contains(&name))
}

/// Returns a command without a leading `command` builtin, which only changes the lookup.
fn without_prefix<'a, 'b>(words: &'a [&'b Word]) -> &'a [&'b Word] {
    match words {
        [prefix, rest @ ..]
            if prefix.plain() == Some("command")
                && rest.first().is_some_and(|word| !starts_with_dash(word)) =>
        {
            without_prefix(rest)
        }
        words => words,
    }
}

fn starts_with_dash(word: &Word) -> bool {
    matches!(word.parts.first(), Some(Part::Text(text)) if text.starts_with('-'))
}

/// The name and the value of an assignment.
fn assignment(word: &Word) -> Option<(String, Vec<Part>)> {
    let Some(Part::Text(text)) = word.parts.first() else { return None };
    let (name, value) = text.split_once('=')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name) {
        return None;
    }
    let rest = word.parts[1..].iter().cloned();
    Some((name.to_owned(), std::iter::once(Part::Text(value.to_owned())).chain(rest).collect()))
}

#[cfg(test)]
mod tests;
