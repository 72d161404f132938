//! Pages of the documentation: the commands in their code blocks, and the output that they show.
//!
//! A block marked `console` is a session. A line `$ COMMAND` starts a command. The command continues on the next line
//! after a backslash and up to the end of a here-document. The lines after it are its output, standard output and
//! standard error together. `…` stands for any text of a line, a line with nothing but `…` for any number of lines.
//!
//! A block marked `sh` is run whole, and must succeed. Blocks of the other kinds that pages may have hold neither
//! commands nor output.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// The kinds of blocks without commands and output.
const PASSIVE: &[&str] = &["json", "yaml", "rust", "c", "toml", "text"];

/// The sign for text that differs from run to run.
const ANYTHING: &str = "…";

/// A command of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The line of the page at which it starts, counted from 1.
    pub line: usize,
    /// The command, or a whole block of commands that must succeed.
    pub command: String,
    /// The lines of output that the page shows, if it shows them.
    pub expected: Option<Vec<String>>,
    /// The place of these lines in the page, in bytes.
    pub shown_at: Range<usize>,
}

/// Reads the commands of a page, in order.
///
/// # Errors
///
/// If a block is of no known kind, or a session does not start with a command.
pub fn parse(page: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut block: Option<(String, Range<usize>)> = None;
    for (event, range) in Parser::new(page).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(mark))) => {
                block = Some((mark.split_whitespace().next().unwrap_or_default().to_owned(), 0..0));
            }
            Event::Text(_) => {
                if let Some((_, content)) = &mut block {
                    let start = if content.end == 0 { range.start } else { content.start };
                    *content = start..range.end;
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((kind, content)) = block.take() {
                    add_block(page, &kind, content, &mut steps)?;
                }
            }
            _ => {}
        }
    }
    Ok(steps)
}

fn add_block(page: &str, kind: &str, content: Range<usize>, steps: &mut Vec<Step>) -> Result<(), String> {
    let line = line_of(page, content.start);
    match kind {
        "console" => add_session(page, content, steps),
        "sh" => {
            let end = content.end;
            let command = page[content].trim_end().to_owned();
            steps.push(Step { line, command, expected: None, shown_at: end..end });
            Ok(())
        }
        kind if PASSIVE.contains(&kind) => Ok(()),
        kind => Err(format!("line {line}: a block is marked {kind:?}, which no page may have")),
    }
}

fn add_session(page: &str, content: Range<usize>, steps: &mut Vec<Step>) -> Result<(), String> {
    let mut at = content.start;
    let mut open: Option<Ending> = None;
    let first = steps.len();
    for text in page[content].split_inclusive('\n') {
        let end = at + text.len();
        let bare = text.trim_end_matches('\n');
        if let Some(ending) = open.take() {
            let step = steps.last_mut().expect("an open command is the last step");
            step.command.push('\n');
            step.command.push_str(bare);
            step.shown_at = end..end;
            open = ending.after(bare);
        } else if let Some(command) = bare.strip_prefix("$ ") {
            let command = command.to_owned();
            open = Ending::of(&command);
            steps.push(Step {
                line: line_of(page, at),
                command,
                expected: Some(Vec::new()),
                shown_at: end..end,
            });
        } else if let Some(step) = steps[first..].last_mut() {
            step.expected.get_or_insert_default().push(bare.to_owned());
            step.shown_at.end = end;
        } else {
            return Err(format!("line {}: a session starts with `$ COMMAND`", line_of(page, at)));
        }
        at = end;
    }
    Ok(())
}

/// The end of a command of several lines.
enum Ending {
    /// The first line without a backslash at its end.
    Backslash,
    /// The line that is this word.
    HereDocument(String),
}

impl Ending {
    fn of(line: &str) -> Option<Self> {
        if let Some((_, word)) = line.split_once("<<") {
            let word = word.trim_start_matches('-').split_whitespace().next().unwrap_or_default();
            return Some(Self::HereDocument(word.trim_matches(['\'', '"']).to_owned()));
        }
        line.ends_with('\\').then_some(Self::Backslash)
    }

    /// What remains open after one more line.
    fn after(self, line: &str) -> Option<Self> {
        match self {
            Self::Backslash => Self::of(line),
            Self::HereDocument(word) => (line != word).then_some(Self::HereDocument(word)),
        }
    }
}

fn line_of(page: &str, at: usize) -> usize {
    page[..at].matches('\n').count() + 1
}

/// Whether an output is the one that a page shows.
pub fn matches<E: AsRef<str>, A: AsRef<str>>(expected: &[E], actual: &[A]) -> bool {
    let Some((line, others)) = expected.split_first() else { return actual.is_empty() };
    if line.as_ref().trim() == ANYTHING {
        return (0..=actual.len()).any(|skipped| matches(others, &actual[skipped..]));
    }
    let Some((first, rest)) = actual.split_first() else { return false };
    line_matches(line.as_ref(), first.as_ref()) && matches(others, rest)
}

fn line_matches(expected: &str, actual: &str) -> bool {
    let (expected, mut rest) = (expected.trim_end(), actual.trim_end());
    let mut parts = expected.split(ANYTHING).peekable();
    let Some(start) = parts.next().and_then(|start| rest.strip_prefix(start)) else { return false };
    if parts.peek().is_none() {
        return start.is_empty();
    }
    rest = start;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    true
}

/// The output as a page would show it: lines of the page that still match keep their `…`.
pub fn updated(expected: &[String], actual: &[String]) -> Vec<String> {
    let line = |actual: &String| {
        let shown = expected.iter().filter(|line| line.trim() != ANYTHING);
        let kept = shown.into_iter().find(|line| line_matches(line, actual));
        kept.unwrap_or(actual).clone()
    };
    actual.iter().map(line).collect()
}
