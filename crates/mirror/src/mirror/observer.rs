//! Who watches: what was asked of the mirror, by whom, and how it ended.

use rustix::io::Errno;

/// Is told of everything that happens in a mirror, from many threads, before the caller gets its answer.
pub trait Observer: Send + Sync {
    /// Something was asked and answered.
    fn observe(&self, event: &Event<'_>);
}

/// One thing that was asked.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Who asked.
    pub caller: Caller,
    /// From the root of the mirror, in bytes as the file system has it. Of a very long one, as of the paths of
    /// actions, both ends: [`super::path_ends`].
    pub path: &'a [u8],
    /// What was asked.
    pub action: Action<'a>,
    /// Why it failed, if it did.
    pub error: Option<Errno>,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The thread; 0 where the kernel acts for nobody in particular (a release).
    pub thread: u32,
    /// The thread's user for files (`fsuid`, setfsuid(2)), by its number in this process's user namespace.
    pub user: u32,
    /// Its group for files (`fsgid`).
    pub group: u32,
}

/// What was asked. `open` is the number of an open, which no other open in the process's life has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// A name was looked up: how a file is found by its path, or not.
    Lookup,
    /// A file was opened.
    Open {
        /// The open's number.
        open: u64,
        /// Those of open(2), with `FMODE_EXEC` (0x20) for an execution.
        flags: u32,
    },
    /// A file was made and opened, or, with `O_TMPFILE`, one without a name.
    Create {
        /// The open's number.
        open: u64,
        /// Those of open(2).
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
    /// The last descriptor of an open is gone.
    Close {
        /// The open's number.
        open: u64,
        /// How many bytes were read and written, where the mirror has seen them.
        traffic: Option<Traffic>,
    },
    /// The last descriptor of an open directory is gone.
    CloseDirectory {
        /// The open's number.
        open: u64,
    },
    /// The target of a symbolic link was read.
    ReadLink,
    /// A symbolic link was made.
    SymbolicLink {
        /// Where it leads to, in bytes.
        target: &'a [u8],
    },
    /// A further name, `path`, was made for a file.
    HardLink {
        /// The path by which the file was met.
        from: &'a [u8],
    },
    /// A directory was made.
    MakeDirectory {
        /// Its permissions, before the creation mask.
        mode: u32,
    },
    /// A file of any other type was made (mknod(2)).
    MakeNode {
        /// Type and permissions (`st_mode`), before the creation mask.
        mode: u32,
    },
    /// A name of a file was removed.
    Unlink,
    /// A directory was removed.
    RemoveDirectory,
    /// `path` became another.
    Rename {
        /// The new path.
        to: &'a [u8],
        /// Those of renameat2(2).
        flags: u32,
    },
    /// A file was given a size.
    Truncate {
        /// The size in bytes.
        size: u64,
    },
}

/// What went through an open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read, with what the kernel read ahead; nothing if the kernel may have had some of them from before.
    pub read: Option<u64>,
    /// Bytes written.
    pub written: u64,
}

impl Action<'_> {
    /// `FMODE_EXEC`, which the kernel sets in the flags of an open for execution (`linux/fs.h`).
    pub const EXECUTE: u32 = 0x20;
}
