//! Open files, and open directories with their listings.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fuser::{FileHandle, FileType, INodeNo, ReplyDirectory};
use rustix::fs::Dir;
use rustix::io::Errno;

/// An open file or directory.
#[derive(Debug)]
pub(crate) enum Handle {
    File(OwnedFd),
    Directory(Listing),
}

impl Handle {
    /// The open file.
    pub(crate) fn file(&self) -> io::Result<&OwnedFd> {
        match self {
            Self::File(file) => Ok(file),
            Self::Directory(_) => Err(Errno::ISDIR.into()),
        }
    }

    /// The open directory.
    pub(crate) fn listing(&self) -> io::Result<&Listing> {
        match self {
            Self::File(_) => Err(Errno::NOTDIR.into()),
            Self::Directory(listing) => Ok(listing),
        }
    }
}

/// All handles, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    open: RwLock<(u64, HashMap<u64, Arc<Handle>>)>,
}

impl Handles {
    /// Adds a handle and returns its number.
    pub(crate) fn add(&self, handle: Handle) -> FileHandle {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.0 += 1;
        let number = open.0;
        open.1.insert(number, Arc::new(handle));
        FileHandle(number)
    }

    /// Returns a handle.
    pub(crate) fn get(&self, number: FileHandle) -> io::Result<Arc<Handle>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        Ok(open.1.get(&number.0).cloned().ok_or(Errno::BADF)?)
    }

    /// Closes a handle.
    pub(crate) fn remove(&self, number: FileHandle) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).1.remove(&number.0);
    }
}

/// An open directory. It is listed whole at offset 0, so that a changing directory cannot hide a name or show
/// it twice.
#[derive(Debug)]
pub(crate) struct Listing {
    directory: OwnedFd,
    entries: Mutex<Arc<[Entry]>>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    kind: FileType,
    name: OsString,
}

impl Listing {
    /// Returns the listing of an open directory.
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory, entries: Mutex::default() }
    }

    /// The open directory.
    pub(crate) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Adds the entries from an offset on to a reply, as many as it takes.
    pub(crate) fn add_to(&self, reply: &mut ReplyDirectory, offset: u64) -> io::Result<()> {
        let entries = self.entries(offset == 0)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, entry) in entries.iter().enumerate().skip(start) {
            if reply.add(INodeNo(entry.number), index as u64 + 1, entry.kind, &entry.name) {
                break;
            }
        }
        Ok(())
    }

    fn entries(&self, again: bool) -> io::Result<Arc<[Entry]>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if again {
            let mut read = Vec::new();
            for entry in Dir::read_from(&self.directory)? {
                let entry = entry?;
                let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
                let kind = crate::attribute::kind(entry.file_type());
                read.push(Entry { number: entry.ino(), kind, name });
            }
            *entries = read.into();
        }
        Ok(Arc::clone(&entries))
    }
}
