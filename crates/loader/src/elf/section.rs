//! Sections by name, and a reader that remembers the bytes that were read.
//!
//! The loader does not need section headers. Tools that append a payload to a program, and Go's linker, mark
//! theirs with a section. Source: System V gABI, chapter 4, "Sections".

use std::cell::RefCell;
use std::ops::Range;

use goblin::elf::header::Header;

use crate::elf::Class;
use crate::elf::reader::Reader;

/// The maximum number of sections. An object with more is not a program that a tool marked.
const MOST_SECTIONS: usize = 4096;
/// The maximum size of the table of section names, in bytes.
const LONGEST_NAMES: u64 = 256 << 10;
const SHT_NOBITS: u32 = 8;

/// The bytes of a file, and the ranges that were read.
pub(super) struct Looked<'a> {
    pub reader: Reader<'a>,
    ranges: RefCell<Vec<Range<usize>>>,
}

impl<'a> Looked<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self { reader, ranges: RefCell::default() }
    }

    /// Returns the bytes from `start` on, or `None` if the file has fewer.
    pub(super) fn bytes(&self, start: u64, length: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        let bytes = self.reader.data.get(start..end)?;
        self.ranges.borrow_mut().push(start..end);
        Some(bytes)
    }

    /// Returns [`Looked::bytes`], up to the end of the file.
    pub(super) fn at_most(&self, start: u64, length: u64) -> Option<&'a [u8]> {
        self.bytes(start, length.min(self.length().checked_sub(start)?))
    }

    /// Returns the length of the file in bytes.
    pub(super) fn length(&self) -> u64 {
        self.reader.data.len() as u64
    }

    /// Returns the ranges that were read.
    pub(super) fn into_ranges(self) -> Vec<Range<usize>> {
        self.ranges.into_inner()
    }
}

/// A section with bytes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section<'a> {
    pub name: &'a [u8],
    /// The start of its bytes in the file.
    pub start: u64,
    /// The number of bytes.
    pub size: u64,
}

/// Returns the end of the section headers from the ELF header. It is usually the end of the linker's output.
pub(super) fn headers_end(header: &Header) -> u64 {
    header.e_shoff.saturating_add(u64::from(header.e_shnum) * u64::from(header.e_shentsize))
}

/// Returns the sections with bytes in the file. Empty if the headers are stripped or invalid.
pub(super) fn sections<'a>(header: &Header, looked: &Looked<'a>) -> Vec<Section<'a>> {
    let count = usize::from(header.e_shnum);
    let entry = if looked.reader.class == Class::Elf64 { 64 } else { 40 };
    if count == 0 || count > MOST_SECTIONS || usize::from(header.e_shentsize) != entry {
        return Vec::new();
    }
    let Some(table) = looked.bytes(header.e_shoff, (count * entry) as u64) else { return Vec::new() };
    let table = Reader { data: table, ..looked.reader };
    let entries: Vec<Entry> = (0..count).filter_map(|index| Entry::read(table, index * entry)).collect();
    let names = entries.get(usize::from(header.e_shstrndx)).filter(|names| names.size <= LONGEST_NAMES);
    let names = names.and_then(|names| looked.bytes(names.start, names.size));
    let names = Reader { data: names.unwrap_or_default(), ..looked.reader };
    let has_bytes = |entry: &&Entry| entry.kind != SHT_NOBITS;
    let section = |entry: &Entry| {
        let name = names.string(entry.name as usize)?;
        Some(Section { name, start: entry.start, size: entry.size })
    };
    entries.iter().filter(has_bytes).filter_map(section).collect()
}

/// One section header.
struct Entry {
    name: u32,
    kind: u32,
    start: u64,
    size: u64,
}

impl Entry {
    fn read(table: Reader<'_>, at: usize) -> Option<Self> {
        let word = table.word_size();
        Some(Self {
            name: table.u32(at)?,
            kind: table.u32(at + 4)?,
            start: table.word(at + 8 + 2 * word)?,
            size: table.word(at + 8 + 3 * word)?,
        })
    }
}
