//! Contents on the node's disk, named by their SHA-256 digest, within a limit.
//!
//! # Layout
//!
//! `layout` describes the directory. A run has a directory of its own, which is removed at the end. With
//! [`StoreOptions::keep`], the objects stay for the next run, in a directory that only one run uses at a time. The lock
//! of a directory shows whether its run is alive, so the next start removes all that a killed run has left.
//!
//! # Bounds
//!
//! The space for a content is reserved before it is written, in blocks of the file system. It counts until it is freed,
//! even if the file has lost its name. Unused objects are evicted, the least recently used first. Objects in use are
//! never evicted.
//!
//! # Integrity
//!
//! A content becomes an object by a rename, after its last byte was written. [`Store::get`] and [`Object::file`] compare
//! the attributes of the file with those that it had when its digest was computed. If they differ, or if an earlier
//! run has written the file, the digest is computed again. A damaged object is removed, and the original is read.
//! So a change that leaves the attributes as they are, such as a fault of the disk, is noticed in the next run.
//!
//! # Rights
//!
//! The directory is private to this user. It is opened once and then reached through its descriptor, without following
//! links. All functions must be called with the credentials of the process that opened the store, not with those of a
//! caller of the mirror.

mod digest;
mod error;
mod layout;
mod ledger;
mod new_object;
mod object;
mod shared;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::CWD;
use rustix::process::geteuid;

pub use digest::Digest;
pub use error::{Refusal, StoreError};
use layout::LockedDirectory;
use ledger::Ledger;
pub use new_object::NewObject;
pub use object::Object;
use shared::Shared;

use crate::enter::private_directory;

/// The least default limit, if half of the free space is not less: 64 MiB.
const LEAST: u64 = 64 << 20;

/// The place and the size of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// The directory. It is created if it does not exist. By default, it is `compat-spindle-UID` in `$TMPDIR`, or in
    /// `/tmp` if that does not work.
    pub directory: Option<PathBuf>,
    /// The most bytes on the disk. By default, a tenth of the free space.
    pub limit: Option<u64>,
    /// Whether the objects stay for the next run.
    pub keep: bool,
}

/// Numbers about a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The bytes on the disk, in blocks of the file system, including contents that are being written.
    pub bytes: u64,
    /// The most bytes on the disk.
    pub limit: u64,
    /// The number of objects that can be found.
    pub objects: usize,
    /// The number of objects that were removed to make room.
    pub evictions: u64,
    /// The number of objects that were removed because they were damaged.
    pub corrupt: u64,
}

/// The contents in a cache. All functions can be called from many threads.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    path: PathBuf,
    is_kept: bool,
    /// The process that opened the store. A forked copy that is dropped removes nothing.
    owner: u32,
}

impl Store {
    /// Opens a cache, and removes the contents of runs that were killed.
    ///
    /// # Errors
    ///
    /// If the directory is not private to this user, or not writable.
    pub fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let (path, base) = open_base(options)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::of(&path, source)
        };
        layout::remove_dead(&base);
        let kept = if options.keep {
            LockedDirectory::kept(&base).map_err(failed(&path.join(layout::KEPT)))?
        } else {
            None
        };
        let is_kept = kept.is_some();
        let place = match kept {
            Some(kept) => kept,
            None => LockedDirectory::for_run(&base).map_err(failed(&path))?,
        };
        let shared = Self::take_over(place, options.limit).map_err(failed(&path))?;
        Ok(Self { shared: Arc::new(shared), path, is_kept, owner: std::process::id() })
    }

    /// Counts the objects in a directory, and removes those above the limit.
    fn take_over(place: LockedDirectory, limit: Option<u64>) -> std::io::Result<Shared> {
        place.remove_unfinished();
        let objects = place.objects()?;
        let space = rustix::fs::fstatvfs(&place.directory)?;
        let present = objects.iter().map(|(_, size)| *size).fold(0, u64::saturating_add);
        let free = space.f_bavail.saturating_mul(space.f_frsize).saturating_add(present);
        let limit = limit.unwrap_or_else(|| default_limit(free, space.f_blocks > 0));
        let mut ledger = Ledger::new(limit, space.f_frsize);
        let mut left_out = Vec::new();
        for (digest, size) in objects {
            if !ledger.take_over(digest, size) {
                left_out.push(digest);
            }
        }
        let shared = Shared::new(place, ledger);
        for digest in left_out {
            drop(shared.unlink(&digest)?);
        }
        shared.shrink_to_limit()?;
        Ok(shared)
    }

    /// Reserves space for a content of `size` bytes and begins it. Unused objects are evicted if necessary.
    ///
    /// # Errors
    ///
    /// If the objects in use leave too little space, or if the file cannot be created.
    pub fn begin(&self, size: u64) -> Result<NewObject, Refusal> {
        self.shared.reserve(size)?;
        NewObject::create(Arc::clone(&self.shared), size)
    }

    /// Finds an object by its digest. Its content is verified if an earlier run has written it, or if its file was
    /// changed. Several threads that ask for one object wait for one verification.
    pub fn get(&self, digest: &Digest) -> Option<Arc<Object>> {
        Shared::get(&self.shared, digest)
    }

    /// Removes an object from the cache: it is not found any more. Its holders can still read it, and its bytes count
    /// until the last of them drops it.
    pub fn detach(&self, object: &Arc<Object>) {
        object.detach();
    }

    /// Returns numbers about the cache.
    pub fn usage(&self) -> Usage {
        self.shared.lock().usage()
    }

    /// The stacking depth of the cache's file system, as FUSE passthrough counts it.
    pub(super) fn depth(&self) -> u32 {
        /// `OVERLAYFS_SUPER_MAGIC` (`linux/magic.h`).
        const OVERLAY: rustix::fs::FsWord = 0x794c_7630;
        let kind = rustix::fs::fstatfs(&self.shared.place.directory).map(|statistics| statistics.f_type);
        if kind == Ok(OVERLAY) { 2 } else { 1 }
    }

    /// The directory of the cache, which contains those of the runs.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory for the index. `None` if nothing is kept for the next run, because that was not requested or
    /// because another run uses the kept objects.
    pub fn kept(&self) -> Option<BorrowedFd<'_>> {
        self.is_kept.then(|| self.shared.place.directory.as_fd())
    }

    /// Ends the use of the cache: objects are not found any more, and nothing is stored. Unless they are kept for the
    /// next run, all files are removed. Objects that are held cannot be opened again.
    ///
    /// Dropping the store does the same, but only in the process that opened it.
    pub fn close(&self) {
        self.shared.lock().close();
        if self.is_kept {
            self.shared.place.remove_unfinished();
        } else {
            self.shared.place.remove();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            self.close();
        }
    }
}

/// Opens the directory of the cache.
fn open_base(options: &StoreOptions) -> Result<(PathBuf, OwnedFd), StoreError> {
    let made = |path: PathBuf| match private_directory::made(CWD, &path) {
        Ok(base) => Ok((path, base)),
        Err(source) => Err(StoreError::of(&path, source)),
    };
    if let Some(path) = &options.directory {
        return made(path.clone());
    }
    let temporary = std::env::var_os("TMPDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    default_in(temporary.as_deref(), Path::new("/tmp"), made)
}

/// Opens the default directory in the first place in which that is possible. Returns the error of the last place.
fn default_in<T>(
    first: Option<&Path>,
    second: &Path,
    made: impl Fn(PathBuf) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let name = format!("compat-spindle-{}", geteuid().as_raw());
    if let Some(found) = first.and_then(|first| made(first.join(&name)).ok()) {
        return Ok(found);
    }
    made(second.join(&name))
}

/// A tenth of the free bytes, but at least [`LEAST`], and at most half of them. A file system that does not report
/// its size, such as ramfs, gets [`LEAST`].
fn default_limit(free: u64, is_known: bool) -> u64 {
    if is_known { (free / 10).max(LEAST).min(free / 2) } else { LEAST }
}
