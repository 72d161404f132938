//! The first line of a script, as the kernel reads it (execve(2), "Interpreter scripts", and
//! `fs/binfmt_script.c`).

use crate::script::{Body, is_shell, shell};
use compat_sys::raw;

/// The number of bytes of a file that the kernel examines (`BINPRM_BUF_SIZE`).
const BUFFER_SIZE: usize = 256;

/// The content of a script's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedScript {
    /// The interpreter's path.
    pub interpreter: String,
    /// Everything after it, as one argument.
    pub argument: Option<String>,
    /// The effect of the remaining lines, for a shell script.
    pub body: Body,
}

/// Reads the first line of a file. `None` if it is not a script, and the kernel's error if it is a script that
/// cannot be started.
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
    // The name may be truncated if the line does not end within the buffer. The kernel then refuses the script.
    if end.is_none() && data.len() >= BUFFER_SIZE && split.is_none() {
        return Some(Err(MALFORMED));
    }
    let (name, rest) = text.split_at(split.unwrap_or(text.len()));
    if name.is_empty() {
        return Some(Err(MALFORMED));
    }
    let argument = raw::text(rest);
    let argument = argument.trim_matches(|c| matches!(c, ' ' | '\t' | '\0'));
    let mut script = ParsedScript {
        interpreter: raw::string(name),
        argument: (!argument.is_empty()).then(|| argument.to_owned()),
        body: Body::default(),
    };
    let body = memchr::memchr(b'\n', data).map(|end| &data[end..]).filter(|_| data.len() <= shell::LONGEST);
    if let Some(text) = body.and_then(|body| std::str::from_utf8(body).ok())
        && script.is_of_shell()
    {
        let words = format!("{} {}", script.interpreter, script.argument.as_deref().unwrap_or_default());
        script.body = Body::parse_with(&raw::text(text.as_bytes()), &words);
    }
    Some(Ok(script))
}

/// Explains why a file that is not an ELF object is not a script either.
pub fn why_none(data: &[u8]) -> &'static str {
    let head = &data[..data.len().min(BUFFER_SIZE)];
    if data.is_empty() {
        "it is empty"
    } else if data.starts_with(b"\xef\xbb\xbf#!") {
        "Exec format error: a byte order mark precedes its #! (save it as UTF-8 without one)"
    } else if head.iter().all(|byte| !matches!(byte, 0..=8 | 14..=26 | 28..=31)) {
        "Exec format error: it has no #! line (add #!/bin/sh as its first line)"
    } else {
        "neither an ELF object nor a script"
    }
}

impl ParsedScript {
    /// Returns an equivalent script. It is at least as long as the shortest object, so that it is not rejected
    /// as too short.
    pub fn text(&self) -> bytes::Bytes {
        let argument = self.argument.as_deref().unwrap_or_default();
        let line = format!("#!{} {argument}\n{}", self.interpreter, self.body.text());
        bytes::Bytes::from(raw::bytes(&format!("{line:64}\n")).into_owned())
    }

    /// The applet of busybox that the first line names.
    pub fn applet(&self) -> Option<&str> {
        let is_busybox = name_of(&self.interpreter) == "busybox";
        self.argument.as_deref().filter(|_| is_busybox)?.split_whitespace().next()
    }

    /// Explains why the interpreter rejects the argument: a shell treats a carriage return as an option.
    pub fn refused_argument(&self) -> Option<String> {
        let argument = self.argument.as_deref().filter(|argument| argument.ends_with('\r'))?;
        let name = name_of(&self.interpreter);
        is_shell(name)
            .then(|| format!("{name}: invalid option {argument:?}: the script has Windows line endings"))
    }

    /// Whether a shell runs it, according to the first line.
    fn is_of_shell(&self) -> bool {
        match name_of(&self.interpreter) {
            "env" => {
                let env = crate::script::EnvKind::Coreutils.start(self.argument.as_deref());
                env.is_ok_and(|env| is_shell(name_of(&env.program)))
            }
            name => is_shell(name),
        }
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
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
    fn a_script_is_read_again_from_what_is_known_of_it() {
        let whole = b"#!/usr/bin/env -S bash -e\n# nothing\nPATH=/opt:$PATH\nexec app \"$@\"\n";
        let script = parse_script(whole).unwrap().unwrap();
        assert_eq!(script.body.command, ["app", "$@"]);
        assert_eq!(parse_script(&script.text()).unwrap().unwrap(), script);
        let other = parse_script(b"#!/usr/bin/python3\nexec app\n").unwrap().unwrap();
        assert_eq!(other.body, Body::default());
        assert_eq!(parse_script(&other.text()).unwrap().unwrap(), other);
    }

    #[test]
    fn a_file_that_is_no_script_is_said_why() {
        for (data, reason) in [
            (&b""[..], "it is empty"),
            (b"\xef\xbb\xbf#!/bin/sh\n", "Exec format error: a byte order mark"),
            (b"echo hi\n", "Exec format error: it has no #! line"),
            (b"PK\x03\x04", "neither an ELF object nor a script"),
        ] {
            assert!(why_none(data).starts_with(reason), "{data:?}");
        }
    }

    #[test]
    fn a_windows_line_becomes_part_of_the_name_or_of_the_option() {
        assert_eq!(interpreter("#!/bin/sh\r\n"), Some("/bin/sh\r".to_owned()));
        let refused = |text: &str| parse_script(text.as_bytes()).unwrap().unwrap().refused_argument();
        assert_eq!(
            refused("#!/bin/sh -e\r\n").unwrap(),
            "sh: invalid option \"-e\\r\": the script has Windows line endings"
        );
        assert_eq!(refused("#!/bin/sh -e\n"), None);
    }
}
