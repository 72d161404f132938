//! The state that the store shares with its objects.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::digest::Digest;
use super::error::Refusal;
use super::layout::LockedDirectory;
use super::ledger::{Ledger, Reservation};
use super::object::Object;

/// The directory of a run and its ledger.
///
/// The lock of the ledger is held while a file gets or loses its name, so that names and ledger always agree. It is
/// never held while content is read, written or freed. An object must not be dropped under it.
#[derive(Debug)]
pub(super) struct Shared {
    pub place: LockedDirectory,
    ledger: Mutex<Ledger<Object>>,
    /// Is notified when bytes were freed.
    freed: Condvar,
    names: AtomicU64,
}

impl Shared {
    pub(super) fn new(place: LockedDirectory, ledger: Ledger<Object>) -> Self {
        Self { place, ledger: Mutex::new(ledger), freed: Condvar::new(), names: AtomicU64::new(0) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger<Object>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a temporary name. Only this run creates files in the directory.
    pub(super) fn next_name(&self) -> u64 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }

    /// Reserves space for a content, and evicts unused objects for it.
    pub(super) fn reserve(&self, size: u64) -> Result<(), Refusal> {
        let mut ledger = self.lock();
        loop {
            match ledger.reserve(size) {
                Reservation::Made => return Ok(()),
                Reservation::Refused => return Err(Refusal::Full),
                Reservation::AfterOthers => {
                    ledger = self.freed.wait(ledger).unwrap_or_else(PoisonError::into_inner);
                }
                Reservation::AfterEvicting(digest, size) => {
                    ledger = self.evict(ledger, digest, size).map_err(Refusal::Failed)?;
                }
            }
        }
    }

    /// Removes objects until they do not exceed the limit.
    pub(super) fn shrink_to_limit(&self) -> io::Result<()> {
        let mut ledger = self.lock();
        while let Some((digest, size)) = ledger.evict_above_limit() {
            ledger = self.evict(ledger, digest, size)?;
        }
        Ok(())
    }

    fn evict<'a>(
        &'a self,
        mut ledger: MutexGuard<'a, Ledger<Object>>,
        digest: Digest,
        size: u64,
    ) -> io::Result<MutexGuard<'a, Ledger<Object>>> {
        match self.unlink(&digest) {
            Ok(file) => {
                drop(ledger);
                // Closing the last descriptor frees the content, which takes time.
                drop(file);
                ledger = self.lock();
                ledger.evicted(size);
                self.freed.notify_all();
                Ok(ledger)
            }
            Err(error) => {
                ledger.not_evicted(digest, size);
                self.freed.notify_all();
                Err(error)
            }
        }
    }

    /// Removes the name of an object. The returned descriptor keeps the content.
    pub(super) fn unlink(&self, digest: &Digest) -> io::Result<Option<OwnedFd>> {
        let (directory, name) = (&self.place.directory, digest.to_string());
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, &name, flags, Mode::empty()).ok();
        match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(file),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets an object that is held under this number, and removes its name. Its bytes count until they are freed.
    pub(super) fn remove(&self, digest: &Digest, number: u64) {
        let mut ledger = self.lock();
        if ledger.forget(digest, number) {
            let file = self.unlink(digest);
            drop(ledger);
            drop(file);
        }
    }

    /// Notes that the bytes of a file without a name were freed.
    pub(super) fn free(&self, size: u64) {
        self.lock().free(size);
        self.freed.notify_all();
    }

    /// Finds an object by its digest.
    pub(super) fn get(shared: &Arc<Self>, digest: &Digest) -> Option<Arc<Object>> {
        let handle = |number, size| Arc::new(Object::named(Arc::clone(shared), *digest, size, number));
        // The lock is released before the object is used or dropped.
        let object = shared.lock().hold(digest, handle)?;
        let file: Option<File> = object.file().ok();
        file.is_some().then_some(object)
    }
}
