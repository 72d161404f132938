//! The effect of `env` and its argument on a script's first line.
//!
//! The kernel passes everything after the interpreter as one argument, and the script's path as the next.
//! Sources: coreutils 9 `src/env.c` (options, and `build_argv` for the string of `-S`), and busybox
//! `coreutils/env.c`, which supports neither `-S` nor `-C`.

use std::collections::VecDeque;

use crate::script::Refusal;

/// A program that `env` starts, and its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// The program: a path, or a name that is searched in PATH.
    pub program: String,
    /// The arguments before the script.
    pub arguments: Vec<String>,
    /// The working directory of the program (`-C`).
    pub directory: Option<String>,
    /// Whether the environment starts empty (`-i`).
    pub is_empty: bool,
    /// Variables that are removed (`-u`).
    pub removed: Vec<String>,
    /// Variables that are set, in order.
    pub set: Vec<(String, String)>,
}

impl Env {
    /// Returns the value of a variable, given its previous value.
    pub fn variable<'a>(&'a self, name: &str, before: Option<&'a str>) -> Option<&'a str> {
        let set = self.set.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let is_kept = !self.is_empty && !self.removed.iter().any(|removed| removed == name);
        set.or(before.filter(|_| is_kept))
    }
}

/// The implementation of `env`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvKind {
    /// GNU coreutils.
    Coreutils,
    /// Busybox.
    Busybox,
}

/// A word of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Argument {
    Text(String),
    /// The path of the script itself, which the kernel adds.
    Script,
}

impl EnvKind {
    /// Interprets the argument on a script's first line.
    ///
    /// # Errors
    ///
    /// If `env` starts nothing, or only the script again. The text is that of `env`.
    pub fn start(self, argument: Option<&str>) -> Result<Env, Refusal> {
        let text = argument.map(|text| Argument::Text(text.to_owned()));
        self.run(text.into_iter().chain([Argument::Script]))
    }

    /// Interprets the arguments of a command.
    ///
    /// # Errors
    ///
    /// If `env` starts nothing. The text is that of `env`.
    pub fn command(self, words: &[String]) -> Result<Env, Refusal> {
        self.run(words.iter().cloned().map(Argument::Text))
    }

    /// The error for a program with an empty name.
    fn no_program(self) -> String {
        let failed = match self {
            Self::Coreutils => "",
            Self::Busybox => "can't execute ",
        };
        format!("env: {failed}'': No such file or directory")
    }

    fn run(self, arguments: impl Iterator<Item = Argument>) -> Result<Env, Refusal> {
        let mut line = Line { kind: self, rest: arguments.collect(), splits: 0 };
        let mut env = Env::default();
        line.options(&mut env)?;
        line.operands(env)
    }
}

/// The most times that `-S` may occur in its own string.
const MOST_SPLITS: usize = 16;

struct Line {
    kind: EnvKind,
    rest: VecDeque<Argument>,
    splits: usize,
}

/// The long options of coreutils, and whether they take a value: always, optionally, or never.
const LONG: [(&str, char, Value); 13] = [
    ("ignore-environment", 'i', Value::None),
    ("null", '0', Value::None),
    ("unset", 'u', Value::Needed),
    ("chdir", 'C', Value::Needed),
    ("default-signal", 's', Value::Optional),
    ("ignore-signal", 's', Value::Optional),
    ("block-signal", 's', Value::Optional),
    ("list-signal-handling", 's', Value::None),
    ("debug", 'v', Value::None),
    ("split-string", 'S', Value::Needed),
    ("argv0", 'a', Value::Needed),
    ("help", 'h', Value::None),
    ("version", 'V', Value::None),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Optional,
    Needed,
}

impl Line {
    /// Reads all options (`getopt_long` with `+`: they end at the first operand).
    fn options(&mut self, env: &mut Env) -> Result<(), Refusal> {
        let mut is_null = false;
        while let Some(Argument::Text(text)) = self.rest.front().cloned() {
            match text.as_str() {
                "--" => {
                    self.rest.pop_front();
                    break;
                }
                long if long.starts_with("--") => {
                    self.rest.pop_front();
                    let (letter, value) = self.long(&long[2..])?;
                    self.apply(letter, value, env, &mut is_null)?;
                }
                short if short.len() > 1 && short.starts_with('-') => {
                    self.rest.pop_front();
                    self.short(&short[1..], env, &mut is_null)?;
                }
                _ => break,
            }
        }
        if self.rest.front() == Some(&Argument::Text("-".to_owned())) {
            self.rest.pop_front();
            env.is_empty = true;
        }
        if is_null { Err("env: cannot specify --null (-0) with command".into()) } else { Ok(()) }
    }

    /// Reads a cluster of short options.
    fn short(&mut self, cluster: &str, env: &mut Env, is_null: &mut bool) -> Result<(), Refusal> {
        let mut letters = cluster.chars();
        while let Some(letter) = letters.next() {
            let has_value = match (self.kind, letter) {
                (_, 'u') => true,
                (_, 'i' | '0') => false,
                (EnvKind::Coreutils, 'v') => false,
                (EnvKind::Coreutils, 'C' | 'S' | 'a') => true,
                _ => return Err(format!("env: invalid option -- '{letter}'").into()),
            };
            let rest = letters.as_str().to_owned();
            if has_value {
                let value = if rest.is_empty() { self.value(&format!("-- '{letter}'"))? } else { rest };
                return self.apply(letter, Some(value), env, is_null);
            }
            self.apply(letter, None, env, is_null)?;
        }
        Ok(())
    }

    /// Returns the value of an option from the next argument.
    fn value(&mut self, option: &str) -> Result<String, Refusal> {
        match self.rest.pop_front() {
            Some(Argument::Text(text)) => Ok(text),
            // The script's path becomes the value, so nothing is left to start.
            Some(Argument::Script) => Err(Refusal::ScriptIsValue(option.to_owned())),
            None => Err(format!("env: option requires an argument {option}").into()),
        }
    }

    fn long(&mut self, text: &str) -> Result<(char, Option<String>), Refusal> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let exact = LONG.iter().filter(|(known, ..)| *known == name);
        let begun = LONG.iter().filter(|(known, ..)| known.starts_with(name));
        let known = exact.chain(begun.clone()).next();
        let is_ambiguous = begun.count() > 1 && known.is_none_or(|(known, ..)| *known != name);
        let Some((known, letter, wants)) = known.filter(|_| !is_ambiguous) else {
            return Err(format!("env: unrecognized option '--{name}'").into());
        };
        match (wants, value) {
            (Value::None, Some(_)) => {
                Err(format!("env: option '--{known}' doesn't allow an argument").into())
            }
            (Value::Needed, None) => Ok((*letter, Some(self.value(&format!("'--{known}'"))?))),
            (_, value) => Ok((*letter, value.map(str::to_owned))),
        }
    }

    fn apply(
        &mut self,
        letter: char,
        value: Option<String>,
        env: &mut Env,
        is_null: &mut bool,
    ) -> Result<(), Refusal> {
        match (letter, value) {
            ('i', _) => env.is_empty = true,
            ('0', _) => *is_null = true,
            ('u', Some(name)) => {
                // unsetenv(3) rejects both. Busybox ignores its result.
                if self.kind == EnvKind::Coreutils && (name.is_empty() || name.contains('=')) {
                    return Err(format!("env: cannot unset '{name}': Invalid argument").into());
                }
                env.removed.push(name);
            }
            ('C', Some(directory)) if directory.is_empty() => {
                return Err("env: cannot change directory to '': No such file or directory".into());
            }
            ('C', Some(directory)) => env.directory = Some(directory),
            ('S', Some(text)) => {
                self.splits += 1;
                if self.splits > MOST_SPLITS {
                    return Err("env: -S is nested too deeply".into());
                }
                let words = split(&text)?;
                words.into_iter().rev().for_each(|word| self.rest.push_front(Argument::Text(word)));
            }
            ('h' | 'V', _) => return Err("env prints its help or version and starts nothing".into()),
            _ => {}
        }
        Ok(())
    }

    /// Reads assignments and the command.
    fn operands(mut self, mut env: Env) -> Result<Env, Refusal> {
        while let Some(Argument::Text(text)) = self.rest.front() {
            let Some((name, value)) = text.split_once('=') else { break };
            env.set.push((name.to_owned(), value.to_owned()));
            self.rest.pop_front();
        }
        match self.rest.pop_front() {
            Some(Argument::Text(program)) if program.is_empty() => return Err(self.kind.no_program().into()),
            Some(Argument::Text(program)) => env.program = program,
            Some(Argument::Script) => {
                return Err(Refusal::Endless);
            }
            None => return Err("env has no program to start".into()),
        }
        let texts = self.rest.into_iter();
        env.arguments =
            texts.filter_map(|a| if let Argument::Text(text) = a { Some(text) } else { None }).collect();
        Ok(env)
    }
}

/// Splits the string of `-S`. The value of a variable in it (`${NAME}`) is unknown, so its word is kept as
/// written.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' if quote.is_none_or(|open| open == c) => {
                quote = if quote.is_none() { Some(c) } else { None };
                word.get_or_insert_default();
            }
            ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' if quote.is_none() => words.extend(word.take()),
            '#' if word.is_none() && quote.is_none() => break,
            '\\' => match escaped(rest.next(), quote)? {
                Escape::Text(text) => word.get_or_insert_default().push_str(&text),
                Escape::Separator => words.extend(word.take()),
                Escape::End => break,
            },
            '$' if quote != Some('\'') && rest.peek() != Some(&'{') => {
                return Err("env: only ${VARNAME} expansion is supported".to_owned());
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err("env: no terminating quote in -S string".to_owned());
    }
    words.extend(word);
    Ok(words)
}

/// The meaning of a backslash and the character after it.
enum Escape {
    Text(String),
    Separator,
    End,
}

fn escaped(c: Option<char>, quote: Option<char>) -> Result<Escape, String> {
    let text = |c: char| Ok(Escape::Text(c.to_string()));
    match (c, quote) {
        (Some(c @ ('\\' | '\'')), Some('\'')) => text(c),
        (Some(c), Some('\'')) => Ok(Escape::Text(format!("\\{c}"))),
        (Some(c @ ('"' | '#' | '$' | '\'' | '\\')), _) => text(c),
        (Some('_'), Some(_)) => text(' '),
        (Some('_'), None) => Ok(Escape::Separator),
        (Some('c'), Some(_)) => Err("env: '\\c' must not appear in double-quoted -S string".to_owned()),
        (Some('c'), None) => Ok(Escape::End),
        (Some('f'), _) => text('\u{c}'),
        (Some('n'), _) => text('\n'),
        (Some('r'), _) => text('\r'),
        (Some('t'), _) => text('\t'),
        (Some('v'), _) => text('\u{b}'),
        (None, _) => Err("env: invalid backslash at end of string in -S".to_owned()),
        (Some(other), _) => Err(format!("env: invalid sequence '\\{other}' in -S")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(kind: EnvKind, argument: &str) -> Result<String, String> {
        kind.start(Some(argument)).map_err(|refusal| refusal.to_string()).map(|env| {
            let words = std::iter::once(env.program.clone()).chain(env.arguments.clone());
            words.collect::<Vec<_>>().join("|")
        })
    }

    /// All cases were tried with env of coreutils 9.1.
    #[test]
    fn coreutils_starts_what_its_one_argument_says() {
        for (argument, program) in [
            ("python3", "python3"),
            ("bash -x", "bash -x"),
            ("bash\r", "bash\r"),
            ("-S bash -x", "bash|-x"),
            ("-S bash\r", "bash"),
            ("-Sbash", "bash"),
            ("-S A=1 sh", "sh"),
            ("-iS /bin/sh", "/bin/sh"),
            ("-vS sh", "sh"),
            ("--split-string=sh -x", "sh|-x"),
            ("-S -i sh", "sh"),
            ("-S -u X sh", "sh"),
            ("-S -S sh", "sh"),
            ("-S 'sh' -x", "sh|-x"),
            ("-S\"sh\" -c \"echo a\\_b\"", "sh|-c|echo a b"),
            ("-S sh #c", "sh"),
            ("-S sh\\c -x", "sh"),
        ] {
            assert_eq!(start(EnvKind::Coreutils, argument).as_deref(), Ok(program), "{argument:?}");
        }
    }

    #[test]
    fn an_argument_that_starts_nothing_is_an_error_in_the_words_of_env() {
        let error = |argument| start(EnvKind::Coreutils, argument).unwrap_err();
        insta::assert_snapshot!(error("-i bash"), @"env: invalid option -- ' '");
        insta::assert_snapshot!(error("--split-string sh"), @"env: unrecognized option '--split-string sh'");
        insta::assert_snapshot!(error("-0"), @"env: cannot specify --null (-0) with command");
        insta::assert_snapshot!(error("-S $SHELL"), @"env: only ${VARNAME} expansion is supported");
        insta::assert_snapshot!(error("-S 'sh"), @"env: no terminating quote in -S string");
        insta::assert_snapshot!(error("--ign"), @"env: unrecognized option '--ign'");
        insta::assert_snapshot!(error("--help"), @"env prints its help or version and starts nothing");
        // The blank belongs to the name, and only the script's own path is left.
        for argument in ["-u X", "A=1", "--", "-", "-i", "-C /"] {
            assert_eq!(error(argument), "env starts the script itself again, without an end", "{argument}");
        }
        for argument in ["-u", "-C"] {
            assert!(error(argument).starts_with("env: the script itself becomes"), "{argument}");
        }
    }

    /// All cases were tried with env of coreutils 9.1 and of busybox 1.35.
    #[test]
    fn an_empty_word_is_no_program_variable_or_directory() {
        let error = |argument| start(EnvKind::Coreutils, argument).unwrap_err();
        for argument in ["-S\"\"\rw", "-S \"\" w", "-S '' = sh", "-S A=1 '' sh"] {
            assert_eq!(error(argument), "env: '': No such file or directory", "{argument}");
        }
        insta::assert_snapshot!(error("-S -u '' sh"), @"env: cannot unset '': Invalid argument");
        insta::assert_snapshot!(error("-S -u a=b sh"), @"env: cannot unset 'a=b': Invalid argument");
        insta::assert_snapshot!(error("-S -C '' sh"), @"env: cannot change directory to '': No such file or directory");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let error = EnvKind::Busybox.command(&words(&["", "sh"])).unwrap_err();
        assert_eq!(error.to_string(), "env: can't execute '': No such file or directory");
        assert!(EnvKind::Busybox.command(&words(&["-u", "", "sh"])).is_ok());
        assert!(EnvKind::Coreutils.command(&words(&["=x", "sh"])).is_ok());
    }

    #[test]
    fn busybox_knows_neither_splitting_nor_directories() {
        insta::assert_snapshot!(start(EnvKind::Busybox, "-S sh").unwrap_err(), @"env: invalid option -- 'S'");
        insta::assert_snapshot!(start(EnvKind::Busybox, "-C /").unwrap_err(), @"env: invalid option -- 'C'");
        assert_eq!(start(EnvKind::Busybox, "sh").as_deref(), Ok("sh"));
    }

    #[test]
    fn variables_are_set_removed_and_kept() {
        let env = EnvKind::Coreutils.start(Some("-S -i PATH=/a PATH=/b sh")).unwrap();
        assert_eq!(env.variable("PATH", Some("/usr/bin")), Some("/b"));
        assert_eq!(env.variable("LD_LIBRARY_PATH", Some("/x")), None);
        let env = EnvKind::Coreutils.start(Some("-S -u PATH -C /srv sh")).unwrap();
        assert_eq!((env.variable("PATH", Some("/usr/bin")), env.directory.as_deref()), (None, Some("/srv")));
        assert_eq!(env.variable("LD_LIBRARY_PATH", Some("/x")), Some("/x"));
    }

    proptest::proptest! {
        /// Invariant: any argument results in a program or an error.
        #[test]
        fn any_argument_is_read(argument in "(-S)?([-'\" =\r]|\\PC){0,60}") {
            for kind in [EnvKind::Coreutils, EnvKind::Busybox] {
                let is_empty = kind.start(Some(&argument)).is_ok_and(|env| env.program.is_empty());
                proptest::prop_assert!(!is_empty);
            }
        }
    }
}
