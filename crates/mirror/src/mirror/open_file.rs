//! Open files and directories, by the handles that the kernel holds.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::io::Errno;

use super::admission::Admission;
use super::cache::{Content, Listing};
use super::node::{Node, UsedName};
use super::number::FileHandle;
use super::observer::{Caller, Traffic};

/// The last number of an open. Numbers are unique in one process, across all its mirrors.
static LAST_OPEN: AtomicU64 = AtomicU64::new(0);

/// One open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub node: Arc<Node>,
    /// The opener. A release does not name it.
    pub opened_by: Caller,
    /// The name that was used for the open, if the file has several.
    name: Option<UsedName>,
    /// The flags of open(2).
    pub flags: u32,
    /// Whether the kernel's reads and writes bypass this process. Other requests then open the file here.
    pub passed: bool,
    /// Whether every read is sent to this process, even a repeated one.
    pub is_direct: bool,
    /// Whether the kernel may have cached content from before.
    is_warm: bool,
    pub read: AtomicU64,
    pub written: AtomicU64,
    _admission: Admission,
    file: OnceLock<File>,
    /// The copy that is read instead, until the file is changed through the mirror.
    copy: Option<OpenCopy>,
}

/// A copy that is read instead of the original.
struct OpenCopy {
    content: Arc<dyn Content>,
    /// The ticket of the node's facts at the open.
    ticket: u64,
}

impl std::fmt::Debug for OpenCopy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OpenCopy").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

/// Whether flags of open(2) are for writing.
pub(super) fn is_for_writing(flags: u32) -> bool {
    flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32
}

/// Whether an open with these flags permits shared writable mappings (mmap(2)).
pub(super) fn is_mappable(flags: u32) -> bool {
    flags & libc::O_ACCMODE as u32 == libc::O_RDWR as u32
}

/// How an open is answered.
pub(super) enum Opened {
    /// The kernel reads and writes the registered file with this number, bypassing this process.
    Passed(u32),
    /// This process reads and writes this file.
    Served(File),
    /// This process reads and writes this file, while the kernel reads a registered copy for other opens.
    Beside(File),
    /// A copy is read instead.
    Copied {
        content: Arc<dyn Content>,
        /// The number of the registered copy, if the kernel reads it.
        backing: Option<u32>,
        /// Whether the kernel's pages are those of the copy.
        keeps_pages: bool,
    },
}

impl Opened {
    /// Returns the number of the registered file that the kernel uses.
    pub(super) fn backing(&self) -> Option<u32> {
        match self {
            Self::Passed(number) => Some(*number),
            Self::Copied { backing, .. } => *backing,
            Self::Served(_) | Self::Beside(_) => None,
        }
    }

    /// Whether every read and write is sent to this process.
    pub(super) fn is_direct(&self) -> bool {
        matches!(self, Self::Beside(_))
    }

    /// Whether the pages that the kernel keeps stay valid.
    pub(super) fn keeps_pages(&self) -> bool {
        !matches!(self, Self::Copied { keeps_pages: false, .. })
    }
}

impl OpenFile {
    /// Creates an open file with this kind of answer.
    pub(super) fn new(
        node: Arc<Node>,
        opened_by: Caller,
        flags: u32,
        opened: Opened,
        admission: Admission,
        is_direct: bool,
    ) -> Self {
        let passed = opened.backing().is_some();
        let is_direct = (is_direct || opened.is_direct()) && !passed;
        let is_warm = !passed && !is_direct && node.cached.swap(true, Ordering::Relaxed);
        let (file, copy) = match opened {
            Opened::Passed(_) => (OnceLock::new(), None),
            Opened::Served(file) | Opened::Beside(file) => (OnceLock::from(file), None),
            Opened::Copied { content, .. } => {
                (OnceLock::new(), Some(OpenCopy { content, ticket: node.facts().ticket() }))
            }
        };
        let (read, written) = (AtomicU64::new(0), AtomicU64::new(0));
        let name = node.met_as(opened_by.thread);
        let _admission = admission;
        Self {
            node,
            opened_by,
            name,
            flags,
            passed,
            is_direct,
            is_warm,
            read,
            written,
            _admission,
            file,
            copy,
        }
    }

    /// Returns the path, with the name that was used for the open if the file has several.
    pub(super) fn path(&self) -> Vec<u8> {
        self.node.path_as(self.name.as_ref())
    }

    /// Returns the bytes that passed through the open. `None` if the kernel bypassed this process.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        let read = (!self.is_warm).then(|| self.read.load(Ordering::Relaxed));
        (!self.passed).then(|| Traffic { read, written: self.written.load(Ordering::Relaxed) })
    }

    /// Whether the file is open for writing.
    pub(super) fn writes(&self) -> bool {
        is_for_writing(self.flags)
    }

    /// Returns the uses of the open beyond reading and writing.
    pub(super) fn uses(&self) -> Uses {
        Uses::of(self.flags)
    }

    /// Whether closing takes no time: no data is written back and no space is freed.
    pub(super) fn is_closed_soon(&self) -> bool {
        (self.passed || !self.writes()) && self.node.has_name()
    }

    /// Returns the copy that is to be read instead of the original.
    pub(super) fn copy(&self) -> Option<&Arc<dyn Content>> {
        let copy = self.copy.as_ref().filter(|copy| self.node.facts().is_unchanged(copy.ticket))?;
        Some(&copy.content)
    }

    /// Whether a copy was opened.
    pub(super) fn is_copied(&self) -> bool {
        self.copy.is_some()
    }

    /// Returns the file. `open` opens it at the first call.
    ///
    /// # Errors
    ///
    /// If `open` fails.
    pub(super) fn file(&self, open: impl FnOnce() -> Result<File, Errno>) -> Result<&File, Errno> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        // Two threads may both open the file. One of the results is closed again.
        let file = open()?;
        Ok(self.file.get_or_init(|| file))
    }
}

/// The uses of an open beyond reading and writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uses {
    pub executed: bool,
    pub mappable: bool,
}

impl Uses {
    /// Returns the uses that flags of open(2) imply.
    pub(super) fn of(flags: u32) -> Self {
        let executed = flags & super::observer::Action::EXECUTE != 0;
        Self { executed, mappable: is_mappable(flags) }
    }

    /// Counts the open.
    pub(super) fn begin(self, opens: &mut super::node::Opens) {
        opens.executed += u32::from(self.executed);
        opens.mappable += u32::from(self.mappable);
    }

    /// Counts the close.
    pub(super) fn end(self, opens: &mut super::node::Opens) {
        opens.executed -= u32::from(self.executed);
        opens.mappable -= u32::from(self.mappable);
    }
}

/// The entries of an open directory.
#[derive(Debug)]
pub(super) enum Entries {
    /// The original directory, with its current position.
    Original(Mutex<(OwnedFd, u64)>),
    /// The entries as they were listed before.
    Listed(Arc<Listing>),
}

/// One open directory.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub node: Arc<Node>,
    pub opened_by: Caller,
    pub entries: Entries,
    pub _admission: Admission,
}

/// Open files or directories, by the number of the open.
#[derive(Debug)]
pub(super) struct OpenTable<T> {
    open: Mutex<HashMap<FileHandle, Arc<T>>>,
}

impl<T> Default for OpenTable<T> {
    fn default() -> Self {
        Self { open: Mutex::default() }
    }
}

/// Returns a number for a new open.
pub(super) fn next_open() -> FileHandle {
    FileHandle(LAST_OPEN.fetch_add(1, Ordering::Relaxed) + 1)
}

impl<T> OpenTable<T> {
    /// Stores an open under its number.
    pub(super) fn insert(&self, number: FileHandle, opened: T) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(opened));
    }

    /// Returns the open with this number.
    ///
    /// # Errors
    ///
    /// If the number is unknown (`EBADF`).
    pub(super) fn find(&self, number: FileHandle) -> Result<Arc<T>, Errno> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&number).cloned().ok_or(Errno::BADF)
    }

    /// Returns all opens.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether the condition holds for any open.
    pub(super) fn any(&self, is_so: impl Fn(&T) -> bool) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().any(|open| is_so(open))
    }

    /// Removes an open.
    pub(super) fn remove(&self, number: FileHandle) {
        let removed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        drop(removed);
    }

    /// Returns the number of opens.
    pub(super) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
