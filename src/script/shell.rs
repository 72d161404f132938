//! What a shell script ends with, as far as that can be told without running it.
//!
//! Only commands at the script's top level count: assignments and builtins that start nothing are followed, the
//! last command is what the script is for. Whatever cannot be followed is said to be: a branch, a loop, a
//! function, a pipeline, another program before the last. Source: POSIX.1-2024, Shell Command Language.

use std::collections::{BTreeMap, BTreeSet};

use crate::script::lexer::{Part, Token, Word, tokens};

/// A longer script is not looked at, in bytes.
pub const LONGEST: usize = 64 << 10;
/// No more words of a command are kept, and no longer ones.
const MOST_WORDS: usize = 64;
const LONGEST_WORD: usize = 4096;
/// What stands for an argument that cannot be told.
pub const UNKNOWN: &str = "…";
/// What stands for the script's own directory at the beginning of a path.
pub const OWN_DIRECTORY: &str = "${0%/*}";
/// What stands for all arguments of the script.
pub const ARGUMENTS: &str = "$@";
/// The variables that say where programs and libraries are searched.
const SEARCH_PATHS: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// What a script does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The command that it ends with, in words: [`ARGUMENTS`] stands for those it is given, [`OWN_DIRECTORY`] at
    /// the beginning of a word for its directory. Empty when it cannot be told, or there is none.
    pub command: Vec<String>,
    /// The directory that it changes to before.
    pub directory: Option<String>,
    /// PATH and LD_LIBRARY_PATH of the command, where it sets them; `$PATH` and `$LD_LIBRARY_PATH` in them stand
    /// for the values before.
    pub variables: BTreeMap<String, String>,
    /// Whether it starts nothing else.
    pub whole: bool,
}

impl Body {
    /// Reads a script without its first line, or the text of `sh -c`.
    pub fn parse(text: &str) -> Self {
        if text.len() > LONGEST || text.contains('\0') {
            return Self::default();
        }
        tokens(text).map(|tokens| Reader::default().read(&tokens)).unwrap_or_default()
    }

    /// Whether anything is known of it.
    pub fn is_known(&self) -> bool {
        self.whole || !self.command.is_empty()
    }

    /// A script that reads the same.
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

/// One command at the top level.
#[derive(Debug, Default)]
struct Command<'a> {
    words: Vec<&'a Word>,
    before: &'static str,
    after: &'static str,
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    body: Body,
    variables: BTreeMap<String, Option<String>>,
    exported: BTreeSet<String>,
    functions: BTreeSet<String>,
    /// Something was not followed that may have changed the directory or a variable.
    is_tainted: bool,
    /// It starts something that is not followed.
    is_partial: bool,
    has_other_arguments: bool,
    /// What lies between the last command and here cannot keep it from being reached.
    is_certain: bool,
    /// A condition decides whether it is.
    is_conditional: bool,
}

/// Words that open and close a compound command.
const OPENING: [&str; 8] = ["if", "for", "while", "until", "case", "select", "{", "("];
const CLOSING: [&str; 5] = ["fi", "done", "esac", "}", ")"];
/// Words that begin a command inside a compound one.
const INNER: [&str; 6] = ["then", "elif", "else", "do", "!", "time"];
/// Builtins that neither start a program nor change what matters here.
const HARMLESS: [&str; 12] =
    [":", "true", "unset", "echo", "printf", "umask", "ulimit", "shopt", "wait", "local", "trap", "builtin"];
/// Builtins that are asked about something, so that what follows by `&&` may not be reached.
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

    /// Something cannot be followed, and what came before it is not the end.
    fn give_up(&mut self) {
        self.is_tainted = true;
        self.is_partial = true;
        self.is_certain = false;
        self.body.command.clear();
    }

    /// Takes one command; says whether the script ends there.
    fn take(&mut self, command: &Command<'_>) -> bool {
        // The end of a Windows line: what a builtin or a program makes of such a word is not known.
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
        let assigned = command.words.iter().take_while(|word| assignment(word).is_some()).count();
        let (assignments, words) = command.words.split_at(assigned);
        let name = words.first().and_then(|word| word.plain());
        let is_certain = self.is_certain && command.before != "||";
        match name {
            _ if words.is_empty() => assignments.iter().for_each(|word| self.assign(word, false, is_certain)),
            Some("export" | "readonly" | "declare" | "typeset") => self.export(&words[1..], is_certain),
            Some("cd") => self.change_directory(words, is_certain),
            Some("exit" | "return") => return is_certain,
            Some("exec") => return self.execute(assignments, &words[1..], is_certain),
            Some("set" | "shift") => self.change_arguments(words),
            Some("." | "source" | "eval" | "!" | "time" | "coproc" | "pushd" | "popd" | "alias") => {
                self.give_up()
            }
            Some("command" | "builtin") if words.len() > 1 && !starts_with_dash(words[1]) => {
                self.program(assignments, &words[1..], is_certain);
                self.is_certain = false;
            }
            Some(builtin) if CONDITIONS.contains(&builtin) => {
                self.note_output(words);
                (self.is_certain, self.is_conditional) = (false, true);
            }
            Some(builtin) if HARMLESS.contains(&builtin) => self.note_output(words),
            _ => {
                self.program(assignments, words, is_certain);
                self.is_certain = false;
            }
        }
        false
    }

    /// `set -- …` and `shift`: what the script is given is no longer what `"$@"` stands for.
    fn change_arguments(&mut self, words: &[&Word]) {
        let is_option = |word: &&&Word| starts_with_dash(word) && word.plain() != Some("--");
        self.has_other_arguments |=
            words[0].plain() == Some("shift") || !words[1..].iter().all(|w| is_option(&w));
        self.note_output(words);
    }

    /// The output of a command in an argument: that command is started.
    fn note_output(&mut self, words: &[&Word]) {
        self.is_partial |= words.iter().any(|word| word.parts.contains(&Part::Output));
    }

    fn assign(&mut self, word: &Word, is_exported: bool, is_certain: bool) {
        let Some((name, parts)) = assignment(word) else { return };
        self.is_partial |= parts.contains(&Part::Output);
        let value = self.resolve(&parts).filter(|_| is_certain && !self.is_tainted);
        self.variables.insert(name.clone(), value);
        if is_exported {
            self.exported.insert(name);
        }
    }

    fn export(&mut self, words: &[&Word], is_certain: bool) {
        for word in words {
            self.assign(word, true, is_certain);
            self.exported.extend(word.plain().filter(|name| !name.contains('=')).map(str::to_owned));
        }
    }

    fn change_directory(&mut self, words: &[&Word], is_certain: bool) {
        let words: Vec<&&Word> = words.iter().filter(|word| word.plain() != Some("--")).collect();
        let target = match &words[1..] {
            [target] if is_certain => {
                self.resolve(&target.parts).filter(|path| !path.starts_with(['-', '~']))
            }
            _ => None,
        };
        self.body.directory = match (target, self.body.directory.take()) {
            (Some(path), _) if path.starts_with('/') || path.starts_with(OWN_DIRECTORY) => Some(path),
            (Some(path), Some(before)) => Some(format!("{}/{path}", before.trim_end_matches('/'))),
            (Some(path), None) => Some(path),
            (None, before) => {
                self.is_tainted = true;
                before
            }
        };
    }

    /// `exec COMMAND`; alone it only changes where the script reads and writes.
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
        is_certain
    }

    /// Another program is started: it is the last so far.
    fn program(&mut self, assignments: &[&Word], words: &[&Word], is_certain: bool) {
        self.is_partial |= !self.body.command.is_empty() || !is_certain;
        self.note_output(words);
        self.body.command.clear();
        let before = (self.variables.clone(), self.exported.clone());
        assignments.iter().for_each(|word| self.assign(word, true, true));
        self.body.variables = BTreeMap::new();
        let is_known = self.pass_search_paths();
        let first = self.command_word(words[0]).filter(|first| !self.functions.contains(first));
        let others = words[1..].iter().take(MOST_WORDS);
        let others = others.map(|word| self.argument(word).unwrap_or_else(|| UNKNOWN.to_owned()));
        let command: Vec<String> = first.into_iter().chain(others).collect();
        let is_found = |word: &String| {
            let is_place = word.starts_with('/') || word.starts_with(OWN_DIRECTORY) || word == ARGUMENTS;
            !self.is_tainted || is_place
        };
        match self.command_word(words[0]).filter(|first| !self.functions.contains(first)) {
            Some(first) if is_known && is_found(&first) && !self.is_conditional => {
                self.body.command = command
            }
            Some(_) => self.is_partial = true,
            None => self.give_up(),
        }
        (self.variables, self.exported) = before;
    }

    /// Notes PATH and LD_LIBRARY_PATH as the command gets them; says whether the libraries' one is known.
    fn pass_search_paths(&mut self) -> bool {
        let mut is_known = true;
        for name in SEARCH_PATHS {
            let is_passed = name == "PATH" || self.exported.contains(name);
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

    fn command_word(&self, word: &Word) -> Option<String> {
        self.argument(word).filter(|text| !text.is_empty() && text != UNKNOWN)
    }

    fn argument(&self, word: &Word) -> Option<String> {
        match &word.parts[..] {
            [Part::Arguments] if !self.has_other_arguments => Some(ARGUMENTS.to_owned()),
            [Part::Text(empty), Part::Arguments] if empty.is_empty() && !self.has_other_arguments => {
                Some(ARGUMENTS.to_owned())
            }
            parts => self.resolve(parts).filter(|text| !text.contains("$PATH") && !text.contains("$LD_")),
        }
    }

    /// The text of a word whose expansions are known.
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
        let whole = !self.is_partial;
        match self.body.command.is_empty() {
            true => Body { whole, ..Body::default() },
            false => Body { whole, ..self.body },
        }
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

/// What stands at the top level.
enum Statement<'a> {
    Simple(Command<'a>),
    Compound,
    Function(String),
}

/// Splits tokens into the statements of the top level.
fn statements(tokens: &[Token]) -> Vec<Statement<'_>> {
    let mut splitter = Splitter::default();
    splitter.command.before = ";";
    tokens.iter().for_each(|token| splitter.take(token));
    splitter.finish()
}

#[derive(Default)]
struct Splitter<'a> {
    found: Vec<Statement<'a>>,
    /// The compound commands that are open, by the word that opens them; `()` are those of a function.
    open: Vec<&'static str>,
    command: Command<'a>,
    /// The next word is the target of a redirection.
    is_target: bool,
    /// The next compound command is the body of a function.
    is_body: bool,
}

impl<'a> Splitter<'a> {
    fn take(&mut self, token: &'a Token) {
        match token {
            Token::Redirection => self.is_target = true,
            Token::Word(_) if self.is_target => self.is_target = false,
            Token::Word(word) => self.word(word),
            Token::Operator("(") => {
                match (&self.command.words[..], self.open.is_empty()) {
                    // An array: it starts nothing.
                    ([word], true) if assignment(word).is_some() => self.open.push("()"),
                    ([word], true) => {
                        let name = word.plain().unwrap_or_default().to_owned();
                        self.define(name, "()");
                    }
                    _ => self.open.push("("),
                }
                self.command.words.clear();
            }
            Token::Operator(")") => {
                self.command.words.clear();
                match self.open.last() {
                    Some(&"()") => _ = self.open.pop(),
                    Some(&"(") => self.close(),
                    _ => {}
                }
            }
            Token::Operator(operator) => self.operator(operator),
        }
    }

    fn define(&mut self, name: String, open: &'static str) {
        self.found.push(Statement::Function(name));
        self.is_body = true;
        self.open.push(open);
    }

    fn word(&mut self, word: &'a Word) {
        let plain = word.plain().unwrap_or_default();
        if !self.command.words.is_empty() {
            let is_function = self.command.words[0].plain() == Some("function");
            if is_function && plain == "{" && self.open.is_empty() {
                let name = self.command.words.get(1).and_then(|name| name.plain()).unwrap_or_default();
                self.define(name.to_owned(), "{");
                self.command.words.clear();
            } else {
                self.command.words.push(word);
            }
        } else if CLOSING.contains(&plain) && !self.open.is_empty() {
            self.close();
        } else if let Some(name) = OPENING.into_iter().find(|name| *name == plain) {
            self.open.push(name);
        } else if self.open.is_empty() || !INNER.contains(&plain) {
            self.command.words.push(word);
        }
    }

    /// Ends a compound command.
    fn close(&mut self) {
        self.open.pop();
        if self.open.is_empty() && !std::mem::take(&mut self.is_body) {
            self.found.push(Statement::Compound);
        }
    }

    fn operator(&mut self, operator: &'static str) {
        let is = |word: Option<&&Word>, text: &str| word.and_then(|word| word.plain()) == Some(text);
        if is(self.command.words.first(), "[[") && !is(self.command.words.last(), "]]") {
            return;
        }
        self.command.after = operator;
        let before = if operator == "&" { ";" } else { operator };
        let done = std::mem::replace(&mut self.command, Command { before, ..Command::default() });
        if !self.open.is_empty() {
            return;
        }
        if !done.words.is_empty() {
            self.found.push(Statement::Simple(done));
        } else if operator == ";" && done.before != ";" {
            // A line may end behind an operator: `a &&` and `b` in the next belong together.
            self.command.before = done.before;
        }
    }

    fn finish(mut self) -> Vec<Statement<'a>> {
        if !self.open.is_empty() {
            return vec![Statement::Compound];
        }
        if !self.command.words.is_empty() {
            self.command.after = ";";
            self.found.push(Statement::Simple(self.command));
        }
        self.found
    }
}

#[cfg(test)]
mod tests;
