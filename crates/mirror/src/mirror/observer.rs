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
    pub caller: Caller,
    /// From the root of the mirror, in bytes as the file system has it. Of a very long one, as of the paths of
    /// actions, both ends: [`super::path_ends`].
    pub path: &'a [u8],
    pub action: Action<'a>,
    /// Why it failed, if it did.
    pub error: Option<Errno>,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The thread; 0 where the kernel acts for nobody in particular (a release).
    pub thread: u32,
    pub user: u32,
    pub group: u32,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// A name was looked up: how a file is found by its path, or not.
    Lookup,
    /// `flags` are those of open(2), with `FMODE_EXEC` (0x20) for an execution; `open` is the open's
    /// number, which no other open in the process's life has.
    Open {
        open: u64,
        flags: u32,
    },
    Create {
        open: u64,
        flags: u32,
        mode: u32,
    },
    OpenFolder {
        open: u64,
    },
    /// The first read of an open that is not passed through.
    FirstRead {
        open: u64,
    },
    /// The last descriptor of an open is gone; how many bytes were read and written, where the mirror
    /// has seen them.
    Close {
        open: u64,
        traffic: Option<Traffic>,
    },
    CloseFolder {
        open: u64,
    },
    ReadLink,
    SymbolicLink {
        target: &'a [u8],
    },
    /// A further name, `path`, for the file at `from`.
    HardLink {
        from: &'a [u8],
    },
    MakeFolder {
        mode: u32,
    },
    MakeNode {
        mode: u32,
    },
    Unlink,
    RemoveFolder,
    /// `path` becomes `to`; `flags` are those of renameat2(2).
    Rename {
        to: &'a [u8],
        flags: u32,
    },
    Truncate {
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
