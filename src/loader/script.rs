//! Scripts: the first line, as the kernel reads it (execve(2), "Interpreter scripts";
//! `fs/binfmt_script.c`).

/// The kernel looks at this many bytes of a file (`BINPRM_BUF_SIZE`).
const BUFFER_SIZE: usize = 256;

/// What a script's first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedScript {
    /// The interpreter's path.
    pub interpreter: String,
    /// Everything after it, as one argument.
    pub argument: Option<String>,
}

/// Reads the first line of a file. `None` when it is no script; an error in the kernel's words when it
/// is one that cannot be started.
pub fn parse_script(data: &[u8]) -> Option<Result<ParsedScript, &'static str>> {
    const MALFORMED: &str = "Exec format error";
    let head = &data[..data.len().min(BUFFER_SIZE)];
    let line = head.strip_prefix(b"#!")?;
    let end = line.iter().position(|byte| *byte == b'\n');
    let text = &line[..end.unwrap_or(line.len())];
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_blank(byte));
    let Some(text) = start.map(|start| &text[start..]) else { return Some(Err(MALFORMED)) };
    let ends = |byte: &u8| is_blank(byte) || *byte == 0;
    let split = text.iter().position(ends);
    // Without the end of the line in sight, the name itself may be cut: the kernel refuses.
    if end.is_none() && data.len() >= BUFFER_SIZE && split.is_none() {
        return Some(Err(MALFORMED));
    }
    let (name, rest) = text.split_at(split.unwrap_or(text.len()));
    if name.is_empty() {
        return Some(Err(MALFORMED));
    }
    let argument = String::from_utf8_lossy(rest);
    let argument = argument.trim_matches(|c| matches!(c, ' ' | '\t' | '\0'));
    Some(Ok(ParsedScript {
        interpreter: String::from_utf8_lossy(name).into_owned(),
        argument: (!argument.is_empty()).then(|| argument.to_owned()),
    }))
}

impl ParsedScript {
    /// A first line that says this, as long as the shortest object, so that it is read as a script and not
    /// as too short.
    pub fn first_line(&self) -> bytes::Bytes {
        let argument = self.argument.as_deref().unwrap_or_default();
        let line = format!("#!{} {argument}\n", self.interpreter);
        bytes::Bytes::from(format!("{line:64}"))
    }

    /// The program that the script asks `env` to find in `PATH`, when its interpreter is `env`.
    pub fn searched_program(&self) -> Option<&str> {
        searched_program(&self.interpreter, self.argument.as_deref())
    }
}

/// The program that `env` is asked to find: the first word of its argument that is neither an option
/// nor an assignment.
pub(super) fn searched_program<'a>(interpreter: &str, argument: Option<&'a str>) -> Option<&'a str> {
    if interpreter.rsplit('/').next() != Some("env") {
        return None;
    }
    let argument = argument?;
    // Without -S, env takes the whole argument as one name.
    match argument.strip_prefix("-S").or_else(|| argument.strip_prefix("--split-string=")) {
        Some(words) => words.split_whitespace().find(|word| !word.starts_with('-') && !word.contains('=')),
        None => Some(argument).filter(|name| !name.starts_with('-')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(text: &str) -> Option<String> {
        parse_script(text.as_bytes())?.ok().map(|script| script.interpreter)
    }

    #[test]
    fn the_first_line_names_an_interpreter_and_one_argument() {
        let script = parse_script(b"#! /bin/sh -e -x \necho").unwrap().unwrap();
        assert_eq!(script.interpreter, "/bin/sh");
        assert_eq!(script.argument.as_deref(), Some("-e -x"));
        assert_eq!(interpreter("#!/bin/sh"), Some("/bin/sh".to_owned()));
        assert_eq!(interpreter("#!/bin/sh\r\n"), Some("/bin/sh\r".to_owned()));
        assert_eq!(parse_script(b"echo"), None);
    }

    #[test]
    fn a_name_that_is_cut_or_missing_is_an_exec_format_error() {
        assert_eq!(parse_script(b"#!\n"), Some(Err("Exec format error")));
        let long = format!("#!/{}\n", "x".repeat(300));
        assert_eq!(parse_script(long.as_bytes()), Some(Err("Exec format error")));
        let fits = format!("#!/{}\n", "x".repeat(200));
        assert!(parse_script(fits.as_bytes()).unwrap().is_ok());
    }

    #[test]
    fn env_names_the_program_to_search() {
        let program = |line: &str| {
            let script = parse_script(line.as_bytes()).unwrap().unwrap();
            script.searched_program().map(str::to_owned)
        };
        assert_eq!(program("#!/usr/bin/env python3\n").as_deref(), Some("python3"));
        assert_eq!(program("#!/usr/bin/env -S A=1 perl -w\n").as_deref(), Some("perl"));
        assert_eq!(program("#!/bin/sh env\n"), None);
    }
}
