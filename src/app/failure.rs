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

/// Returns the message of an error, followed by the messages of its causes without repetition, and without the parts
/// that [`without_internals`] removes.
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
    without_internals(&text)
}

/// Removes error numbers (` (os error 13)`), and the names of temporary files that follow them, from a message.
pub fn without_internals(text: &str) -> String {
    const NUMBER: &str = " (os error ";
    const PATH: &str = " at path \"";
    let mut parts = text.split(NUMBER);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let number =
            part.split_once(')').filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
        let Some((_, rest)) = number else {
            plain.push_str(NUMBER);
            plain.push_str(part);
            continue;
        };
        let path = rest.strip_prefix(PATH).and_then(|rest| rest.split_once('"'));
        plain.push_str(path.map_or(rest, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_and_temporary_files_are_not_shown() {
        for (text, plain) in [
            (
                "could not read a: No such file or directory (os error 2)",
                "could not read a: No such file or directory",
            ),
            (
                "could not write a: Permission denied (os error 13) at path \"/tmp/.compat-x\": more",
                "could not write a: Permission denied: more",
            ),
            ("a (os error x) b", "a (os error x) b"),
            ("a (os error 2", "a (os error 2"),
            ("", ""),
        ] {
            assert_eq!(without_internals(text), plain);
        }
    }
}
