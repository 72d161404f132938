//! `/etc/ld.so.cache` in the format `glibc-ld.so.cache1.1`.
//!
//! Source: glibc `sysdeps/generic/dl-cache.h`, `elf/dl-cache.c`, `elf/cache.c`. A 48-byte header
//! (20 bytes of magic, entry count, size of the strings, flags, 3 bytes of padding, offset of the
//! extensions, 12 bytes unused), entries of 24 bytes (flags, key, value, OS version, hwcap), strings.
//! Key and value are offsets from the start of the new format, which may follow an old-format cache.

use std::collections::HashMap;

use crate::elf::{Class, Machine};

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const HEADER_SIZE: usize = 48;
const ENTRY_SIZE: usize = 24;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const EXTENSION_TAG_HWCAPS: u32 = 1;
const HWCAP_EXTENSION: u64 = 1 << 62;

/// One entry for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The file.
    pub path: String,
    /// What kind of library it is (`FLAG_*`: 3 is ELF libc6, the second byte the machine).
    pub flags: i32,
    /// The sub-directory of `glibc-hwcaps` it lies in, such as `x86-64-v3`.
    pub subdirectory: Option<String>,
    /// It is for one of the legacy hardware capabilities.
    pub legacy_hwcap: bool,
}

/// The entries by name, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct LibraryCache {
    entries: HashMap<String, Vec<CacheEntry>>,
}

impl LibraryCache {
    /// Reads a cache. A corrupt one is `None`: the loader ignores it as a whole.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let data = new_format(data)?;
        let count = u32_at(data, 20)? as usize;
        let entries_end = HEADER_SIZE.checked_add(count.checked_mul(ENTRY_SIZE)?)?;
        let strings_size = u32_at(data, 24)? as usize;
        if entries_end.checked_add(strings_size)? > data.len() {
            return None;
        }
        let subdirectories = subdirectories(data).unwrap_or_default();
        let mut cache = Self::default();
        for at in (HEADER_SIZE..entries_end).step_by(ENTRY_SIZE) {
            let Some((name, entry)) = entry(data, at, &subdirectories) else { continue };
            cache.entries.entry(name).or_default().push(entry);
        }
        Some(cache)
    }

    /// The entries for a name.
    pub fn find(&self, name: &str) -> &[CacheEntry] {
        self.entries.get(name).map_or(&[], Vec::as_slice)
    }

    /// The flags that an entry for the given machine has (`_dl_cache_check_flags`: they must be equal).
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

/// The part of the file in the new format: all of it, or what follows an old-format cache.
fn new_format(data: &[u8]) -> Option<&[u8]> {
    if data.starts_with(MAGIC) {
        return Some(data);
    }
    if !data.starts_with(OLD_MAGIC) {
        return None;
    }
    // The old header is 16 bytes (the magic padded, a count), its entries 12; the new one is aligned to 8.
    let old_size = (u32_at(data, 12)? as usize).checked_mul(12)?.checked_add(16)?;
    let data = data.get(old_size.checked_next_multiple_of(8)?..)?;
    data.starts_with(MAGIC).then_some(data)
}

fn entry(data: &[u8], at: usize, subdirectories: &[String]) -> Option<(String, CacheEntry)> {
    let flags = u32_at(data, at)? as i32;
    let name = string_at(data, u32_at(data, at + 4)?)?;
    let path = string_at(data, u32_at(data, at + 8)?)?;
    let hwcap = u64::from(u32_at(data, at + 16)?) | u64::from(u32_at(data, at + 20)?) << 32;
    // Bits 32 to 41 of an extension entry are the ISA level; the others must be clear.
    let is_extension = (hwcap >> 32) & !0x3ff == HWCAP_EXTENSION >> 32;
    let subdirectory = match is_extension {
        true => Some(subdirectories.get(hwcap as u32 as usize)?.clone()),
        false => None,
    };
    Some((name, CacheEntry { path, flags, subdirectory, legacy_hwcap: !is_extension && hwcap != 0 }))
}

/// The names of the hwcaps sub-directories, from the extension table.
fn subdirectories(data: &[u8]) -> Option<Vec<String>> {
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
            return words.map(|word| string_at(data, u32_at(word, 0)?)).collect();
        }
    }
    None
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

fn string_at(data: &[u8], offset: u32) -> Option<String> {
    let tail = data.get(offset as usize..)?;
    let end = tail.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&tail[..end]).into_owned())
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
        let mut put = |words: &[u32]| data.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        put(&[2, strings.len() as u32, 0, table_at, 0, 0, 0]);
        put(&[0x303, strings_at, strings_at + 8, 0, 0, (HWCAP_EXTENSION >> 32) as u32 | 2]);
        put(&[0x303, strings_at, strings_at + 8, 0, 0, 0]);
        data.extend(strings);
        data.resize(table_at as usize, 0);
        let mut put = |words: &[u32]| data.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        put(&[EXTENSION_MAGIC, 1, EXTENSION_TAG_HWCAPS, 0, table_at + 24, 4, strings_at + 21]);
        data
    }

    #[test]
    fn entries_are_found_by_name_with_their_subdirectory() {
        let cache = LibraryCache::parse(&sample()).unwrap();
        let found = cache.find("libx.so");
        assert_eq!(found[0].subdirectory.as_deref(), Some("x86-64-v3"));
        assert_eq!(found[1].subdirectory, None);
        assert_eq!(found[1].path, "/lib/libx.so");
        assert!(cache.find("liby.so").is_empty());
    }

    #[test]
    fn a_truncated_cache_is_ignored_or_shorter_and_never_a_panic() {
        let data = sample();
        for length in 0..data.len() {
            LibraryCache::parse(&data[..length]);
        }
        assert!(LibraryCache::parse(&data[..HEADER_SIZE + 10]).is_none());
        assert!(LibraryCache::parse(b"").is_none());
    }
}
