//! A content that is being written.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, fallocate};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::error::Refusal;
use super::layout::{self, NEW};
use super::ledger::FileMark;
use super::object::Object;
use super::shared::Shared;

/// A content that is being written to the cache. It is removed if it is dropped before [`NewObject::commit`].
///
/// It has a temporary name until it is complete, so the name of an object never leads to a part of it, however this
/// process ends. Nothing is written with fsync(2): a crash of the machine ends the run and all that it serves, and the
/// next run verifies kept objects before it uses them.
#[derive(Debug)]
pub struct NewObject {
    shared: Arc<Shared>,
    name: String,
    /// The file. `None` after its object has taken it.
    file: Option<File>,
    hasher: Sha256,
    /// The size that is reserved in the ledger.
    reserved: u64,
    written: u64,
    /// Whether the file and its bytes still belong to this content, and not to an object.
    is_own: bool,
}

impl NewObject {
    /// Creates the file for a content, for which the space is reserved in the ledger.
    pub(super) fn create(shared: Arc<Shared>, size: u64) -> Result<Self, Refusal> {
        let name = format!("{NEW}{}", shared.next_name());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Read-only for those who open it later by its name.
        let file = match rustix::fs::openat(&shared.place.directory, &name, flags, Mode::RUSR) {
            Ok(file) => File::from(file),
            Err(error) => {
                shared.free(size);
                return Err(Refusal::Failed(error.into()));
            }
        };
        let (file, hasher) = (Some(file), Sha256::new());
        let new = Self { shared, name, file, hasher, reserved: size, written: 0, is_own: true };
        // A full disk is noticed before the original is read.
        new.allocate().map_err(Refusal::Failed)?;
        Ok(new)
    }

    fn allocate(&self) -> io::Result<()> {
        if self.reserved == 0 {
            return Ok(());
        }
        match fallocate(self.as_file()?, FallocateFlags::KEEP_SIZE, 0, self.reserved) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => Err(error.into()),
            // Not every file system can do it.
            _ => Ok(()),
        }
    }

    fn as_file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("the content is complete"))
    }

    /// Appends bytes to the content.
    ///
    /// # Errors
    ///
    /// If the disk is full or fails, or if the content exceeds the size for which it was begun.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let total = self.written.saturating_add(bytes.len() as u64);
        if total > self.reserved {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the content exceeds its reserved size"));
        }
        self.as_file()?.write_all(bytes)?;
        self.hasher.update(bytes);
        self.written = total;
        Ok(())
    }

    /// Gives the content its name, so that it can be found by its digest. Returns the existing object if one has this
    /// digest already.
    ///
    /// # Errors
    ///
    /// If the file cannot get its name. No file is left then.
    pub fn commit(mut self) -> io::Result<Arc<Object>> {
        let digest = self.finish();
        loop {
            // This verifies an object of an earlier run, and removes it if it is damaged.
            if let Some(existing) = Shared::get(&self.shared, &digest) {
                return Ok(existing);
            }
            if let Some(object) = self.name_as(digest)? {
                return Ok(object);
            }
        }
    }

    /// Keeps the content without a name: it is never found, and it disappears with its last holder.
    pub fn into_unnamed(mut self) -> Arc<Object> {
        let digest = self.finish();
        let directory = &self.shared.place.directory;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let read_only = rustix::fs::openat(directory, &self.name, flags, Mode::empty());
        let _ = rustix::fs::unlinkat(directory, &self.name, AtFlags::empty());
        let file = read_only.ok().map(File::from).or_else(|| self.file.take());
        self.is_own = false;
        Arc::new(Object::unnamed(Arc::clone(&self.shared), digest, self.written, file))
    }

    /// Computes the digest, and frees the space that the content does not need.
    fn finish(&mut self) -> Digest {
        if self.written < self.reserved {
            // This removes allocated blocks behind the end. No file system refuses it to the owner of a file.
            let _ = self.file.as_ref().map(|file| file.set_len(self.written));
            self.shared.lock().shrink(self.reserved, self.written);
            self.reserved = self.written;
        }
        Digest::finish(std::mem::take(&mut self.hasher))
    }

    /// Renames the file. Returns `None` if another thread was faster.
    fn name_as(&mut self, digest: Digest) -> io::Result<Option<Arc<Object>>> {
        let mut ledger = self.shared.lock();
        if ledger.contains(&digest) {
            return Ok(None);
        }
        let directory = &self.shared.place.directory;
        rustix::fs::renameat(directory, &self.name, directory, digest.to_string())?;
        // A rename changes the attributes, so they are read after it.
        let stat = self.file.as_ref().and_then(|file| layout::look(file, b"").ok());
        let (shared, size) = (Arc::clone(&self.shared), self.reserved);
        let handle = |number| Arc::new(Object::named(shared, digest, size, number));
        let object = ledger.add(digest, size, stat.map(|stat| FileMark::of(&stat)), handle);
        drop(ledger);
        self.is_own = false;
        Ok(Some(object))
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        if self.is_own {
            let _ = rustix::fs::unlinkat(&self.shared.place.directory, &self.name, AtFlags::empty());
            // The file system frees the bytes when the last descriptor is closed.
            self.file = None;
            self.shared.free(self.reserved);
        }
    }
}
