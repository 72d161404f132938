//! Why something could not be done: one message with its causes, and what the user can do about it.

use std::error::Error;
use std::fmt::Write as _;

use compat_oci::text::shown;

/// The longest message with something in it that a stranger wrote, in characters.
const LONGEST: usize = 4000;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What was asked makes no sense.
    Usage,
    /// Nothing found, a registry or I/O error.
    Undecided,
}

/// Why something could not be done.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Whose fault it is.
    pub cause: Cause,
    /// What failed, on which thing, with the causes: lower case, no full stop.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { cause: Cause::Usage, message: message.into(), hint: None }
    }

    /// Could not decide or not do it, with the whole cause chain of `error`.
    pub fn undecided(error: &dyn Error) -> Self {
        Self { cause: Cause::Undecided, message: chain(error), hint: None }
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

    /// An error with something in its message that a stranger may have written.
    fn of_stranger(error: &dyn Error, is_usage: bool, hint: Option<String>) -> Self {
        let cause = if is_usage { Cause::Usage } else { Cause::Undecided };
        let failure = Self::undecided(error);
        Self { cause, message: shown(&failure.message, LONGEST), hint }
    }
}

impl From<&compat_oci::Error> for Failure {
    fn from(error: &compat_oci::Error) -> Self {
        Self::of_stranger(error, error.is_usage(), error.hint())
    }
}

impl From<&compat_oci::FormatError> for Failure {
    fn from(error: &compat_oci::FormatError) -> Self {
        Self::of_stranger(error, error.is_usage(), error.hint())
    }
}

impl From<&compat_image::Error> for Failure {
    fn from(error: &compat_image::Error) -> Self {
        match error {
            compat_image::Error::Registry(error) => Self::from(error),
            other => Self::of_stranger(other, other.is_usage(), other.hint()),
        }
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
