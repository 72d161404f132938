//! How a subcommand ends: the documented exit codes, and a failure with its cause chain and hint.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::app;
use crate::cli::report::printable;

/// The exit codes, the same in every subcommand (`docs/exit-codes.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: compatible, or done.
    Success,
    /// 1: incompatible (for `validate`: not valid).
    Incompatible,
    /// 2: wrong usage.
    Usage,
    /// 3: could not decide: nothing found, registry or I/O error.
    Undecided,
    /// That of a command that was run.
    Command(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

impl Exit {
    /// The code as a number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Incompatible => 1,
            Exit::Usage => 2,
            Exit::Undecided => 3,
            Exit::Command(code) => code,
        }
    }
}

/// The identifier of the schema of [`FailureReport`].
pub const FAILURE_IDENTIFIER: &str = "urn:compatlib:schema:error:1";

/// What `--format json` prints if there is no other document: why the subcommand could not do its work.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct FailureReport {
    /// The identifier of this document's schema.
    #[serde(rename = "$schema")]
    pub schema: String,
    /// What failed, on which thing, with the causes.
    pub error: String,
    /// What the user can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The exit code.
    pub exit: u8,
}

/// Why a subcommand could not do its work: one message, what to do about it, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The code the process ends with.
    pub exit: Exit,
    /// What failed, on which thing, with the causes: lower case, no full stop.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl From<app::Failure> for Failure {
    fn from(failure: app::Failure) -> Self {
        let exit = match failure.cause {
            app::Cause::Usage => Exit::Usage,
            app::Cause::Undecided => Exit::Undecided,
        };
        Self { exit, message: failure.message, hint: failure.hint }
    }
}

impl Failure {
    /// Wrong usage: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        app::Failure::usage(message).into()
    }

    /// Could not decide or not do it: exit code 3, with the whole cause chain of `error`.
    pub fn undecided(error: &dyn Error) -> Self {
        app::Failure::undecided(error).into()
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Says what it is about, before the message.
    #[must_use]
    pub fn about(self, what: &dyn std::fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Prints the failure to standard error.
    pub fn print(&self) {
        // Nobody to tell is no reason to end with another code.
        let _ = std::io::Write::write_all(&mut anstream::stderr(), self.render().as_bytes());
    }

    /// The failure as a document; `exit` is the code that the process ends with.
    pub fn document(&self, exit: Exit) -> FailureReport {
        FailureReport {
            schema: FAILURE_IDENTIFIER.to_owned(),
            error: self.message.clone(),
            hint: self.hint.clone(),
            exit: exit.code(),
        }
    }

    /// The failure as text, with terminal styles. Names in it may come from strangers.
    pub fn render(&self) -> String {
        let (red, cyan) =
            (anstyle::AnsiColor::Red.on_default().bold(), anstyle::AnsiColor::Cyan.on_default());
        let mut text = format!("{red}error{red:#}: {}\n", printable(&self.message));
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{cyan}hint{cyan:#}: {}", printable(hint));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::STEERING;

    #[test]
    fn a_failure_does_not_steer_the_terminal() {
        let text = Failure::usage(STEERING).with_hint(STEERING.to_owned()).render();
        let expected = r": lib\u{1b}[31mX\u{9b}m\u{202e}\xff.so";
        assert_eq!(text.lines().filter(|line| line.ends_with(expected)).count(), 2, "{text:?}");
    }
}
