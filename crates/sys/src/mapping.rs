//! Files as bytes in memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::OFlags;

/// Opens a regular file for reading. A pipe or device is an error, so that opening never waits for a writer.
///
/// # Errors
///
/// If it cannot be opened or is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    // Opening a device can have side effects.
    if !std::fs::metadata(path)?.is_file() {
        return Err(irregular());
    }
    // The path may lead to another file by now.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

/// Maps a whole file, read-only. An empty file results in no bytes.
///
/// No untrusted user may be able to change the file: a truncation kills the process with SIGBUS, and a write
/// changes bytes that Rust treats as constant. Callers check the file's permissions (`host::Content`), or have
/// created the file themselves.
///
/// # Errors
///
/// If the file cannot be mapped.
pub fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read-only, so this process never writes through it. The caller ensures
    // that only root or this process can change the file, and neither writes into objects in place. Every
    // reader of these bytes also checks bounds.
    let mapping = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(mapping))
}

/// Returns bytes of a given length that are zero except for the bytes that `fill` writes. They are in an
/// anonymous mapping: untouched pages take no memory, and no memory is reserved for them.
///
/// # Errors
///
/// If the address space is exhausted, or `fill` fails.
pub fn zeroed(length: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Bytes> {
    if length == 0 {
        fill(&mut [])?;
        return Ok(Bytes::new());
    }
    let mut mapping = MmapOptions::new().len(length).no_reserve_swap().map_anon()?;
    fill(&mut mapping)?;
    Ok(Bytes::from_owner(mapping.make_read_only()?))
}
