//! Files as bytes in memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::OFlags;

/// Opens a regular file for reading. A pipe or device is an error: no opening waits for a writer.
///
/// # Errors
///
/// If it cannot be opened or is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    // To open a device can do something to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(irregular());
    }
    // It may be another one by now.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

/// Maps a whole file, read-only; an empty file gives no bytes.
///
/// The file must be one that nobody changes who is not trusted with this process: a truncation ends the
/// process with SIGBUS, and a write changes bytes that are taken to be constant. Callers ask the file
/// who may (`host::Content`), or have just made it themselves.
///
/// # Errors
///
/// If the file cannot be mapped.
pub fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read-only, so this process never writes through it, and the
    // caller answers for the file: only root or this process can change it, and neither writes into
    // objects in place. Every reader of these bytes bounds-checks all the same.
    let mapping = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(mapping))
}

/// Bytes of a given length that are zero but for what `fill` writes. They lie in an anonymous mapping:
/// pages that nobody touches take no memory, and none is reserved for them.
///
/// # Errors
///
/// If there is no address space for them, or `fill` fails.
pub fn zeroed(length: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Bytes> {
    if length == 0 {
        fill(&mut [])?;
        return Ok(Bytes::new());
    }
    let mut mapping = MmapOptions::new().len(length).no_reserve_swap().map_anon()?;
    fill(&mut mapping)?;
    Ok(Bytes::from_owner(mapping.make_read_only()?))
}
