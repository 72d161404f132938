//! How a subcommand ends: the documented exit codes, and a failure with its cause chain and hint.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// The exit codes, the same in every subcommand (`docs/exit-codes.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Compatible, or done.
    Success = 0,
    /// Incompatible (for `validate`: not valid).
    Incompatible = 1,
    /// Wrong usage.
    Usage = 2,
    /// Could not decide: nothing found, registry or I/O error.
    Undecided = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
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

impl Failure {
    /// Wrong usage: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), hint: None }
    }

    /// Could not decide or not do it: exit code 3, with the whole cause chain of `error`.
    pub fn undecided(error: &dyn Error) -> Self {
        Self { exit: Exit::Undecided, message: chain(error), hint: None }
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

    /// The failure as text, with terminal styles.
    pub fn render(&self) -> String {
        let (red, cyan) =
            (anstyle::AnsiColor::Red.on_default().bold(), anstyle::AnsiColor::Cyan.on_default());
        let mut text = format!("{red}error{red:#}: {}\n", self.message);
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{cyan}hint{cyan:#}: {hint}");
        }
        text
    }
}

/// The message of an error followed by those of its causes, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}
