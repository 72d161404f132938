//! The reasons for refusing to write to a file.

use std::ffi::OsString;
use std::io;

/// A reason why it is unsafe to write a list of everybody's files to a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another user may have created the link and chosen its target.
    #[error("the symbolic link {} in the path is not followed: user {owner} owns it, or others can write to its directory", name.display())]
    Link {
        /// The name of the link, without its directory.
        name: OsString,
        /// The owner of the link.
        owner: u32,
    },
    /// The owner of a file can read everything that is written to it.
    #[error("it belongs to another user ({owner})")]
    Foreign {
        /// The owner of the file.
        owner: u32,
    },
    /// Under its other name, the file may serve a different purpose.
    #[error("the file has further names (hard links)")]
    Linked,
    /// Other users could open it until now, and may have it open.
    #[error("others can open it, and it cannot be replaced: {reason}")]
    Readable {
        /// The reason why it cannot be replaced.
        reason: String,
    },
    /// Another file took its place meanwhile.
    #[error("another file has taken its place meanwhile")]
    Exchanged,
}

impl Refusal {
    /// Returns a hint for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Link { .. } => "use the file itself, or a directory that only you can write to",
            Self::Foreign { .. } | Self::Linked | Self::Exchanged => "use a new file, or remove this one",
            Self::Readable { .. } => "use a new file, or remove the permissions of others with chmod 600",
        }
    }

    /// Returns the refusal inside an error, if any.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, refusal)
    }
}
