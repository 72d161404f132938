//! The lines of a recording.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::name::Name;

/// The version of the format; a reader refuses a higher one.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format ([`VERSION`]).
    pub compat_recording: u32,
    /// The program and its arguments.
    pub command: Vec<Name>,
    /// Where it ran.
    #[serde(rename = "folder")]
    pub directory: Name,
    /// The machine's name.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The image, where the container's environment names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the command was started: nanoseconds since 1970. Times of events count from here.
    pub started: u64,
}

/// What happened.
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
    /// An open file was read for the first time, as far as the mirror sees reads.
    FirstRead,
    /// The last descriptor of an open file was closed.
    Close,
    /// The last descriptor of an open directory was closed.
    #[serde(rename = "close-folder")]
    CloseDirectory,
    /// A symbolic link was read.
    ReadLink,
    /// A symbolic link was made.
    SymbolicLink,
    /// A file was given a further name.
    HardLink,
    /// A directory was made.
    #[serde(rename = "make-folder")]
    MakeDirectory,
    /// A file was made without being opened, a FIFO, a socket or a device (mknod(2)).
    MakeNode,
    /// A name of something other than a directory was removed.
    Unlink,
    /// A directory was removed.
    #[serde(rename = "remove-folder")]
    RemoveDirectory,
    /// Something was renamed.
    Rename,
    /// The size of a file was set.
    Truncate,
}

impl EventKind {
    /// All of them.
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

    /// The kind that a word stands for.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The word that stands for it in a recording.
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

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since the start.
    pub t: u64,
    /// What happened.
    pub event: EventKind,
    /// The path that it happened to.
    pub path: Name,
    /// Why it failed (`ENOENT`); nothing where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The number of the open, which no other open of the recording has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
    /// The flags of open(2) or renameat2(2), as the machine numbers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<u32>,
    /// The file was opened to be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exec: bool,
    /// Where a rename leads, what a symbolic link holds, or the name a hard link was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Name>,
    /// The mode asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// The new size, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes read, where they went through the mirror and not past it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes written, where they went through the mirror and not past it.
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
    /// The user as whom the thread uses file systems (fsuid).
    pub uid: u32,
    /// The rank of a parallel job that the process belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Which of its names are not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// How many bytes are left out of an event's names, which have a mark there; nothing of those that are whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Bytes left out of [`Event::path`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<u64>,
    /// Bytes left out of [`Event::other`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<u64>,
    /// Bytes left out of [`Event::exe`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<u64>,
}

impl Event {
    /// How many bytes are left out of its names; nothing of those that are whole.
    pub fn cut(&self) -> Cut {
        self.cut.unwrap_or_default()
    }

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        let names = self.path.0.capacity() + self.exe.0.capacity();
        let other = self.other.as_ref().map_or(0, |other| other.0.capacity());
        size_of::<Self>() + names + other + self.error.as_ref().map_or(0, String::capacity)
    }
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How it ended: `exited`, or who was killed.
    pub end: String,
    /// The command's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Nanoseconds since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<u64>,
    /// How many events were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// How many were not: none ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// How many of each kind; kinds that this program does not know are passed over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "known_counts")]
    pub counts: BTreeMap<EventKind, u64>,
}

fn known_counts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<EventKind, u64>, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let known = all.into_iter().filter_map(|(word, count)| Some((EventKind::from_word(&word)?, count)));
    let count = |(kind, count)| Ok((kind, u64::deserialize(count).map_err(serde::de::Error::custom)?));
    known.map(count).collect()
}
