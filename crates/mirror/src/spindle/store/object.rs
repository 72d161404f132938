//! An object in use.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::layout;
use super::ledger::FileMark;
use super::shared::Shared;

/// The bytes that are read at once to compute a digest.
const PIECE: usize = 256 << 10;

/// A content in the cache. It is not evicted as long as it is held.
#[derive(Debug)]
pub struct Object {
    shared: Arc<Shared>,
    digest: Digest,
    size: u64,
    /// The number of this handle in the ledger.
    number: u64,
    /// The lock is held while the content is verified, so that only one thread does that. The lock of the ledger may
    /// be taken under this lock, never the other way round.
    place: Mutex<Place>,
    /// Whether the content follows a file that changes.
    changes: RwLock<bool>,
}

/// The way to an object's file.
#[derive(Debug)]
enum Place {
    /// Its name is its digest, and it can be found.
    Named,
    /// It has no name, or will not be found under it.
    Unnamed(File),
    /// Its content was damaged, or its file has disappeared.
    Lost,
}

/// The reason that a file does not have the content of its object.
enum Fault {
    /// The content is not the one that was stored.
    Corrupt,
    /// The file cannot be opened or read.
    Unreadable(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl Object {
    /// The handle of an object that has its name.
    pub(super) fn named(shared: Arc<Shared>, digest: Digest, size: u64, number: u64) -> Self {
        Self { shared, digest, size, number, place: Mutex::new(Place::Named), changes: RwLock::new(false) }
    }

    /// An object that cannot be found. Its bytes are counted already.
    pub(super) fn unnamed(shared: Arc<Shared>, digest: Digest, size: u64, file: Option<File>) -> Self {
        let place = Mutex::new(file.map_or(Place::Lost, Place::Unnamed));
        Self { shared, digest, size, number: 0, place, changes: RwLock::new(false) }
    }

    /// The SHA-256 digest of the content.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The size of the content in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Opens the content for reading, at its beginning. The file and the memory that is mapped from it stay valid, but
    /// the limit of the cache counts them only as long as the object is held.
    ///
    /// # Errors
    ///
    /// If the content was damaged or removed by others, or cannot be read. Then the original must be read.
    pub fn file(&self) -> io::Result<File> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Place::Unnamed(file) => return reopened(file),
            Place::Lost => return Err(lost()),
            Place::Named => {}
        }
        match self.confirmed() {
            Ok(file) => return Ok(file),
            Err(Fault::Corrupt) => self.shared.lock().count_corrupt(),
            Err(Fault::Unreadable(error)) if is_gone(&error) => {}
            // For example, too many files are open. The object itself may be in order.
            Err(Fault::Unreadable(error)) => return Err(error),
        }
        self.shared.remove(&self.digest, self.number);
        *place = Place::Lost;
        Err(lost())
    }

    /// Whether the object can be found, and this file, which was opened before, is unchanged since it was verified.
    pub(in crate::spindle) fn is_intact(&self, file: &File) -> bool {
        let is_named = matches!(*self.place.lock().unwrap_or_else(PoisonError::into_inner), Place::Named);
        is_named && self.mark(file).is_ok_and(|mark| self.shared.lock().mark(&self.digest) == Some(mark))
    }

    /// Opens the file and verifies its content, unless its attributes show that nobody has changed it since that was
    /// done last.
    fn confirmed(&self) -> Result<File, Fault> {
        // Opening a fifo that somebody has put there must not wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let name = self.digest.to_string();
        let file = rustix::fs::openat(&self.shared.place.directory, name, flags, Mode::empty());
        let file = File::from(file.map_err(io::Error::from)?);
        let mark = self.mark(&file)?;
        if self.shared.lock().mark(&self.digest) == Some(mark) {
            return Ok(file);
        }
        if digest_of(&file, self.size)? != Some(self.digest) || self.mark(&file)? != mark {
            return Err(Fault::Corrupt);
        }
        self.shared.lock().set_mark(&self.digest, mark);
        Ok(file)
    }

    fn mark(&self, file: &File) -> Result<FileMark, Fault> {
        let stat = layout::look(file, b"")?;
        let is_possible = layout::is_regular(&stat) && stat.stx_size == self.size;
        if is_possible { Ok(FileMark::of(&stat)) } else { Err(Fault::Corrupt) }
    }

    /// Whether the content follows a file that changes. It does not begin to as long as the result is held.
    pub(in crate::spindle) fn change(&self) -> RwLockReadGuard<'_, bool> {
        self.changes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the object's name, so that it is not found any more. Its holders can still read it.
    pub(in crate::spindle) fn detach(&self) {
        *self.changes.write().unwrap_or_else(PoisonError::into_inner) = true;
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*place, Place::Named) {
            return;
        }
        let file = self.confirmed().ok();
        self.shared.remove(&self.digest, self.number);
        *place = file.map_or(Place::Lost, Place::Unnamed);
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let place = self.place.get_mut().unwrap_or_else(PoisonError::into_inner);
        if matches!(place, Place::Named) {
            self.shared.lock().release(&self.digest, self.number);
        } else {
            // The file system frees the bytes when the last descriptor is closed.
            *place = Place::Lost;
            self.shared.free(self.size);
        }
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the object was removed from the cache or damaged")
}

/// Whether an error shows that the file is missing, or that another kind of file has its name.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ELOOP | libc::EISDIR | libc::ENXIO | libc::EIO))
}

/// Opens a file that has no name again, because a copy of a descriptor would share its position and its rights. Without
/// `/proc`, it is a copy.
fn reopened(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => Ok(opened.into()),
        Err(_) => file.try_clone(),
    }
}

/// Computes the digest of a file. Returns `None` if the file does not have this size.
fn digest_of(file: &File, size: u64) -> io::Result<Option<Digest>> {
    let mut buffer = vec![0; PIECE];
    let mut hasher = Sha256::new();
    let mut position = 0;
    loop {
        match file.read_at(&mut buffer, position) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if position > size {
            return Ok(None);
        }
    }
    Ok((position == size).then(|| Digest::finish(hasher)))
}
