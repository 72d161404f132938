//! The bytes of files that others may change while they are looked at.
//!
//! A file that only root can write is mapped: its pages are read as they are needed. Of every other file the
//! parts that are needed are copied into memory once. Its owner may truncate or rewrite it meanwhile, which
//! gives an error or a mixture of old and new bytes, but never a signal, and no byte that changes after
//! it was looked at.
//!
//! Of an object the parts are those that the loader reads, a fifth of the file as a rule. What they are is
//! told by what has been copied so far: the headers lead to the dynamic section, that to the tables
//! ([`elf::outline`]), and in the end [`elf::ranges`] must lead nowhere that has not been copied.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use bytes::Bytes;

use crate::elf;
use crate::script;

/// The most that is copied of one file.
pub const MOST_COPIED: u64 = 256 << 20;
/// The longest file that parts are copied of.
const LONGEST: u64 = 64 << 30;
/// A file up to this length is copied as a whole.
const SMALL: u64 = 128 << 10;
/// How much is copied at once at the least.
const BLOCK: usize = 16 << 10;
/// How often the parts may lead to others. Objects as linkers make them take four rounds.
const ROUNDS: usize = 16;
/// How much is read of a file that turns out to be a script or no object.
const HEAD: u64 = 4096;

/// Local file systems, by `f_type` of statfs(2): on these nobody but who may write a file changes what is in
/// it. On the others (FUSE, NFS and other network file systems, what a hypervisor shares) whoever serves
/// it does.
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

/// The content of an object's file as [`elf::Object::parse`] reads it. `name` is the file's: loaders and C
/// libraries are there as a whole. Of what is no object there is the beginning.
///
/// # Errors
///
/// If it cannot be read, or more of it would have to be copied than [`MOST_COPIED`].
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

/// The content of a file as a whole; of a script its beginning.
///
/// # Errors
///
/// If it cannot be read, or has to be copied and is longer than [`MOST_COPIED`].
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

/// Whether nobody but root can change the file. With the group's write bit clear no ACL lets anybody
/// write either: that bit is the ACL's mask then.
fn only_root_changes(file: &File, metadata: &Metadata) -> bool {
    let is_roots = metadata.is_file() && metadata.uid() == 0 && metadata.mode() & 0o022 == 0;
    is_roots && rustix::fs::fstatfs(file).is_ok_and(|system| LOCAL.contains(&system.f_type))
}

fn too_large(length: u64) -> io::Error {
    io::Error::other(format!(
        "others than root can change it, and of such a file no more than {} MiB are read; it has {length} bytes",
        MOST_COPIED >> 20
    ))
}

fn copy(file: &File, length: u64) -> io::Result<Bytes> {
    compat_sys::zeroed(length as usize, |bytes| read_at(file, bytes, 0))
}

/// Reads all of `bytes`.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("it became shorter while it was read"),
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

/// Which blocks of a file have been copied.
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

    /// Copies what is missing of these ranges; says whether anything was.
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

    /// Copies what is there already from an earlier copy.
    fn take_over(&self, bytes: &mut [u8], earlier: &[u8]) {
        for (block, _) in self.there.iter().enumerate().filter(|(_, there)| **there) {
            let place = block * BLOCK..((block + 1) * BLOCK).min(self.length);
            bytes[place.clone()].copy_from_slice(&earlier[place]);
        }
    }
}

#[cfg(test)]
mod tests;
