//! Reasons why a file cannot be used as an object.
//!
//! Reasons that decide a verdict have their own variants. The others are text for people.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::elf::Class;

/// The reason why a file is no object, or is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The file does not exist.
    NotFound,
    /// A part of the path is not a directory.
    NotDirectory,
    /// The saved host does not record the place.
    Unrecorded,
    /// The place is in the application's own directory, which the saved host does not record. The application
    /// is copied there, and it is not known whether the file is beside it.
    UnrecordedBeside,
    /// The file is for another word size, given if it is known.
    WrongClass(Option<Class>),
    /// Another reason, in the words of the loader or the system.
    Words(Cow<'static, str>),
    /// Another reason, which the loader reports for the requested name instead of the file that it found.
    OfName(Cow<'static, str>),
}

/// The beginnings of messages that glibc's loader reports for a name: `_dl_map_object_from_fd` and
/// `_dl_map_segments` in `elf/dl-load.c` have no better one.
const OF_NAME: [&str; 6] = [
    "DST not",
    "ELF load command",
    "failed to map",
    "object file has no",
    "cannot ",
    "shared object cannot be",
];

const NOT_FOUND: &str = "No such file or directory";
const NOT_DIRECTORY: &str = "Not a directory";
const UNRECORDED: &str = "not recorded in the host profile";
const UNRECORDED_BESIDE: &str = "not recorded in the host profile, beside the application";
const WRONG_CLASS: &str = "wrong ELF class";

impl Reason {
    /// Returns whether the host may still have the file, because its profile does not record the place.
    pub fn is_unrecorded(&self) -> bool {
        matches!(self, Self::Unrecorded | Self::UnrecordedBeside)
    }

    /// Words that the loader reports for the requested name.
    pub(super) fn of_name(words: &'static str) -> Self {
        Self::OfName(words.into())
    }

    /// Words from a document or a report.
    pub(super) fn recorded(words: String) -> Self {
        let is_of_name = OF_NAME.iter().any(|beginning| words.starts_with(beginning))
            && !words.starts_with("cannot read file data");
        if is_of_name { Self::OfName(words.into()) } else { Self::Words(words.into()) }
    }

    /// Returns whether the loader reports the requested name instead of the file that it found.
    pub(super) fn is_of_name(&self) -> bool {
        matches!(self, Self::OfName(_))
    }

    fn words(&self) -> Cow<'_, str> {
        match self {
            Self::NotFound => NOT_FOUND.into(),
            Self::NotDirectory => NOT_DIRECTORY.into(),
            Self::Unrecorded => UNRECORDED.into(),
            Self::UnrecordedBeside => UNRECORDED_BESIDE.into(),
            Self::WrongClass(None) => WRONG_CLASS.into(),
            Self::WrongClass(Some(class)) => format!("{WRONG_CLASS}: ELFCLASS{}", class.bits()).into(),
            Self::Words(words) | Self::OfName(words) => Cow::Borrowed(words),
        }
    }

    /// Returns whether nothing exists at the path.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::NotFound | Self::NotDirectory)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.words())
    }
}

impl From<&'static str> for Reason {
    fn from(words: &'static str) -> Self {
        Self::Words(words.into())
    }
}

impl From<String> for Reason {
    fn from(words: String) -> Self {
        Self::Words(words.into())
    }
}

/// A reason equals its text.
impl PartialEq<str> for Reason {
    fn eq(&self, other: &str) -> bool {
        self.words() == other
    }
}

/// A report contains the text. A reader restores the type.
impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = String::deserialize(deserializer)?;
        let known = [
            Self::NotFound,
            Self::NotDirectory,
            Self::Unrecorded,
            Self::UnrecordedBeside,
            Self::WrongClass(None),
            Self::WrongClass(Some(Class::Elf32)),
            Self::WrongClass(Some(Class::Elf64)),
        ];
        let same = known.into_iter().find(|reason| reason.to_string() == words);
        Ok(same.unwrap_or_else(|| Self::recorded(words)))
    }
}

written_as_text!(Reason);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_its_text_in_a_report_and_its_type_again_when_read() {
        for reason in [
            Reason::NotFound,
            Reason::NotDirectory,
            Reason::Unrecorded,
            Reason::UnrecordedBeside,
            Reason::WrongClass(None),
            Reason::WrongClass(Some(Class::Elf32)),
            "Permission denied".into(),
            Reason::of_name("object file has no dynamic section"),
            Reason::recorded("cannot map zero-fill pages".to_owned()),
            Reason::recorded("cannot read file data: Error 21".to_owned()),
        ] {
            let text = serde_json::to_string(&reason).unwrap();
            assert_eq!(text, format!("\"{reason}\""));
            assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), reason);
        }
    }

    #[test]
    fn only_the_type_says_that_something_is_not_recorded() {
        assert!(Reason::Unrecorded.is_unrecorded() && Reason::UnrecordedBeside.is_unrecorded());
        // A document may give any words as the reason.
        assert!(!Reason::from(UNRECORDED.to_owned()).is_unrecorded());
    }
}
