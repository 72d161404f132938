//! Facts about the files of a share, kept for the next run.
//!
//! Each entry belongs to one file of one volume and is valid for one [`Stamp`]. The next run asks the share for the
//! stamp of a file only once, and then finds its digest, link target, extended attributes or listing here. Contents are
//! in the [`store`](super::store), which may have evicted an object whose digest is still in an entry.
//!
//! # Format
//!
//! The file `index` is in the directory of the kept objects, which only one run uses at a time. All numbers are
//! little-endian. `encoding` describes an entry.
//!
//! ```text
//! "compat-spindle-index 1\n"
//! u32                         the number of volumes
//!   3 × (u32, bytes)          file system type, source and root of a volume
//! u32, entry                  the length of an entry, and the entry, repeated
//! 32 bytes                    the SHA-256 digest of all before
//! ```
//!
//! The file gets its name when it is complete. It is not written with fsync(2): after a crash of the machine, the digest
//! shows whether it is complete. A file that is damaged or of another version is ignored, and so is an entry that
//! cannot be read.
//!
//! # Bounds
//!
//! An index has at most [`MOST_ENTRIES`] entries and [`MOST_BYTES`] bytes. The entries that have not been used for the
//! most runs give way to new ones. Entries are kept in their encoded form, and decoded when they are found.

mod encoding;
mod file;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::FileType;

pub use file::Warning;

use super::store::Digest;
use crate::mirror::Stamp;

/// The most entries of an index.
pub const MOST_ENTRIES: usize = 500_000;
/// The most bytes of all encoded entries.
pub const MOST_BYTES: usize = 64 << 20;
/// The most volumes of an index.
const MOST_VOLUMES: usize = 1000;
/// The most bytes of one encoded entry, for example of a large listing.
const MOST_OF_ONE: usize = 8 << 20;

/// The part of the entries that gives way at once. Finding the oldest ones takes a look at all.
const PORTIONS: usize = 16;

/// The identity of a volume, which stays the same when it is mounted again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeKey {
    /// The type of the file system, such as `nfs4`.
    pub kind: Vec<u8>,
    /// The source of the mount, such as `server:/export`.
    pub source: Vec<u8>,
    /// The directory of the file system that is mounted, such as `/`.
    pub root: Vec<u8>,
}

/// The known facts about a file. A fact that is absent is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The content of a regular file.
    pub content: Option<Content>,
    /// The names in a directory, without `.` and `..`.
    pub listing: Option<Vec<ListedName>>,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// The extended attributes that were asked for.
    pub attributes: Vec<ExtendedAttribute>,
}

/// The digests of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The digest of the whole content.
    Whole(Digest),
    /// The digests of its parts.
    Chunks {
        /// The size of each chunk in bytes. The last chunk may be shorter.
        size: u32,
        /// The digests of the chunks that were read.
        digests: Vec<Option<Digest>>,
    },
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedName {
    /// The name, in the bytes of the file system.
    pub name: Vec<u8>,
    /// The inode number, as the listing shows it.
    pub inode: u64,
    /// The type of the file. Some file systems do not show it.
    pub kind: FileType,
}

/// An extended attribute that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// The name, such as `security.capability`.
    pub name: Vec<u8>,
    /// The value. `None` if the file does not have the attribute.
    pub value: Option<Vec<u8>>,
}

impl Facts {
    /// Adds the older facts that are absent here.
    fn complete(&mut self, older: Self) {
        match (&mut self.content, older.content) {
            (
                Some(Content::Chunks { size, digests }),
                Some(Content::Chunks { size: old_size, digests: old }),
            ) if *size == old_size && digests.len() == old.len() => {
                digests.iter_mut().zip(old).for_each(|(digest, old)| *digest = digest.or(old));
            }
            (content @ None, old) => *content = old,
            _ => {}
        }
        self.listing = self.listing.take().or(older.listing);
        self.target = self.target.take().or(older.target);
        for old in older.attributes {
            if !self.attributes.iter().any(|attribute| attribute.name == old.name) {
                self.attributes.push(old);
            }
        }
    }
}

/// The number of a volume in its index, and the inode number of a file.
type Key = (u32, u64);

/// One encoded entry.
#[derive(Debug)]
struct Slot {
    place: Place,
    /// The number of runs since the entry was used last.
    age: AtomicU8,
}

#[derive(Debug)]
enum Place {
    /// It begins there in the loaded file and has this length.
    Loaded(u32, u32),
    /// It was recorded in this run.
    New(Box<[u8]>),
}

/// Facts about files. Finding needs no lock; recording needs one.
#[derive(Debug)]
pub struct Index {
    volumes: Vec<VolumeKey>,
    entries: HashMap<Key, Slot>,
    /// The file that was loaded.
    loaded: Vec<u8>,
    /// The bytes of all entries.
    bytes: usize,
    most_entries: usize,
    most_bytes: usize,
    /// Whether all entries were used in this run, so that none gives way.
    is_full: bool,
}

impl Index {
    /// An empty index.
    fn empty() -> Self {
        Self {
            volumes: Vec::new(),
            entries: HashMap::new(),
            loaded: Vec::new(),
            bytes: 0,
            most_entries: MOST_ENTRIES,
            most_bytes: MOST_BYTES,
            is_full: false,
        }
    }

    /// Loads the index from a directory ([`Store::kept`](super::store::Store::kept)). The index is empty if there is
    /// none or if it cannot be used, and the warning gives the reason for the latter.
    pub fn load(directory: BorrowedFd<'_>) -> (Self, Option<Warning>) {
        match file::load(directory) {
            Ok(index) => (index, None),
            Err(warning) => (Self::empty(), Some(warning)),
        }
    }

    /// Finds the facts about a file. Returns `None` if none are known for this stamp.
    pub fn find(&self, volume: &VolumeKey, stamp: &Stamp) -> Option<Facts> {
        let slot = self.entries.get(&(self.number_of(volume)?, stamp.inode))?;
        let facts = encoding::decode(self.encoded(slot), stamp)?;
        slot.age.store(0, Ordering::Relaxed);
        Some(facts)
    }

    /// Records facts about a file. Facts about the same stamp that are known already and absent in `facts` stay. The
    /// facts are left out if they are very long, or if the index is full of entries that were used in this run.
    ///
    /// The stamp must not be young ([`Stamp::is_young`]).
    pub fn record(&mut self, volume: &VolumeKey, stamp: &Stamp, mut facts: Facts) {
        if let Some(older) = self.find(volume, stamp) {
            facts.complete(older);
        }
        let Some(number) = self.number_for(volume) else { return };
        let key = (number, stamp.inode);
        self.remove(&key);
        let encoded = encoding::encode(stamp, &facts);
        if encoded.len() <= MOST_OF_ONE && self.make_room(encoded.len()) {
            self.insert(key, Place::New(encoded.into()), 0);
        }
    }

    /// Writes the index to a directory, and replaces the former one.
    ///
    /// # Errors
    ///
    /// If the file cannot be written. The former index stays then.
    pub fn save(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        file::save(self, directory)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn number_of(&self, volume: &VolumeKey) -> Option<u32> {
        let position = self.volumes.iter().position(|known| known == volume)?;
        u32::try_from(position).ok()
    }

    /// The number of a volume, which is added if it is new.
    fn number_for(&mut self, volume: &VolumeKey) -> Option<u32> {
        if let Some(number) = self.number_of(volume) {
            return Some(number);
        }
        if self.volumes.len() >= MOST_VOLUMES {
            return None;
        }
        self.volumes.push(volume.clone());
        self.number_of(volume)
    }

    fn encoded<'a>(&'a self, slot: &'a Slot) -> &'a [u8] {
        match &slot.place {
            Place::New(bytes) => bytes,
            Place::Loaded(start, length) => {
                let (start, length) = (*start as usize, *length as usize);
                self.loaded.get(start..).and_then(|rest| rest.get(..length)).unwrap_or_default()
            }
        }
    }

    fn insert(&mut self, key: Key, place: Place, age: u8) {
        let slot = Slot { place, age: AtomicU8::new(age) };
        self.bytes += self.encoded(&slot).len();
        if let Some(former) = self.entries.insert(key, slot) {
            self.bytes -= self.encoded(&former).len();
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(slot) = self.entries.remove(key) {
            self.bytes -= self.encoded(&slot).len();
        }
    }

    /// Removes the entries that have not been used for the most runs, until another one of this length fits.
    fn make_room(&mut self, length: usize) -> bool {
        loop {
            if self.entries.len() < self.most_entries && self.bytes + length <= self.most_bytes {
                return true;
            }
            if self.is_full {
                return false;
            }
            let oldest =
                self.entries.values().map(|slot| slot.age.load(Ordering::Relaxed)).max().unwrap_or(0);
            if oldest == 0 {
                self.is_full = true;
                return false;
            }
            // Not all of one age at once: some may still be used in this run.
            let mut portion = self.entries.len() / PORTIONS + 1;
            let mut slots = std::mem::take(&mut self.entries);
            slots.retain(|_, slot| {
                let goes = portion > 0 && slot.age.load(Ordering::Relaxed) == oldest;
                portion -= usize::from(goes);
                !goes
            });
            self.bytes = slots.values().map(|slot| self.encoded(slot).len()).sum();
            self.entries = slots;
        }
    }
}
