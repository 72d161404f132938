//! The hash tables from a name to its symbols: GNU's and System V's.
//!
//! Source: `do_lookup_x` in glibc's `elf/dl-lookup.c` and `bfd/elflink.c`'s description of `.gnu.hash`, and
//! gABI, chapter 5, "Hash Table".

use std::ops::Range;

use crate::elf::reader::Reader;
use crate::elf::{Class, Machine, sysv_hash};

/// The limit of one lookup: symbols of a chain, plus a sixteenth of the bytes compared. Go's linker makes the
/// fewest buckets, one for each doubling of the symbols. Its chains reach this length with a hundred thousand
/// symbols.
pub(super) const LONGEST_LOOK_UP: usize = 8192;

/// The header of a GNU hash table and the places of its parts.
pub(super) struct GnuHash {
    bucket_count: usize,
    /// The first symbol in the table.
    pub symbol_offset: usize,
    bloom_count: usize,
    bloom_shift: u32,
    bloom: usize,
    buckets: usize,
    /// The start of the chains in the file.
    pub chain: usize,
}

impl GnuHash {
    /// Reads the header at an offset of the file, or returns `None` if the table is unusable.
    pub(super) fn parse(reader: Reader<'_>, at: usize) -> Option<Self> {
        let bucket_count = reader.u32(at)? as usize;
        let symbol_offset = reader.u32(at + 4)? as usize;
        let bloom_count = reader.u32(at.checked_add(8)?)? as usize;
        let bloom_shift = reader.u32(at + 12)?;
        let bloom = at + 16;
        let buckets = bloom.checked_add(bloom_count.checked_mul(reader.word_size())?)?;
        let chain = buckets.checked_add(bucket_count.checked_mul(4)?)?;
        let usable = bucket_count > 0 && bloom_count > 0 && chain <= reader.data.len();
        usable.then_some(Self {
            bucket_count,
            symbol_offset,
            bloom_count,
            bloom_shift,
            bloom,
            buckets,
            chain,
        })
    }

    /// Returns whether the Bloom filter accepts the hash.
    fn may_hold(&self, reader: Reader<'_>, hash: u32) -> bool {
        let bits = u32::from(reader.class.bits());
        let word = (hash / bits) as usize % self.bloom_count;
        let filter = reader.word(self.bloom + word * reader.word_size()).unwrap_or(u64::MAX);
        let second = hash.checked_shr(self.bloom_shift).unwrap_or(0);
        filter >> (hash % bits) & filter >> (second % bits) & 1 != 0
    }

    /// Calls `examine` with each symbol of the same hash until it returns true.
    pub(super) fn visit(&self, reader: Reader<'_>, hash: u32, mut examine: impl FnMut(usize) -> bool) {
        if !self.may_hold(reader, hash) {
            return;
        }
        let bucket = hash as usize % self.bucket_count;
        let Some(first @ 1..) = reader.u32(self.buckets + bucket * 4) else { return };
        let first = first as usize;
        for index in first..first.saturating_add(LONGEST_LOOK_UP) {
            let Some(chained) = self.chained(reader, index) else { return };
            if (chained ^ hash) >> 1 == 0 && examine(index) {
                return;
            }
            if chained & 1 != 0 {
                return;
            }
        }
    }

    fn chained(&self, reader: Reader<'_>, index: usize) -> Option<u32> {
        let place = index.checked_sub(self.symbol_offset)?.checked_mul(4)?;
        reader.u32(self.chain.checked_add(place)?)
    }

    /// Returns the index after the last symbol in the table.
    pub(super) fn count(&self, reader: Reader<'_>) -> Option<usize> {
        let buckets = (0..self.bucket_count).filter_map(|bucket| reader.u32(self.buckets + bucket * 4));
        let mut index = buckets.max()? as usize;
        if index == 0 {
            return Some(self.symbol_offset);
        }
        while self.chained(reader, index)? & 1 == 0 {
            index += 1;
        }
        Some(index + 1)
    }
}

/// The place of a System V hash table, and the width of its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct SysvHash {
    at: usize,
    entry: usize,
}

impl SysvHash {
    /// Returns the table at an offset of the file. Its entries have four bytes, except on two 64-bit machines
    /// with entries of eight bytes in their supplements (`Elf_Symndx` in glibc's `bits/elfclass.h`).
    pub(super) fn new(at: usize, machine: Machine, class: Class) -> Self {
        let is_wide = class == Class::Elf64 && [Machine::S390, Machine::ALPHA].contains(&machine);
        Self { at, entry: if is_wide { 8 } else { 4 } }
    }

    fn entry(self, reader: Reader<'_>, number: usize) -> Option<usize> {
        let at = self.at.checked_add(number.checked_mul(self.entry)?)?;
        let entry = if self.entry == 8 { reader.u64(at)? } else { reader.u32(at)?.into() };
        usize::try_from(entry).ok()
    }

    /// Returns the number of symbols in the table.
    pub(super) fn count(self, reader: Reader<'_>) -> Option<usize> {
        self.entry(reader, 1)
    }

    /// Returns its place in the file.
    pub(super) fn range(self, reader: Reader<'_>) -> Option<Range<usize>> {
        let entries = self.entry(reader, 0)?.saturating_add(self.count(reader)?).saturating_add(2);
        Some(self.at..self.at.saturating_add(entries.saturating_mul(self.entry)))
    }

    /// Works like [`GnuHash::visit`]. A chain with a loop ends after as many steps as the table has entries, or
    /// at the limit of a lookup.
    pub(super) fn visit(self, reader: Reader<'_>, name: &[u8], mut examine: impl FnMut(usize) -> bool) {
        let (Some(buckets @ 1..), Some(chain)) = (self.entry(reader, 0), self.count(reader)) else { return };
        let mut next = self.entry(reader, 2 + sysv_hash(name) as usize % buckets);
        for _ in 0..chain.min(LONGEST_LOOK_UP) {
            let Some(index @ 1..) = next else { return };
            if examine(index) {
                return;
            }
            let place = index.checked_add(buckets).and_then(|place| place.checked_add(2));
            next = place.and_then(|place| self.entry(reader, place));
        }
    }
}
