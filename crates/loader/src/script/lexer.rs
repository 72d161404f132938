//! The tokens of a shell script.
//!
//! Source: POSIX.1-2024, Shell Command Language, 2.2 "Quoting" and 2.3 "Token Recognition", and the additional
//! operators of bash.

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Literal text.
    Text(String),
    /// A plain `$NAME` or `${NAME}`.
    Variable(String),
    /// `"$@"`: all arguments.
    Arguments,
    /// The directory of the script: `${0%/*}`, `$(dirname "$0")` and the like.
    OwnDirectory,
    /// Another expansion that is always set.
    Expansion,
    /// Another expansion that may be unset.
    MayBeUnset,
    /// An expansion that ends the script if the variable is unset: `${NAME:?message}`.
    Required,
    /// The output of a command.
    Output,
}

/// A word, and whether any part of it is quoted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub parts: Vec<Part>,
    pub is_quoted: bool,
    /// The indexes of unquoted expansions among the parts. Their values are split into fields.
    pub bare: Vec<usize>,
    /// Whether the shell replaces it by file names or a home directory.
    pub is_pattern: bool,
}

impl Word {
    /// Returns the text of a word without expansions and quotes, which may be a reserved word.
    pub(super) fn plain(&self) -> Option<&str> {
        match &self.parts[..] {
            [Part::Text(text)] if !self.is_quoted => Some(text),
            _ => None,
        }
    }

    /// Whether it contains a carriage return, which a shell does not treat as a blank.
    pub(super) fn has_carriage_return(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('\r')))
    }

    /// Adds an unquoted character.
    fn add_bare(&mut self, other: char) {
        let before = match self.parts.last() {
            Some(Part::Text(text)) => text.as_str(),
            _ => "",
        };
        self.is_pattern |= match other {
            '*' | '?' | '[' => true,
            '~' => self.parts.is_empty() || before.ends_with(['=', ':']),
            ',' | '.' => before.contains('{'),
            _ => false,
        };
        self.add(other.encode_utf8(&mut [0; 4]));
    }

    fn add(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// A control operator. A newline is `;`.
    Operator(&'static str),
    /// A redirection, followed by a word.
    Redirection,
}

/// The longest first, because the first match is taken.
const OPERATORS: [&str; 9] = [";;", "&&", "||", "|&", ";", "&", "|", "(", ")"];
const REDIRECTIONS: [&str; 11] = ["<<<", "&>>", "<<-", ">>", "<<", "<&", ">&", "<>", ">|", "&>", "<"];

/// Commands that print the script's directory: the text between `$(` and `)` without blanks and quotes.
const OWN_DIRECTORY: [&str; 9] = [
    "dirname$0",
    "dirname--$0",
    "dirname$(readlink-f$0)",
    "dirname$(readlink-f--$0)",
    "dirname$(realpath$0)",
    "dirname${BASH_SOURCE[0]}",
    "cd$(dirname$0)&&pwd",
    "cd$(dirname${BASH_SOURCE[0]})&&pwd",
    "cd$(dirname--$0)&&pwd",
];

/// Splits a script into tokens. `None` if a quotation or expansion does not end.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut lexer = Lexer { rest: text, tokens: Vec::new(), here_documents: Vec::new() };
    while lexer.step()? {}
    Some(lexer.tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
    /// The delimiters of the here-documents that begin in the next line.
    here_documents: Vec<String>,
}

impl Lexer<'_> {
    /// Reads one token. Returns whether more tokens may follow.
    fn step(&mut self) -> Option<bool> {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        while let Some(rest) = self.rest.strip_prefix("\\\n") {
            self.rest = rest.trim_start_matches([' ', '\t']);
        }
        let Some(first) = self.rest.chars().next() else { return Some(false) };
        if first == '#' {
            self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
        } else if first == '\n' {
            self.rest = &self.rest[1..];
            self.skip_documents();
            self.tokens.push(Token::Operator(";"));
        } else if !self.redirection()? && !self.operator() {
            let word = self.word()?;
            self.tokens.push(Token::Word(word));
        }
        Some(true)
    }

    fn operator(&mut self) -> bool {
        let found = OPERATORS.into_iter().find(|operator| self.rest.starts_with(operator));
        if let Some(operator) = found {
            self.rest = &self.rest[operator.len()..];
            self.tokens.push(Token::Operator(operator));
        }
        found.is_some()
    }

    /// Reads a redirection with the number before it.
    fn redirection(&mut self) -> Option<bool> {
        let text = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let mut all = REDIRECTIONS.into_iter().chain([">"]);
        let Some(operator) = all.find(|operator| text.starts_with(operator)) else { return Some(false) };
        if operator.starts_with('&') && text.len() != self.rest.len() {
            return Some(false);
        }
        let behind = &text[operator.len()..];
        if behind.starts_with('(') {
            let length = balanced(behind, '(', ')')?;
            self.rest = &behind[length..];
            let word = Word { parts: vec![Part::Output], is_quoted: true, ..Word::default() };
            self.tokens.push(Token::Word(word));
            return Some(true);
        }
        self.rest = behind.trim_start_matches([' ', '\t']);
        if matches!(operator, "<<" | "<<-") {
            let end = self.word()?;
            let text = end.parts.iter().map(|part| if let Part::Text(text) = part { text } else { "" });
            self.here_documents.push(text.collect());
            return Some(true);
        }
        self.tokens.push(Token::Redirection);
        Some(true)
    }

    fn skip_documents(&mut self) {
        for end in std::mem::take(&mut self.here_documents) {
            while !self.rest.is_empty() {
                let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
                self.rest = rest;
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
    }

    fn word(&mut self) -> Option<Word> {
        let mut word = Word::default();
        while let Some(first) = self.rest.chars().next() {
            match first {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    word.is_quoted = true;
                    let (text, rest) = self.rest[1..].split_once('\'')?;
                    word.add(text);
                    self.rest = rest;
                }
                '"' => self.double_quoted(&mut word)?,
                '\\' => {
                    word.is_quoted = true;
                    let escaped = self.rest[1..].chars().next()?;
                    self.rest = &self.rest[1 + escaped.len_utf8()..];
                    if escaped != '\n' {
                        word.add(escaped.encode_utf8(&mut [0; 4]));
                    }
                }
                '$' | '`' => {
                    let before = word.parts.len();
                    self.expansion(&mut word)?;
                    word.bare.extend(before..word.parts.len());
                }
                other => {
                    word.add_bare(other);
                    self.rest = &self.rest[other.len_utf8()..];
                }
            }
        }
        Some(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Option<()> {
        word.is_quoted = true;
        word.add("");
        self.rest = &self.rest[1..];
        loop {
            let first = self.rest.chars().next()?;
            match first {
                '"' => {
                    self.rest = &self.rest[1..];
                    return Some(());
                }
                '\\' => {
                    let escaped = self.rest[1..].chars().next()?;
                    self.rest = &self.rest[1 + escaped.len_utf8()..];
                    match escaped {
                        '\n' => {}
                        '$' | '`' | '"' | '\\' => word.add(escaped.encode_utf8(&mut [0; 4])),
                        other => word.add(&format!("\\{other}")),
                    }
                }
                '$' | '`' => self.expansion(word)?,
                other => {
                    word.add(other.encode_utf8(&mut [0; 4]));
                    self.rest = &self.rest[other.len_utf8()..];
                }
            }
        }
    }

    fn expansion(&mut self, word: &mut Word) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix('`') {
            let (command, rest) = rest.split_once('`')?;
            word.parts.push(output(command));
            self.rest = rest;
            return Some(());
        }
        let rest = &self.rest[1..];
        if rest.starts_with('(') {
            let length = balanced(rest, '(', ')')?;
            word.parts.push(output(&rest[1..length - 1]));
            self.rest = &rest[length..];
        } else if rest.starts_with('{') {
            let length = balanced(rest, '{', '}')?;
            word.parts.push(braced(&rest[1..length - 1]));
            self.rest = &rest[length..];
        } else {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
            let digit = rest.starts_with(|c: char| c.is_ascii_digit());
            let length = if digit { 1 } else { end };
            self.rest = &rest[length..];
            match rest.chars().next() {
                _ if length > 0 && !digit => word.parts.push(Part::Variable(rest[..length].to_owned())),
                Some('@' | '*') => self.special(word, Part::Arguments),
                Some('?' | '#' | '-' | '$' | '!') => self.special(word, Part::Expansion),
                _ if digit => word.parts.push(of_argument(&rest[..1])),
                _ => word.add("$"),
            }
        }
        Some(())
    }

    fn special(&mut self, word: &mut Word, part: Part) {
        word.parts.push(part);
        self.rest = &self.rest[1..];
    }
}

/// The meaning of `${…}`.
fn braced(text: &str) -> Part {
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match text {
        "@" | "*" | "1+\"$@\"" => Part::Arguments,
        "0%/*" | "BASH_SOURCE%/*" => Part::OwnDirectory,
        _ if is_name && !text.starts_with(|c: char| c.is_ascii_digit()) => Part::Variable(text.to_owned()),
        _ if text.contains("$(") || text.contains('`') => Part::Output,
        _ => changed(text),
    }
}

/// The meaning of an expansion that modifies the value of a variable or an argument.
fn changed(text: &str) -> Part {
    let behind = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let name = &text[..text.len() - behind.len()];
    match behind.trim_start_matches(':').chars().next() {
        Some('?') => Part::Required,
        Some('-' | '=' | '+') => Part::Expansion,
        _ if name.is_empty() => Part::Expansion,
        _ => of_argument(name),
    }
}

/// Only the name of the script is always set.
fn of_argument(name: &str) -> Part {
    if name == "0" { Part::Expansion } else { Part::MayBeUnset }
}

/// The meaning of a command substitution.
fn output(command: &str) -> Part {
    let bare: String = command.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    if OWN_DIRECTORY.contains(&bare.as_str()) { Part::OwnDirectory } else { Part::Output }
}

/// The length of a bracketed text including its brackets. Quoted brackets do not count.
fn balanced(text: &str, open: char, close: char) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != Some('\'') => escaped = true,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            _ if quote == Some('\'') => {}
            _ if c == open => depth += 1,
            _ if c == close => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
