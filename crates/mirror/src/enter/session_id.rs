//! The name of a session.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::str::FromStr;

/// The greatest length. The path of the socket must fit its address (unix(7)).
const LONGEST: usize = 48;

/// The characters of names that are made here. They cannot be confused with one another.
const CHARACTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The name of a session, such as `k7q2mx` or `job-4711`. It is also the name of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

/// A name that no session can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a session has a name of at most {LONGEST} letters, digits, `.`, `_` and `-`, which begins with a letter or a digit"
)]
pub struct InvalidId;

impl Id {
    /// Makes a name of six characters.
    ///
    /// # Errors
    ///
    /// Those of reading `/dev/urandom`.
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; 6];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| CHARACTERS[usize::from(byte % 32)] as char).collect()))
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        // The lock file of a session has this suffix.
        let is_lock = text.ends_with(".lock");
        if begins && text.len() <= LONGEST && text.bytes().all(is_known) && !is_lock {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidId)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_names_of_files() {
        for name in ["k7q2mx", "job-4711", "a", "4711.0", "A_b"] {
            assert_eq!(name.parse::<Id>().map(|id| id.to_string()), Ok(name.to_owned()));
        }
        let long = "x".repeat(LONGEST + 1);
        for name in ["", ".", "..", "-x", "a/b", "a b", "ä", "a\0", "x.lock", &long] {
            assert_eq!(name.parse::<Id>(), Err(InvalidId), "{name:?}");
        }
    }

    #[test]
    fn made_names_are_valid_and_differ() {
        let (one, other) = (Id::random().expect("a name"), Id::random().expect("a name"));
        assert_ne!(one, other);
        assert_eq!(one.to_string().parse(), Ok(one));
    }
}
