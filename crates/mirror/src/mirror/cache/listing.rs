//! The names in a directory, as the share listed them.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::RawDir;
use rustix::io::Errno;

/// The largest directory whose listing is kept, in entries. Names in a larger one are looked up one by one.
const MOST: usize = 65_536;

/// The names in a directory in the order of the share, with `.` and `..`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// All names, one after the other.
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// The numbers of the entries, sorted by name.
    sorted: Vec<u32>,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The name, in bytes.
    pub name: &'a [u8],
    /// The inode number.
    pub inode: u64,
    /// The type bits of the mode (`S_IFMT`), or 0 if the file system does not show them.
    pub kind: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    inode: u64,
    start: u32,
    length: u16,
    /// The type as in `d_type` (readdir(3)).
    kind: u8,
}

impl Listing {
    /// Creates a listing from entries in order. Returns `None` if there are too many.
    pub fn new<'a>(entries: impl IntoIterator<Item = Listed<'a>>) -> Option<Self> {
        let mut listing = Self::default();
        for entry in entries {
            listing.add(entry)?;
        }
        listing.sort();
        Some(listing)
    }

    /// Returns the listing with `.` and `..`, which have these inode numbers, before its entries.
    pub(in crate::mirror) fn with_dots(&self, own: u64, parent: u64) -> Option<Self> {
        let dot = |name, inode| Listed { name, inode, kind: libc::S_IFDIR };
        Self::new([dot(b".".as_slice(), own), dot(b"..", parent)].into_iter().chain(self.entries()))
    }

    /// Reads an open directory from its start. Returns `None` if it has too many entries.
    ///
    /// # Errors
    ///
    /// If getdents64(2) fails.
    pub(in crate::mirror) fn read(directory: &OwnedFd) -> Result<Option<Self>, Errno> {
        let mut listing = Self::default();
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let (name, kind) = (entry.file_name().to_bytes(), entry.file_type().as_raw_mode());
            if listing.add(Listed { name, inode: entry.ino(), kind }).is_none() {
                return Ok(None);
            }
        }
        listing.sort();
        Ok(Some(listing))
    }

    fn add(&mut self, entry: Listed<'_>) -> Option<()> {
        let start = u32::try_from(self.names.len()).ok()?;
        let length = u16::try_from(entry.name.len()).ok()?;
        if self.entries.len() >= MOST {
            return None;
        }
        self.names.extend_from_slice(entry.name);
        self.entries.push(Entry { inode: entry.inode, start, length, kind: (entry.kind >> 12) as u8 });
        Some(())
    }

    fn sort(&mut self) {
        let mut sorted: Vec<u32> = (0..self.entries.len() as u32).collect();
        sorted.sort_unstable_by_key(|number| self.name(&self.entries[*number as usize]));
        self.sorted = sorted;
        self.names.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        &self.names[start..start + usize::from(entry.length)]
    }

    fn listed(&self, entry: &Entry) -> Listed<'_> {
        Listed { name: self.name(entry), inode: entry.inode, kind: u32::from(entry.kind) << 12 }
    }

    /// Returns the entry with this name.
    pub fn find(&self, name: &[u8]) -> Option<Listed<'_>> {
        let at = self.sorted.binary_search_by_key(&name, |number| self.name(&self.entries[*number as usize]));
        at.ok().map(|at| self.listed(&self.entries[self.sorted[at] as usize]))
    }

    /// Returns the entry at a place of the order.
    pub fn get(&self, place: usize) -> Option<Listed<'_>> {
        self.entries.get(place).map(|entry| self.listed(entry))
    }

    /// Returns the entries in order.
    pub fn entries(&self) -> impl Iterator<Item = Listed<'_>> {
        self.entries.iter().map(|entry| self.listed(entry))
    }

    /// Returns the number of entries, with `.` and `..`.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry, not even `.`.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    fn listed(name: &[u8], inode: u64) -> Listed<'_> {
        Listed { name, inode, kind: libc::S_IFREG }
    }

    #[test]
    fn a_real_directory_is_listed_in_its_order_and_found_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["b", "a", "c c"] {
            std::fs::write(directory.path().join(name), "").expect("a file");
        }
        std::fs::create_dir(directory.path().join("d")).expect("a directory");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(directory.path(), flags, Mode::empty()).expect("it is there");
        let listing = Listing::read(&open).expect("it is readable").expect("it is small");
        assert_eq!(listing.len(), 6, "with . and ..");
        assert_eq!(listing.find(b"c c").map(|entry| entry.kind), Some(libc::S_IFREG));
        assert_eq!(listing.find(b"d").map(|entry| entry.kind), Some(libc::S_IFDIR));
        assert!(listing.find(b"e").is_none() && listing.find(b"").is_none() && listing.find(b"c").is_none());
        let again = Listing::new(listing.entries()).expect("it is small");
        assert_eq!(again, listing);
        assert_eq!(listing.get(0), listing.entries().next());
    }

    #[test]
    fn a_directory_with_too_many_names_has_no_listing() {
        let names: Vec<String> = (0..=MOST).map(|number| number.to_string()).collect();
        let entries = |count: usize| {
            let names = &names[..count];
            Listing::new(names.iter().map(|name| listed(name.as_bytes(), 1)))
        };
        assert!(entries(MOST).is_some_and(|listing| listing.find(b"65535").is_some()));
        assert!(entries(MOST + 1).is_none());
    }
}
