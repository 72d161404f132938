//! `/etc/ld.so.cache` in the format `glibc-ld.so.cache1.1`.
//!
//! Source: glibc `sysdeps/generic/dl-cache.h`, `elf/dl-cache.c`, `elf/cache.c`. A 48-byte header (20 bytes of
//! magic, entry count, size of the strings, flags, 3 bytes of padding, offset of the extensions, 12 bytes
//! unused), entries of 24 bytes (flags, key, value, OS version, hwcap), strings. Key and value are offsets from
//! the start of the new format, which may follow an old-format cache.

use std::cmp::Ordering;
use std::collections::HashMap;

use bytes::Bytes;

use crate::elf::{Class, Machine};
use crate::spec::CacheLine;
use compat_sys::raw;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const HEADER_SIZE: usize = 48;
const ENTRY_SIZE: usize = 24;
const OLD_HEADER_SIZE: usize = 16;
const OLD_ENTRY_SIZE: usize = 12;
/// The byte order in the flags of the header (`cache_file_new_flags_endian_*`). 0 means unset.
const ORDER_MASK: u8 = 3;
const ORDER_LITTLE: u8 = 2;
const ORDER_BIG: u8 = 3;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const EXTENSION_TAG_HWCAPS: u32 = 1;
const HWCAP_EXTENSION: u64 = 1 << 62;

/// The longest string that is read: no path that a kernel opens is longer, including its NUL (`PATH_MAX`). The
/// limit also bounds the work, because any number of entries may share one string.
const LONGEST_STRING: usize = 4096;
/// The most entries that are read for one name, and the most sub-directories. Real caches have a few.
const MOST_ENTRIES: usize = 256;

/// One entry for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The path of the file.
    pub path: String,
    /// The type of the library (`FLAG_*`: 3 is ELF libc6, the second byte is the machine).
    pub flags: i32,
    /// The sub-directory of `glibc-hwcaps` that contains it, such as `x86-64-v3`.
    pub subdirectory: Option<String>,
    /// The legacy hardware capabilities that it requires, as a mask (before glibc 2.37).
    pub legacy_hwcaps: u64,
}

/// The entries, looked up in the file's bytes as the loader does.
#[derive(Clone, Debug)]
pub struct LibraryCache {
    data: Bytes,
    /// Whether integers are stored with the most significant byte first.
    big_endian: bool,
    table: Table,
    subdirectories: Vec<String>,
    /// The entries of a cache that comes from a document instead of a file.
    told: HashMap<String, Vec<CacheEntry>>,
}

/// The positions of the entries.
#[derive(Clone, Copy, Debug, Default)]
struct Table {
    count: usize,
    start: usize,
    entry_size: usize,
    /// The base of string offsets.
    strings: usize,
}

impl Table {
    /// Returns `None` if the file ends before the table does.
    fn of(data: &[u8], count: Option<u32>, start: usize, entry_size: usize) -> Option<Self> {
        let count = count? as usize;
        let end = start.checked_add(count.checked_mul(entry_size)?)?;
        let strings = if entry_size == OLD_ENTRY_SIZE { end } else { 0 };
        (end <= data.len()).then_some(Self { count, start, entry_size, strings })
    }
}

impl LibraryCache {
    /// Reads a cache in this machine's byte order. `None` if it is corrupt, because the loader ignores it as a
    /// whole.
    pub fn parse(data: &Bytes) -> Option<Self> {
        Self::parse_as(data, cfg!(target_endian = "big"))
    }

    /// Reads a cache as a loader of the given byte order does. A cache in the other order is ignored
    /// (`cache_file_new_matches_endian`. Before 2.33 its counts are invalid).
    pub fn parse_as(data: &Bytes, big_endian: bool) -> Option<Self> {
        let Some(data) = new_format(data, big_endian) else { return Self::parse_old(data, big_endian) };
        let order = data.get(28)? & ORDER_MASK;
        let own = if big_endian { ORDER_BIG } else { ORDER_LITTLE };
        if order != 0 && order != own {
            return None;
        }
        let table = Table::of(&data, u32_at(&data, 20, big_endian), HEADER_SIZE, ENTRY_SIZE)?;
        let subdirectories = subdirectories(&data, big_endian).unwrap_or_default();
        Some(Self { data, big_endian, table, subdirectories, told: HashMap::new() })
    }

    /// Reads the old format, if no new format follows: entries of flags, key and value, with offsets that start
    /// at the end of the entries.
    fn parse_old(data: &Bytes, big_endian: bool) -> Option<Self> {
        let count = u32_at(data, 12, big_endian).filter(|_| data.starts_with(OLD_MAGIC));
        let table = Table::of(data, count, OLD_HEADER_SIZE, OLD_ENTRY_SIZE)?;
        Some(Self { data: data.clone(), big_endian, table, ..Self::of_lines(&[]) })
    }

    /// Returns the cache with the lines of a document.
    pub fn of_lines(lines: &[CacheLine]) -> Self {
        let mut told: HashMap<String, Vec<CacheEntry>> = HashMap::new();
        for line in lines.iter().filter(|line| line.path.len() < LONGEST_STRING) {
            let entries = told.entry(line.name.clone()).or_default();
            if entries.len() == MOST_ENTRIES {
                continue;
            }
            entries.push(CacheEntry {
                path: line.path.clone(),
                flags: line.flags,
                subdirectory: line.hwcaps.clone(),
                legacy_hwcaps: line.legacy_hwcaps,
            });
        }
        let (data, table) = (Bytes::new(), Table::default());
        Self { data, big_endian: false, table, subdirectories: Vec::new(), told }
    }

    /// The entries for a name, in the form of a document.
    pub fn lines(&self, name: &str) -> Vec<CacheLine> {
        let line = |entry: CacheEntry| CacheLine {
            name: name.to_owned(),
            path: entry.path,
            flags: entry.flags,
            hwcaps: entry.subdirectory,
            legacy_hwcaps: entry.legacy_hwcaps,
        };
        self.find(name).into_iter().map(line).collect()
    }

    /// The paths of all entries.
    pub fn paths(&self) -> Vec<String> {
        (0..self.table.count).filter_map(|index| self.entry(index)).map(|entry| entry.path).collect()
    }

    /// The entries for a name, in the order of the file.
    pub fn find(&self, name: &str) -> Vec<CacheEntry> {
        if let Some(entries) = self.told.get(name) {
            return entries.clone();
        }
        let (mut left, mut right) = (0, self.table.count);
        while left < right {
            let middle = left + (right - left) / 2;
            match self.compare(name, middle) {
                // The names are in descending order.
                Some(Ordering::Less) => left = middle + 1,
                Some(Ordering::Greater) => right = middle,
                Some(Ordering::Equal) => return self.entries_around(name, middle),
                None => return Vec::new(),
            }
        }
        Vec::new()
    }

    /// The offset of an entry.
    fn place(&self, index: usize) -> usize {
        self.table.start + index * self.table.entry_size
    }

    fn u32(&self, at: usize) -> Option<u32> {
        u32_at(&self.data, at, self.big_endian)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let (first, second) = (u64::from(self.u32(at)?), u64::from(self.u32(at + 4)?));
        Some(if self.big_endian { first << 32 | second } else { second << 32 | first })
    }

    fn compare(&self, name: &str, index: usize) -> Option<Ordering> {
        let key = self.u32(self.place(index) + 4)?;
        Some(compare_names(&raw::bytes(name), bytes_at(&self.data, self.table.strings, key)?))
    }

    fn entries_around(&self, name: &str, index: usize) -> Vec<CacheEntry> {
        let is_same = |index: &usize| self.compare(name, *index) == Some(Ordering::Equal);
        let first = (0..index).rev().take(MOST_ENTRIES).take_while(is_same).last().unwrap_or(index);
        (first..self.table.count)
            .take(MOST_ENTRIES)
            .take_while(is_same)
            .filter_map(|index| self.entry(index))
            .collect()
    }

    fn entry(&self, index: usize) -> Option<CacheEntry> {
        let at = self.place(index);
        let flags = self.u32(at)? as i32;
        let path = string_at(&self.data, self.table.strings, self.u32(at + 8)?)?;
        let hwcap = if self.table.entry_size == ENTRY_SIZE { self.u64(at + 16)? } else { 0 };
        // Bits 32 to 41 of an extension entry are the ISA level. The other bits must be clear.
        let is_extension = (hwcap >> 32) & !0x3ff == HWCAP_EXTENSION >> 32;
        let subdirectory =
            if is_extension { Some(self.subdirectories.get(hwcap as u32 as usize)?.clone()) } else { None };
        Some(CacheEntry { path, flags, subdirectory, legacy_hwcaps: if is_extension { 0 } else { hwcap } })
    }

    /// Whether an entry with the given flags fits a machine with the flags `required`. The flags must be equal.
    /// If the machine has no specific flags, an entry without a specific C library also fits
    /// (`_dl_cache_check_flags`).
    pub fn fits(flags: i32, required: i32) -> bool {
        const ELF: i32 = 1;
        const ELF_LIBC6: i32 = 3;
        flags == required || (flags == ELF && required == ELF_LIBC6)
    }

    /// The flags of an entry for the given machine.
    pub fn required_flags(machine: Machine, class: Class) -> i32 {
        let architecture = match (machine, class) {
            (Machine::X86_64, Class::Elf64) => 0x0300,
            (Machine::X86_64, Class::Elf32) => 0x0800,
            (Machine::AARCH64, Class::Elf64) => 0x0a00,
            (Machine::ARM, _) => 0x0900,
            (Machine::S390, Class::Elf64) => 0x0400,
            (Machine::PPC64, _) => 0x0500,
            (Machine::RISCV, Class::Elf64) => 0x1000,
            (Machine::LOONGARCH, Class::Elf64) => 0x1200,
            _ => 0,
        };
        architecture | 3
    }
}

/// Compares names in the order of the cache: digits as numbers, after everything else (`_dl_cache_libcmp`).
fn compare_names(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (first, second) = (a.first().copied(), b.first().copied());
        let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
        match (is_digit(first), is_digit(second)) {
            (true, true) => {
                let order = number(&mut a).cmp(&number(&mut b));
                if order != Ordering::Equal {
                    return order;
                }
            }
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) if first != second || first.is_none() => return first.cmp(&second),
            (false, false) => (a, b) = (&a[1..], &b[1..]),
        }
    }
}

/// Takes the number at the beginning of `text`.
fn number(text: &mut &[u8]) -> u32 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    number.iter().fold(0, |value: u32, digit| value.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')))
}

/// Returns the part of the file in the new format: all of it, or the part after an old-format cache.
fn new_format(data: &Bytes, big_endian: bool) -> Option<Bytes> {
    if data.starts_with(MAGIC) {
        return Some(data.clone());
    }
    if !data.starts_with(OLD_MAGIC) {
        return None;
    }
    // The old header is 16 bytes (the magic padded, a count), its entries 12. The new one is aligned to 8.
    let old_size = (u32_at(data, 12, big_endian)? as usize).checked_mul(12)?.checked_add(16)?;
    let start = old_size.checked_next_multiple_of(8)?;
    let data = (start <= data.len()).then(|| data.slice(start..))?;
    data.starts_with(MAGIC).then_some(data)
}

/// The names of the hwcaps sub-directories, from the extension table.
fn subdirectories(data: &[u8], big_endian: bool) -> Option<Vec<String>> {
    let u32_at = |data: &[u8], at: usize| u32_at(data, at, big_endian);
    let table = u32_at(data, 32)? as usize;
    if table == 0 || u32_at(data, table)? != EXTENSION_MAGIC {
        return None;
    }
    let count = u32_at(data, table + 4)? as usize;
    let sections = (0..count).map(|index| table.checked_add(8)?.checked_add(index.checked_mul(16)?));
    for section in sections.map_while(|section| section.filter(|at| *at < data.len())) {
        if u32_at(data, section)? == EXTENSION_TAG_HWCAPS {
            let offset = u32_at(data, section + 8)? as usize;
            let size = u32_at(data, section + 12)? as usize;
            let words = data.get(offset..offset.checked_add(size)?)?.chunks_exact(4);
            return words.take(MOST_ENTRIES).map(|word| string_at(data, 0, u32_at(word, 0)?)).collect();
        }
    }
    None
}

fn u32_at(data: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}

/// Returns the string at an offset. The bytes of a mapping after the end of the file, up to the end of its
/// page, are NULs. They terminate a truncated string.
fn bytes_at(data: &[u8], base: usize, offset: u32) -> Option<&[u8]> {
    let tail = data.get(base.checked_add(offset as usize)?..).filter(|tail| !tail.is_empty())?;
    match memchr::memchr(0, &tail[..tail.len().min(LONGEST_STRING)]) {
        Some(end) => Some(&tail[..end]),
        None if tail.len() < LONGEST_STRING => Some(tail),
        None => None,
    }
}

fn string_at(data: &[u8], base: usize, offset: u32) -> Option<String> {
    bytes_at(data, base, offset).map(raw::string)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache with one plain entry and one for x86-64-v3.
    fn sample() -> Vec<u8> {
        let strings = b"libx.so\0/lib/libx.so\0x86-64-v3\0";
        let strings_at = (HEADER_SIZE + 2 * ENTRY_SIZE) as u32;
        let table_at = (strings_at as usize + strings.len()).next_multiple_of(4) as u32;
        let mut data = MAGIC.to_vec();
        let mut put = |words: &[u32]| data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        put(&[2, strings.len() as u32, 0, table_at, 0, 0, 0]);
        put(&[0x303, strings_at, strings_at + 8, 0, 0, (HWCAP_EXTENSION >> 32) as u32 | 2]);
        put(&[0x303, strings_at, strings_at + 8, 0, 0, 0]);
        data.extend(strings);
        data.resize(table_at as usize, 0);
        let mut put = |words: &[u32]| data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        put(&[EXTENSION_MAGIC, 1, EXTENSION_TAG_HWCAPS, 0, table_at + 24, 4, strings_at + 21]);
        data
    }

    #[test]
    fn entries_are_found_by_name_with_their_subdirectory() {
        let cache = LibraryCache::parse(&sample().into()).unwrap();
        let found = cache.find("libx.so");
        assert_eq!(found[0].subdirectory.as_deref(), Some("x86-64-v3"));
        assert_eq!(found[1].subdirectory, None);
        assert_eq!(found[1].path, "/lib/libx.so");
        assert!(cache.find("liby.so").is_empty());
    }

    /// The same cache in the other byte order.
    fn swapped(data: &[u8], order: u8) -> Vec<u8> {
        let strings = HEADER_SIZE + 2 * ENTRY_SIZE..HEADER_SIZE + 2 * ENTRY_SIZE + 30;
        let mut data = data.to_vec();
        // A 64-bit integer is two words here, and their order changes too.
        for at in
            (20..data.len()).step_by(4).filter(|at| !strings.contains(at) && !strings.contains(&(at + 3)))
        {
            data[at..at + 4].reverse();
        }
        for entry in [HEADER_SIZE, HEADER_SIZE + ENTRY_SIZE] {
            data[entry + 16..entry + 24].rotate_left(4);
        }
        data[28] = order;
        data
    }

    #[test]
    fn a_cache_is_read_in_the_byte_order_of_its_loader() {
        let little = Bytes::from(sample());
        let big = Bytes::from(swapped(&little, ORDER_BIG));
        let find = |data: &Bytes, big_endian| {
            let found = LibraryCache::parse_as(data, big_endian)?.find("libx.so");
            Some(found.into_iter().map(|entry| entry.subdirectory).collect::<Vec<_>>())
        };
        let expected = Some(vec![Some("x86-64-v3".to_owned()), None]);
        assert_eq!(find(&little, false), expected);
        assert_eq!(find(&big, true), expected);
        assert_eq!(find(&big, false), None);
        assert_eq!(find(&little, true), None);
        assert_eq!(find(&Bytes::from(swapped(&little, 0)), true), expected);
        assert_eq!(find(&Bytes::from(swapped(&little, ORDER_LITTLE)), true), None);
    }

    #[test]
    fn a_cache_of_the_old_format_alone_is_read_too() {
        let strings = b"libx.so\0/lib/libx.so\0";
        let mut data = [OLD_MAGIC, &[0]].concat();
        data.extend([1_u32, 3, 0, 8].map(u32::to_le_bytes).concat());
        data.extend(strings);
        let cache = LibraryCache::parse_as(&data.clone().into(), false).unwrap();
        let entry =
            CacheEntry { path: "/lib/libx.so".to_owned(), flags: 3, subdirectory: None, legacy_hwcaps: 0 };
        assert_eq!((cache.find("libx.so"), cache.paths()), (vec![entry], vec!["/lib/libx.so".to_owned()]));
        assert!(LibraryCache::parse_as(&data[..20].to_vec().into(), false).is_none());
    }

    #[test]
    fn names_are_ordered_with_their_digits_as_numbers() {
        assert_eq!(compare_names(b"libx.so.10", b"libx.so.9"), Ordering::Greater);
        assert_eq!(compare_names(b"libx.so.1", b"libx.so"), Ordering::Greater);
        assert_eq!(compare_names(b"liba", b"libb"), Ordering::Less);
        assert_eq!(compare_names(b"lib1", b"libz"), Ordering::Greater);
        assert_eq!(compare_names(b"lib01", b"lib1"), Ordering::Equal);
    }

    #[test]
    fn entries_that_share_one_long_string_take_no_memory() {
        let strings = [b"x\0", &vec![b'/'; 1 << 20][..], b"\0"].concat();
        let count = 20_000;
        let strings_at = (HEADER_SIZE + count * ENTRY_SIZE) as u32;
        let table_at = (strings_at as usize + strings.len()).next_multiple_of(4) as u32;
        let put = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let cache = |path: u32| {
            let mut data = MAGIC.to_vec();
            data.extend(put(&[count as u32, strings.len() as u32, 0, table_at, 0, 0, 0]));
            data.extend(put(&[0x303, strings_at, path, 0, 0, 0]).repeat(count));
            data.extend(&strings);
            data.resize(table_at as usize, 0);
            data.extend(put(&[EXTENSION_MAGIC, 1, EXTENSION_TAG_HWCAPS, 0, table_at + 24, 4 * 20_000]));
            data.extend(put(&[path; 20_000]));
            LibraryCache::parse(&data.into()).unwrap()
        };
        // A path that no kernel opens is not an entry.
        assert!(cache(strings_at + 2).find("x").is_empty());
        assert!(cache(strings_at + 2).subdirectories.is_empty());
        let short = cache(strings_at + (1 << 20) - 10);
        assert_eq!((short.find("x").len(), short.subdirectories.len()), (MOST_ENTRIES, MOST_ENTRIES));
    }

    #[test]
    fn a_truncated_cache_is_ignored_or_shorter_and_never_a_panic() {
        let data = Bytes::from(sample());
        for length in 0..data.len() {
            if let Some(cache) = LibraryCache::parse(&data.slice(..length)) {
                cache.find("libx.so");
            }
        }
        assert!(LibraryCache::parse(&data.slice(..HEADER_SIZE + 10)).is_none());
        assert!(LibraryCache::parse(&Bytes::new()).is_none());
    }
}
