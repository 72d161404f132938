//! The statements of a script's top level.

use super::assignment;
use crate::script::lexer::{Token, Word};

/// One command at the top level.
#[derive(Debug, Default)]
pub(super) struct Command<'a> {
    pub words: Vec<&'a Word>,
    pub before: &'static str,
    pub after: &'static str,
    /// Whether a redirection opens a file, which may fail.
    pub opens_files: bool,
}

impl Command<'_> {
    /// A redirection without words is also a command.
    fn is_something(&self) -> bool {
        !self.words.is_empty() || self.opens_files
    }
}

/// Words that open and close a compound command.
const OPENING: [&str; 8] = ["if", "for", "while", "until", "case", "select", "{", "("];
const CLOSING: [&str; 5] = ["fi", "done", "esac", "}", ")"];
/// Words that begin a command inside a compound one.
const INNER: [&str; 6] = ["then", "elif", "else", "do", "!", "time"];
/// A statement at the top level.
pub(super) enum Statement<'a> {
    Simple(Command<'a>),
    Compound,
    Function(String),
}

/// Splits tokens into the statements of the top level.
pub(super) fn statements(tokens: &[Token]) -> Vec<Statement<'_>> {
    let mut splitter = Splitter::default();
    splitter.command.before = ";";
    tokens.iter().for_each(|token| splitter.take(token));
    splitter.finish()
}

/// Whether a redirection to a word cannot fail: another descriptor, or a device that always exists.
fn is_always_there(word: &Word) -> bool {
    const DEVICES: [&str; 4] = ["/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr"];
    let is_there = |text: &str| {
        let is_descriptor = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text == "-" || is_descriptor || DEVICES.contains(&text)
    };
    word.plain().is_some_and(is_there)
}

#[derive(Default)]
struct Splitter<'a> {
    found: Vec<Statement<'a>>,
    /// The opening words of the compound commands that are open. `()` marks a function.
    open: Vec<&'static str>,
    command: Command<'a>,
    /// Whether the next word is the target of a redirection.
    is_target: bool,
    /// Whether the next compound command is the body of a function.
    is_body: bool,
}

impl<'a> Splitter<'a> {
    fn take(&mut self, token: &'a Token) {
        match token {
            Token::Redirection => self.is_target = true,
            Token::Word(word) if self.is_target => {
                self.is_target = false;
                self.command.opens_files |= !is_always_there(word);
            }
            Token::Word(word) => self.word(word),
            Token::Operator("(") => {
                match (&self.command.words[..], self.open.is_empty()) {
                    // An array assignment starts nothing.
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

    /// Closes a compound command.
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
        if done.is_something() {
            self.found.push(Statement::Simple(done));
        } else if operator == ";" && done.before != ";" {
            // A line may end after an operator: `a &&` and `b` in the next line belong together.
            self.command.before = done.before;
        }
    }

    fn finish(mut self) -> Vec<Statement<'a>> {
        if !self.open.is_empty() {
            return vec![Statement::Compound];
        }
        if self.command.is_something() {
            self.command.after = ";";
            self.found.push(Statement::Simple(self.command));
        }
        self.found
    }
}
