//! Standard input, which only one reader can use: for a document or for the password.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io::{IsTerminal as _, Read as _};

use super::Failure;

/// The longest password, in bytes.
const LONGEST_PASSWORD: u64 = 1 << 20;

/// Standard input of one run.
#[derive(Default)]
pub struct StandardInput {
    is_taken: Cell<bool>,
    password: OnceCell<String>,
}

impl fmt::Debug for StandardInput {
    /// Hides the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StandardInput").field("is_taken", &self.is_taken).finish_non_exhaustive()
    }
}

impl StandardInput {
    /// Takes standard input.
    ///
    /// # Errors
    ///
    /// If standard input was already taken (wrong usage).
    pub fn claim(&self) -> Result<(), Failure> {
        if self.is_taken.replace(true) {
            return Err(Failure::usage("standard input is used twice, as `-` or for --password-stdin")
                .with_hint("use a file instead of `-`".to_owned()));
        }
        Ok(())
    }

    /// Returns the password, which is read only once for all registries.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn password(&self) -> Result<String, Failure> {
        self.once(Self::read_password)
    }

    /// Sets the password as if it had been read.
    #[cfg(test)]
    pub(super) fn know(&self, password: &str) {
        self.once(|_| Ok(password.to_owned())).unwrap();
    }

    fn once(&self, read: impl FnOnce(&Self) -> Result<String, Failure>) -> Result<String, Failure> {
        match self.password.get() {
            Some(known) => Ok(known.clone()),
            None => read(self).map(|read| self.password.get_or_init(|| read).clone()),
        }
    }

    /// Reads the password in the same way as `docker login --password-stdin`: all of standard input without
    /// its final line end.
    fn read_password(&self) -> Result<String, Failure> {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            return Err(Failure::usage("--password-stdin: standard input is a terminal")
                .with_hint("pipe the password: `… --password-stdin < FILE`".to_owned()));
        }
        self.claim()?;
        let mut text = String::new();
        stdin
            .lock()
            .take(LONGEST_PASSWORD)
            .read_to_string(&mut text)
            .map_err(|error| Failure::undecided(&error))?;
        let password =
            text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        if password.is_empty() {
            return Err(Failure::usage("--password-stdin: standard input is empty"));
        }
        Ok(password.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Cause;

    #[test]
    fn the_password_is_read_once() {
        let stdin = StandardInput::default();
        assert_eq!(stdin.once(|_| Ok("secret".into())).unwrap(), "secret");
        assert_eq!(stdin.once(|_| Err(Failure::usage("read twice"))).unwrap(), "secret");
        assert!(!format!("{stdin:?}").contains("secret"));
    }

    #[test]
    fn standard_input_is_read_for_one_purpose() {
        let stdin = StandardInput::default();
        stdin.claim().unwrap();
        let failure = stdin.claim().unwrap_err();
        assert_eq!(failure.cause, Cause::Usage);
        assert!(failure.message.contains("--password-stdin"), "{}", failure.message);
    }
}
