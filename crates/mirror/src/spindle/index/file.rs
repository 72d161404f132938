//! The file of an index: see the description of the format in the parent module.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::encoding::{self, Reader};
use super::{Index, MOST_ENTRIES, MOST_VOLUMES, Place, VolumeKey};

/// The name of the file.
const NAME: &str = "index";
/// Its name until it is complete. The store removes a file with such a name at its next start.
const TEMPORARY: &str = "new-index";
/// The beginning of the file, with the version of its format.
const MAGIC: &[u8] = b"compat-spindle-index 1\n";
/// The size of a SHA-256 digest.
const DIGEST: usize = 32;
/// The bytes beside the encoded entries: their lengths, and the names of volumes.
const MOST_OF_REST: usize = MOST_ENTRIES * ENTRY_HEADER + (8 << 20);
/// The bytes before an entry: its length, the number of its volume and its age.
const ENTRY_HEADER: usize = 9;

/// The reason that the facts of earlier runs are not used. They are collected again.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// The file is damaged or of another version.
    #[error("the facts of earlier runs in the cache are not used: the file {NAME:?} {0}")]
    Unusable(&'static str),
    /// The file cannot be read.
    #[error("the facts of earlier runs in the cache are not used: cannot read the file {NAME:?}")]
    Unreadable(#[source] io::Error),
}

/// Loads an index. It is empty if the file does not exist.
pub(super) fn load(directory: BorrowedFd<'_>) -> Result<Index, Warning> {
    let mut index = Index::empty();
    // Opening a fifo must not wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(directory, NAME, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(index),
        Err(error) => return Err(Warning::Unreadable(error.into())),
    };
    let loaded = read(&file, index.most_bytes + MOST_OF_REST)?;
    let entries = parse(&loaded, &mut index.volumes)?;
    index.loaded = loaded;
    index.entries.reserve(entries.len());
    for entry in entries {
        if index.make_room(entry.length as usize) {
            index.insert((entry.volume, entry.inode), Place::Loaded(entry.start, entry.length), entry.age);
        }
    }
    Ok(index)
}

fn read(file: &File, most: usize) -> Result<Vec<u8>, Warning> {
    let stat = rustix::fs::fstat(file).map_err(|error| Warning::Unreadable(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Warning::Unusable("is not a regular file"));
    }
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > most {
        return Err(Warning::Unusable("is too large"));
    }
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(most as u64).read_to_end(&mut bytes).map_err(Warning::Unreadable)?;
    Ok(bytes)
}

/// The place of an entry in the file.
struct EntryPlace {
    volume: u32,
    inode: u64,
    age: u8,
    start: u32,
    length: u32,
}

/// Checks a file, and finds its volumes and the places of its entries.
fn parse(bytes: &[u8], volumes: &mut Vec<VolumeKey>) -> Result<Vec<EntryPlace>, Warning> {
    if !bytes.starts_with(MAGIC) {
        return Err(Warning::Unusable("is of another version"));
    }
    let damaged = || Warning::Unusable("is damaged");
    let (body, digest) = bytes.split_last_chunk::<DIGEST>().ok_or_else(damaged)?;
    if Sha256::digest(body)[..] != digest[..] {
        return Err(damaged());
    }
    let mut reader = Reader(body.get(MAGIC.len()..).unwrap_or_default());
    *volumes = volumes_of(&mut reader).ok_or_else(damaged)?;
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let entry = entry_of(&mut reader, body.len(), volumes.len()).ok_or_else(damaged)?;
        entries.push(entry);
    }
    Ok(entries)
}

fn volumes_of(reader: &mut Reader<'_>) -> Option<Vec<VolumeKey>> {
    let count = reader.u32()? as usize;
    if count > MOST_VOLUMES {
        return None;
    }
    let mut text = || reader.bytes().map(<[u8]>::to_vec);
    (0..count).map(|_| Some(VolumeKey { kind: text()?, source: text()?, root: text()? })).collect()
}

fn entry_of(reader: &mut Reader<'_>, end: usize, volumes: usize) -> Option<EntryPlace> {
    let (length, volume, age) = (reader.u32()?, reader.u32()?, reader.u8()?);
    let start = u32::try_from(end - reader.0.len()).ok()?;
    let inode = encoding::inode_of(reader.take(length as usize)?)?;
    // An entry that was not used in the last run either is a run older now.
    let age = age.saturating_add(1);
    ((volume as usize) < volumes).then_some(EntryPlace { volume, inode, age, start, length })
}

/// Writes an index under its temporary name and renames it.
pub(super) fn save(index: &Index, directory: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, TEMPORARY, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?;
    let outcome = write(index, File::from(file))
        .and_then(|()| Ok(rustix::fs::renameat(directory, TEMPORARY, directory, NAME)?));
    if outcome.is_err() {
        let _ = rustix::fs::unlinkat(directory, TEMPORARY, AtFlags::empty());
    }
    outcome
}

fn write(index: &Index, file: File) -> io::Result<()> {
    let mut out = Hashed { out: BufWriter::with_capacity(256 << 10, file), hasher: Sha256::new() };
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&(index.volumes.len() as u32).to_le_bytes());
    for volume in &index.volumes {
        for text in [&volume.kind, &volume.source, &volume.root] {
            encoding::put_bytes(&mut header, text);
        }
    }
    out.write(&header)?;
    for ((volume, _), slot) in &index.entries {
        let entry = index.encoded(slot);
        let mut header = [0; ENTRY_HEADER];
        header[..4].copy_from_slice(&(entry.len() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&volume.to_le_bytes());
        header[8] = slot.age.load(Ordering::Relaxed);
        out.write(&header)?;
        out.write(entry)?;
    }
    let digest = out.hasher.finalize();
    out.out.write_all(&digest)?;
    out.out.flush()
}

/// Writes bytes and computes their digest.
struct Hashed {
    out: BufWriter<File>,
    hasher: Sha256,
}

impl Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}
