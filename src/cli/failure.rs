//! Exit codes, and how a failure is printed.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::app::{Cause, Failure};
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
    /// The exit code of a command that was run.
    Command(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

impl From<Cause> for Exit {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Usage => Exit::Usage,
            Cause::Undecided => Exit::Undecided,
        }
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
pub(super) const FAILURE_IDENTIFIER: &str = "urn:compatlib:schema:error:1";

/// The document that `--format json` prints if a subcommand fails before it has its own document.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct FailureReport {
    /// The identifier of this document's schema.
    #[serde(rename = "$schema")]
    pub schema: String,
    /// The error: the operation, the object it failed on, and the causes.
    pub error: String,
    /// How to resolve the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The exit code of the process.
    pub exit: u8,
}

/// Prints a failure to standard error.
pub(super) fn print(failure: &Failure) {
    // If standard error cannot be written, the exit code still reports the failure.
    let _ = std::io::Write::write_all(&mut anstream::stderr(), render(failure).as_bytes());
}

/// Returns the failure as a document. `exit` is the exit code of the process.
pub(super) fn document(failure: &Failure, exit: Exit) -> FailureReport {
    FailureReport {
        schema: FAILURE_IDENTIFIER.to_owned(),
        error: failure.message.clone(),
        hint: failure.hint.clone(),
        exit: exit.code(),
    }
}

/// Returns the failure as text, with terminal styles. Names in it may come from strangers.
fn render(failure: &Failure) -> String {
    let (red, cyan) = (anstyle::AnsiColor::Red.on_default().bold(), anstyle::AnsiColor::Cyan.on_default());
    let mut text = format!("{red}error{red:#}: {}\n", printable(&failure.message));
    if let Some(hint) = &failure.hint {
        let _ = writeln!(text, "{cyan}hint{cyan:#}: {}", printable(hint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::STEERING;

    #[test]
    fn a_failure_does_not_steer_the_terminal() {
        let text = render(&Failure::usage(STEERING).with_hint(STEERING.to_owned()));
        let expected = r": lib\u{1b}[31mX\u{9b}m\u{202e}\xff.so";
        assert_eq!(text.lines().filter(|line| line.ends_with(expected)).count(), 2, "{text:?}");
    }
}
