//! Files mapped into memory.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::{Mmap, MmapMut};

/// Maps a whole file, read-only; an empty file gives no bytes.
///
/// The bytes are those of the file at the time they are looked at. A file that another process
/// truncates meanwhile ends this one with SIGBUS, as it would end any process that had it loaded.
///
/// # Errors
///
/// Where the file cannot be mapped.
pub fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read-only, so this process never writes through it. That
    // another process may write the file is inherent to looking at files of a running system: every
    // reader of these bytes bounds-checks what it reads and never reads a length twice.
    let mapping = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(mapping))
}

/// Bytes of a given length that are zero but for what `fill` writes. They lie in an anonymous mapping:
/// pages that nobody touches take no memory.
///
/// # Errors
///
/// Where there is no address space for them, or `fill` fails.
pub fn zeroed(length: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Bytes> {
    if length == 0 {
        fill(&mut [])?;
        return Ok(Bytes::new());
    }
    let mut mapping = MmapMut::map_anon(length)?;
    fill(&mut mapping)?;
    Ok(Bytes::from_owner(mapping.make_read_only()?))
}
