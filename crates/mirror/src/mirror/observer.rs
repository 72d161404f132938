//! Observers of a mirror: each request, its caller and its result.

use rustix::io::Errno;

/// Receives each event of a mirror before the caller receives its reply. Many threads call it.
pub trait Observer: Send + Sync {
    /// Takes an event.
    fn observe(&self, event: &Event<'_>);
}

/// A request and its result.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The caller.
    pub caller: Caller,
    /// The path from the root of the mirror, in the bytes of the file system. Very long paths, here and in
    /// actions, are shortened to both ends: see [`super::path_ends`].
    pub path: &'a [u8],
    /// The action that the caller requested.
    pub action: Action<'a>,
    /// The error, if the action failed.
    pub error: Option<Errno>,
}

/// The thread that sent a request, and its rights to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The thread. It is 0 if the kernel acts for no particular caller (a release).
    pub thread: u32,
    /// The thread's user id for files (`fsuid`, setfsuid(2)), in this process's user namespace.
    pub user: u32,
    /// The thread's group id for files (`fsgid`).
    pub group: u32,
}

/// The action of an event. `open` is the number of an open, which is unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// A name was looked up, with or without success.
    Lookup,
    /// A file was opened.
    Open {
        /// The open's number.
        open: u64,
        /// The flags of open(2), with `FMODE_EXEC` (0x20) for an execution.
        flags: u32,
    },
    /// A file was created and opened. With `O_TMPFILE`, the file has no name.
    Create {
        /// The open's number.
        open: u64,
        /// The flags of open(2).
        flags: u32,
        /// Type and permissions (`st_mode`), before the creation mask.
        mode: u32,
    },
    /// A directory was opened.
    OpenDirectory {
        /// The open's number.
        open: u64,
    },
    /// The first read of an open that is not passed through.
    FirstRead {
        /// The open's number.
        open: u64,
    },
    /// The last descriptor of an open was closed.
    Close {
        /// The open's number.
        open: u64,
        /// The bytes that were read and written, if the mirror has seen them.
        traffic: Option<Traffic>,
    },
    /// The last descriptor of an open directory was closed.
    CloseDirectory {
        /// The open's number.
        open: u64,
    },
    /// The target of a symbolic link was read.
    ReadLink,
    /// A symbolic link was created.
    SymbolicLink {
        /// The target, in the bytes of the caller.
        target: &'a [u8],
    },
    /// Another name, `path`, was created for a file.
    HardLink {
        /// The path that the caller used for the file.
        from: &'a [u8],
    },
    /// A directory was created.
    MakeDirectory {
        /// Its permissions, before the creation mask.
        mode: u32,
    },
    /// A file of any other type was created (mknod(2)).
    MakeNode {
        /// Type and permissions (`st_mode`), before the creation mask.
        mode: u32,
    },
    /// A name of a file was removed.
    Unlink,
    /// A directory was removed.
    RemoveDirectory,
    /// `path` was renamed.
    Rename {
        /// The new path.
        to: &'a [u8],
        /// The flags of renameat2(2).
        flags: u32,
    },
    /// The size of a file was set.
    Truncate {
        /// The size in bytes.
        size: u64,
    },
}

/// The bytes that were read and written through an open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read, including the kernel's read-ahead. `None` if the kernel may have had some of them from
    /// before.
    pub read: Option<u64>,
    /// Bytes written.
    pub written: u64,
}

impl Action<'_> {
    /// `FMODE_EXEC`, which the kernel sets in the flags of an open for execution (`linux/fs.h`).
    pub const EXECUTE: u32 = 0x20;
}
