//! Reads files that other users may change at the same time.
//!
//! A file that only root can write is mapped, and its pages are read on demand. For any other file, the needed
//! parts are copied into memory once. Its owner may truncate or rewrite it meanwhile. The result is then an
//! error or a mixture of old and new bytes, but never a signal, and no byte changes after it was examined.
//!
//! For an object, the needed parts are those that the loader reads, usually a fifth of the file. They are found
//! step by step: the headers lead to the dynamic section, which leads to the tables ([`elf::outline`]). The
//! copy is complete if [`elf::ranges`] leads to copied parts only.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use bytes::Bytes;

use crate::elf;
use crate::script;

/// The most bytes that are copied of one file.
pub const MOST_COPIED: u64 = 256 << 20;
/// The longest file of which parts are copied.
const LONGEST: u64 = 64 << 30;
/// A file up to this length is copied as a whole.
const SMALL: u64 = 128 << 10;
/// The smallest number of bytes that are copied at once.
const BLOCK: usize = 16 << 10;
/// The most times that parts may lead to other parts. Objects of common linkers take four rounds.
const ROUNDS: usize = 16;
/// The number of bytes that are read of a script or of a file that is not an object.
const HEAD: u64 = 4096;

/// Local file systems, by `f_type` of statfs(2). Only users with write permission can change their files. On
/// other file systems (FUSE, NFS and other network file systems, shares of a hypervisor), the server can also
/// change files.
const LOCAL: [rustix::fs::FsWord; 13] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x794c_7630, // overlayfs
    0x7371_7368, // SquashFS
    0xe0f5_e1e2, // EROFS
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0x3153_464a, // JFS
    0x9660,      // ISO 9660
];

/// Returns the content of an object's file for [`elf::Object::parse`]. `name` is the name of the file: loaders
/// and C libraries are read as a whole. If it is not an object, the result is its beginning.
///
/// # Errors
///
/// If it cannot be read, or if more than [`MOST_COPIED`] bytes would have to be copied.
pub fn object(file: &File, name: &[u8]) -> io::Result<Bytes> {
    let metadata = file.metadata()?;
    if only_root_changes(file, &metadata) {
        return compat_sys::map(file);
    }
    if metadata.len() > SMALL {
        let mut magic = [0; 4];
        file.read_exact_at(&mut magic, 0)?;
        if magic != *b"\x7fELF" {
            return copy(file, HEAD);
        }
        return copy_object(file, metadata.len(), name);
    }
    copy(file, metadata.len())
}

/// Returns the whole content of a file, or the beginning of a script.
///
/// # Errors
///
/// If it cannot be read, or if it has to be copied and is longer than [`MOST_COPIED`].
pub fn whole(file: &File) -> io::Result<Bytes> {
    let metadata = file.metadata()?;
    if only_root_changes(file, &metadata) {
        return compat_sys::map(file);
    }
    let head = copy(file, metadata.len().min(HEAD))?;
    if head.starts_with(b"#!") {
        return copy(file, metadata.len().min(script::LONGEST as u64 + 1));
    }
    if head.len() as u64 == metadata.len() {
        return Ok(head);
    }
    if metadata.len() > MOST_COPIED {
        return Err(too_large(metadata.len()));
    }
    copy(file, metadata.len())
}

/// Whether only root can change the file. If the group's write bit is clear, no ACL grants write permission
/// either: that bit is the ACL's mask.
fn only_root_changes(file: &File, metadata: &Metadata) -> bool {
    let is_roots = metadata.is_file() && metadata.uid() == 0 && metadata.mode() & 0o022 == 0;
    is_roots && rustix::fs::fstatfs(file).is_ok_and(|system| LOCAL.contains(&system.f_type))
}

fn too_large(length: u64) -> io::Error {
    io::Error::other(format!(
        "it has {length} bytes, and at most {} MiB are read of a file that users other than root can change",
        MOST_COPIED >> 20
    ))
}

fn copy(file: &File, length: u64) -> io::Result<Bytes> {
    compat_sys::zeroed(length as usize, |bytes| read_at(file, bytes, 0))
}

/// Reads all of `bytes`.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("it was truncated while it was read"),
        _ => error,
    })
}

fn copy_object(file: &File, length: u64, name: &[u8]) -> io::Result<Bytes> {
    if length > LONGEST {
        return Err(too_large(length));
    }
    let length = length as usize;
    let mut parts = Parts { file, there: vec![false; length.div_ceil(BLOCK)], copied: 0, length };
    let mut bytes = compat_sys::zeroed(length, |bytes| {
        for _ in 0..ROUNDS {
            if !parts.add(bytes, &elf::outline(bytes))? {
                break;
            }
        }
        Ok(())
    })?;
    for round in 0.. {
        let all = round >= ROUNDS || elf::is_searched(name, &bytes);
        let wanted = if all { std::iter::once(0..length).collect() } else { elf::ranges(&bytes) };
        if parts.has(&wanted) {
            break;
        }
        bytes = compat_sys::zeroed(length, |copy| {
            parts.take_over(copy, &bytes);
            parts.add(copy, &wanted).map(|_| ())
        })?;
    }
    Ok(bytes)
}

/// The blocks of a file that have been copied.
struct Parts<'a> {
    file: &'a File,
    there: Vec<bool>,
    copied: u64,
    length: usize,
}

impl Parts<'_> {
    fn blocks(range: &Range<usize>) -> Range<usize> {
        range.start / BLOCK..range.end.div_ceil(BLOCK)
    }

    fn has(&self, ranges: &[Range<usize>]) -> bool {
        ranges.iter().all(|range| self.there[Self::blocks(range)].iter().all(|there| *there))
    }

    /// Copies the missing parts of these ranges. Returns whether any part was missing.
    fn add(&mut self, bytes: &mut [u8], ranges: &[Range<usize>]) -> io::Result<bool> {
        let mut added = false;
        for range in ranges {
            let mut blocks = Self::blocks(range);
            while let Some(start) = blocks.find(|block| !self.there[*block]) {
                let end = (start..blocks.end).find(|block| self.there[*block]).unwrap_or(blocks.end);
                let place = start * BLOCK..(end * BLOCK).min(self.length);
                self.copied += place.len() as u64;
                if self.copied > MOST_COPIED {
                    return Err(too_large(self.length as u64));
                }
                read_at(self.file, &mut bytes[place.clone()], place.start as u64)?;
                self.there[start..end].fill(true);
                added = true;
            }
        }
        Ok(added)
    }

    /// Takes over the blocks of an earlier copy.
    fn take_over(&self, bytes: &mut [u8], earlier: &[u8]) {
        for (block, _) in self.there.iter().enumerate().filter(|(_, there)| **there) {
            let place = block * BLOCK..((block + 1) * BLOCK).min(self.length);
            bytes[place.clone()].copy_from_slice(&earlier[place]);
        }
    }
}

#[cfg(test)]
mod tests;
