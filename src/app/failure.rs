//! The reason why an operation failed: one message with its causes, and a hint for the user.

use std::error::Error;
use std::fmt::Write as _;

use compat_oci::text::shown;

/// The longest message that may contain text from strangers, in characters.
const LONGEST: usize = 4000;

/// The side that caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Wrong usage.
    Usage,
    /// Nothing was found, or a registry or I/O error.
    Undecided,
}

/// A failed operation.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The side that caused it.
    pub cause: Cause,
    /// The error: the operation, the object it failed on, and the causes. Lower case, no full stop.
    pub message: String,
    /// How to resolve the error.
    pub hint: Option<String>,
}

impl Failure {
    /// Creates a failure for wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { cause: Cause::Usage, message: message.into(), hint: None }
    }

    /// Creates a failure of an operation, with the whole cause chain of `error`.
    pub fn undecided(error: &dyn Error) -> Self {
        Self { cause: Cause::Undecided, message: chain(error), hint: None }
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds a subject before the message.
    #[must_use]
    pub fn about(self, what: &dyn std::fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Creates a failure from an error whose message may contain text from strangers.
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

/// Returns the message of an error, followed by the messages of its causes without repetition.
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
