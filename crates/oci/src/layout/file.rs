//! Files of a layout: bounded reads, atomic writes and the lock.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::blob::BlobReader;
use crate::error::{Error, Result};
use compat_sys::Temporary;

/// The maximum time to wait for the lock of a layout.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);
/// The number of bytes of a blob that are read at once.
const PIECE: usize = 256 << 10;

/// Reads a file. Returns `None` if it does not exist.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match compat_sys::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { what: path.display().to_string(), limit });
    }
    Ok(Some(bytes))
}

/// Opens a file as a stream. Returns `None` if it does not exist.
pub(super) fn stream(path: &Path) -> Result<Option<BlobReader>> {
    let file = match compat_sys::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let state = (file, path.to_owned());
    Ok(Some(Box::pin(futures_util::stream::try_unfold(state, |(mut file, path)| async move {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).map_err(Error::io("read", &path))?;
        piece.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(piece), (file, path))))
    }))))
}

/// Writes a file atomically: readers see the old or the new content, never a part. The content survives a
/// crash once the function has returned.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut temporary = temporary(directory)?;
    temporary.write_all(bytes).map_err(Error::io("write", path))?;
    persist(temporary, path)
}

/// Creates a temporary file in a directory. Its final permissions depend on umask.
pub(super) fn temporary(directory: &Path) -> Result<Temporary> {
    Temporary::new(directory).map_err(Error::io("write in", directory))
}

/// Flushes a temporary file and renames it.
pub(super) fn persist(temporary: Temporary, path: &Path) -> Result<()> {
    temporary.as_file().sync_data().map_err(Error::io("write", path))?;
    temporary.persist(path).map_err(Error::io("write", path))?;
    // The name is durable once the directory is. A file system without this guarantee has nothing better.
    if let Some(directory) = path.parent().and_then(|directory| File::open(directory).ok()) {
        let _ = directory.sync_all();
    }
    Ok(())
}

/// An exclusive lock, held until dropped.
pub(super) struct Lock {
    _file: File,
}

/// Takes the lock of a layout. It waits in short sleeps, because another task of this thread may hold the
/// lock.
pub(super) async fn lock(path: &Path) -> Result<Lock> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        // A pipe in place of the file would block until it has a reader.
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(path)
        .map_err(Error::io("lock", path))?;
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(Errno::WOULDBLOCK | Errno::INTR) if start.elapsed() < LOCK_DEADLINE => {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(2..=12))).await;
            }
            Err(error) => return Err(Error::io("lock", path)(error.into())),
        }
    }
}
