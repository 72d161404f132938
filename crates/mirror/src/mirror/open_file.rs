//! Open files and directories: what a handle that the kernel holds stands for.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::io::Errno;

use super::admission::Admission;
use super::node::{Node, UsedName};
use super::number::FileHandle;
use super::observer::{Caller, Traffic};

/// Numbers for opens, never the same twice in one process, across all its mirrors.
static LAST_OPEN: AtomicU64 = AtomicU64::new(0);

/// One open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub node: Arc<Node>,
    /// Who opened it: the release does not tell.
    pub opened_by: Caller,
    /// By which of several names it was opened.
    name: Option<UsedName>,
    /// The flags of open(2).
    pub flags: u32,
    /// Whether the kernel reads and writes past this process. The file is then opened here when
    /// something else is asked of it.
    pub passed: bool,
    /// Whether each read is asked for, also one of what was read before.
    pub is_direct: bool,
    /// Whether the kernel may have content from before.
    is_warm: bool,
    pub read: AtomicU64,
    pub written: AtomicU64,
    _admission: Admission,
    file: OnceLock<File>,
    /// What is read instead, until the original is written.
    provided: Option<File>,
}

/// Whether flags of open(2) are for writing.
pub(super) fn is_for_writing(flags: u32) -> bool {
    flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32
}

/// Keeps in mind that a file is open for writing.
pub(super) fn note_writing(node: &Node, flags: u32) {
    if is_for_writing(flags) || flags & libc::O_TRUNC as u32 != 0 {
        node.written.store(true, Ordering::Release);
    }
}

/// Whether memory that is stored to can be mapped from an open with these flags (mmap(2)).
pub(super) fn is_mappable(flags: u32) -> bool {
    flags & libc::O_ACCMODE as u32 == libc::O_RDWR as u32
}

/// How an open is answered.
#[derive(Debug)]
pub(super) enum Opened {
    /// The kernel reads and writes past this process, by the registration of this number.
    Passed(u32),
    /// Through this file.
    Served(File),
    /// Reads through this file, which is another one.
    Provided(File),
}

impl OpenFile {
    /// An open that was answered so.
    pub(super) fn new(
        node: Arc<Node>,
        opened_by: Caller,
        flags: u32,
        opened: Opened,
        admission: Admission,
        is_direct: bool,
    ) -> Self {
        let passed = matches!(opened, Opened::Passed(_));
        let is_direct = is_direct && !passed;
        let is_warm = !passed && !is_direct && node.cached.swap(true, Ordering::Relaxed);
        let (file, provided) = match opened {
            Opened::Passed(_) => (OnceLock::new(), None),
            Opened::Served(file) => (OnceLock::from(file), None),
            Opened::Provided(file) => (OnceLock::new(), Some(file)),
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
            provided,
        }
    }

    /// Its path, by the name that it was opened by if it has several.
    pub(super) fn path(&self) -> Vec<u8> {
        self.node.path_as(self.name.as_ref())
    }

    /// What went through it; nothing if the kernel read and wrote past this process.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        let read = (!self.is_warm).then(|| self.read.load(Ordering::Relaxed));
        (!self.passed).then(|| Traffic { read, written: self.written.load(Ordering::Relaxed) })
    }

    /// Whether it is open for writing.
    pub(super) fn writes(&self) -> bool {
        is_for_writing(self.flags)
    }

    /// For what it is open beyond reading and writing.
    pub(super) fn uses(&self) -> Uses {
        Uses::of(self.flags)
    }

    /// Whether closing it takes no time: nothing is written back, and no space is given back.
    pub(super) fn is_closed_soon(&self) -> bool {
        (self.passed || !self.writes()) && self.node.has_name()
    }

    /// The file that is to be read instead of the original.
    pub(super) fn provided(&self) -> Option<&File> {
        self.provided.as_ref().filter(|_| !self.node.written.load(Ordering::Acquire))
    }

    /// The file, opened by `open` if it is not yet.
    ///
    /// # Errors
    ///
    /// Those of `open`.
    pub(super) fn file(&self, open: impl FnOnce() -> Result<File, Errno>) -> Result<&File, Errno> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        // Two threads may both open it; one of the files is closed again.
        let file = open()?;
        Ok(self.file.get_or_init(|| file))
    }
}

/// For what a file is open, beyond reading and writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uses {
    pub executed: bool,
    pub mappable: bool,
}

impl Uses {
    /// Those that flags of open(2) tell.
    pub(super) fn of(flags: u32) -> Self {
        let executed = flags & super::observer::Action::EXECUTE != 0;
        Self { executed, mappable: is_mappable(flags) }
    }

    /// Counts the open.
    pub(super) fn begin(self, opens: &mut super::node::Opens) {
        opens.executed += u32::from(self.executed);
        opens.mappable += u32::from(self.mappable);
    }

    /// It is closed.
    pub(super) fn end(self, opens: &mut super::node::Opens) {
        opens.executed -= u32::from(self.executed);
        opens.mappable -= u32::from(self.mappable);
    }
}

/// One open directory, and where the reader of its entries stands.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub node: Arc<Node>,
    pub opened_by: Caller,
    /// The descriptor, with the place at which it stands.
    pub directory: Mutex<(OwnedFd, u64)>,
    pub _admission: Admission,
}

/// What is open, by the number of the open.
#[derive(Debug)]
pub(super) struct OpenTable<T> {
    open: Mutex<HashMap<FileHandle, Arc<T>>>,
}

impl<T> Default for OpenTable<T> {
    fn default() -> Self {
        Self { open: Mutex::default() }
    }
}

/// A number for an open that begins.
pub(super) fn next_open() -> FileHandle {
    FileHandle(LAST_OPEN.fetch_add(1, Ordering::Relaxed) + 1)
}

impl<T> OpenTable<T> {
    /// Keeps what was opened under its number.
    pub(super) fn insert(&self, number: FileHandle, opened: T) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(opened));
    }

    /// What is open under this number.
    ///
    /// # Errors
    ///
    /// `EBADF` where nothing is.
    pub(super) fn find(&self, number: FileHandle) -> Result<Arc<T>, Errno> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&number).cloned().ok_or(Errno::BADF)
    }

    /// All that is open.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether this is so of any that is open.
    pub(super) fn any(&self, is_so: impl Fn(&T) -> bool) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().any(|open| is_so(open))
    }

    /// It is not open any more.
    pub(super) fn remove(&self, number: FileHandle) {
        let removed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        drop(removed);
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
