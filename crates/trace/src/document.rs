//! The lines of a recording.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::name::Name;

/// The version of the format. Readers reject a higher version.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format ([`VERSION`]).
    pub compat_recording: u32,
    /// The program and its arguments.
    pub command: Vec<Name>,
    /// The working directory of the command.
    #[serde(rename = "folder")]
    pub directory: Name,
    /// The name of the host.
    pub host: String,
    /// The kernel release.
    pub kernel: String,
    /// The image, if the environment of the container names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The start of the command, in nanoseconds since 1970. Times of events count from here.
    pub started: u64,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A name was looked up in its directory.
    Lookup,
    /// A file was opened.
    Open,
    /// A file was created and opened.
    Create,
    /// A directory was opened.
    #[serde(rename = "open-folder")]
    OpenDirectory,
    /// The first read of an open file, if reads pass through the mirror.
    FirstRead,
    /// The last descriptor of an open file was closed.
    Close,
    /// The last descriptor of an open directory was closed.
    #[serde(rename = "close-folder")]
    CloseDirectory,
    /// A symbolic link was read.
    ReadLink,
    /// A symbolic link was created.
    SymbolicLink,
    /// A hard link to a file was created.
    HardLink,
    /// A directory was created.
    #[serde(rename = "make-folder")]
    MakeDirectory,
    /// A node was created without being opened: a file, a FIFO, a socket or a device (mknod(2)).
    MakeNode,
    /// A name was removed that was not a directory.
    Unlink,
    /// A directory was removed.
    #[serde(rename = "remove-folder")]
    RemoveDirectory,
    /// A file or directory was renamed.
    Rename,
    /// The size of a file was set.
    Truncate,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 16] = [
        Self::Lookup,
        Self::Open,
        Self::Create,
        Self::OpenDirectory,
        Self::FirstRead,
        Self::Close,
        Self::CloseDirectory,
        Self::ReadLink,
        Self::SymbolicLink,
        Self::HardLink,
        Self::MakeDirectory,
        Self::MakeNode,
        Self::Unlink,
        Self::RemoveDirectory,
        Self::Rename,
        Self::Truncate,
    ];

    /// Returns the kind with this word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The word for the kind in a recording.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Open => "open",
            Self::Create => "create",
            Self::OpenDirectory => "open-folder",
            Self::FirstRead => "first-read",
            Self::Close => "close",
            Self::CloseDirectory => "close-folder",
            Self::ReadLink => "read-link",
            Self::SymbolicLink => "symbolic-link",
            Self::HardLink => "hard-link",
            Self::MakeDirectory => "make-folder",
            Self::MakeNode => "make-node",
            Self::Unlink => "unlink",
            Self::RemoveDirectory => "remove-folder",
            Self::Rename => "rename",
            Self::Truncate => "truncate",
        }
    }
}

/// An event: an action on a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since the start.
    pub t: u64,
    /// The kind of the event.
    pub event: EventKind,
    /// The path of the action.
    pub path: Name,
    /// The error (`ENOENT`). `None` if the action succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The number of the open, unique in the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
    /// The flags of open(2) or renameat2(2), with the numbers of the host's architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<u32>,
    /// The file was opened to be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exec: bool,
    /// The target of a rename, the content of a symbolic link, or the existing name for a hard link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Name>,
    /// The requested mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// The new size, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes read, if reads passed through the mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes written, if writes passed through the mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The parent of the process.
    pub ppid: u32,
    /// The program that the process executes.
    pub exe: Name,
    /// The user for file system access of the thread (fsuid).
    pub uid: u32,
    /// The rank of the process in a parallel job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// The number of bytes omitted from names, if any name is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// The number of bytes omitted from each name of an event, in which a mark replaces them. `None` for complete names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Bytes omitted from [`Event::path`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<u64>,
    /// Bytes omitted from [`Event::other`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<u64>,
    /// Bytes omitted from [`Event::exe`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<u64>,
}

impl Event {
    /// The number of bytes omitted from each name. `None` for complete names.
    pub fn cut(&self) -> Cut {
        self.cut.unwrap_or_default()
    }

    /// The memory of the event, in bytes.
    pub fn memory(&self) -> usize {
        let names = self.path.0.capacity() + self.exe.0.capacity();
        let other = self.other.as_ref().map_or(0, |other| other.0.capacity());
        size_of::<Self>() + names + other + self.error.as_ref().map_or(0, String::capacity)
    }
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The kind of the end: `exited`, or the party that was killed.
    pub end: String,
    /// The command's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Nanoseconds since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<u64>,
    /// The number of events that were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// The number of events that were dropped, which is always 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// The number of events of each kind. Unknown kinds are ignored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "known_counts")]
    pub counts: BTreeMap<EventKind, u64>,
}

fn known_counts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<EventKind, u64>, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let known = all.into_iter().filter_map(|(word, count)| Some((EventKind::from_word(&word)?, count)));
    let count = |(kind, count)| Ok((kind, u64::deserialize(count).map_err(serde::de::Error::custom)?));
    known.map(count).collect()
}
