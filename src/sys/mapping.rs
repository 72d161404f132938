//! Files mapped into memory.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

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
