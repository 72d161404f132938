//! Why a file is not written to.

use std::ffi::OsString;
use std::io;

/// A reason why it is unsafe to write a list of everybody's files there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else may have put it there, and chosen what it leads to.
    #[error("the symbolic link {} on the way is not followed: user {owner} owns it, or others may write to its directory", name.display())]
    Link {
        /// The name of the link, without its directory.
        name: OsString,
        /// The number of the user to whom it belongs.
        owner: u32,
    },
    /// The owner of a file may read everything that is written to it.
    #[error("it belongs to another user ({owner})")]
    Foreign {
        /// The number of the user to whom it belongs.
        owner: u32,
    },
    /// It may be something else under another name.
    #[error("the file has other names, too (hard links)")]
    Linked,
    /// Others could open it until now, and may have it open.
    #[error("others can open it, and it cannot be replaced: {reason}")]
    Readable {
        /// Why it cannot be replaced.
        reason: String,
    },
    /// Another file was put in its place meanwhile.
    #[error("another file was put in its place meanwhile")]
    Exchanged,
}

impl Refusal {
    /// A hint for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Link { .. } => "name the file itself, or a directory that only you can write to",
            Self::Foreign { .. } | Self::Linked | Self::Exchanged => "name a new file, or remove this one",
            Self::Readable { .. } => "name a new file, or take it from others with chmod 600",
        }
    }

    /// The one that is behind an error.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, refusal)
    }
}
