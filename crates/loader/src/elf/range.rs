//! The parts of a file from which an object is read. A copy with only these parts, and zeroes elsewhere, reads
//! the same.

use std::iter::once;
use std::ops::Range;

use bytes::Bytes;
use goblin::elf::program_header as segment;

use crate::elf::dynamic::Tables;
use crate::elf::object;
use crate::elf::segments::{Segments, dynamic_entries, dynamic_range, parse_segments};
use crate::elf::symbol::SymbolTable;
use crate::elf::{Marks, Object, mark, relocation, version};

/// Ranges that are no further apart than this are merged.
const GAP: usize = 64;
/// The longer of the two ELF headers.
const HEADER: usize = 64;
/// The assumed maximum length of a table without a declared size.
const MAXIMUM_TABLE: usize = 64 << 20;
/// The maximum size of relocations that are examined separately, in bytes.
const MAXIMUM_RELOCATIONS: usize = 256 << 20;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;

/// Returns the parts of a file that [`Object::parse`] and every method of the [`Object`] except
/// [`Object::bytes`] read, in ascending order and without overlap. A file of the same length with these bytes,
/// and zeroes elsewhere, is read as the same object or refused with the same error.
///
/// Only objects with contradictory tables can differ: if the hash table of a forged object leads to symbols
/// beyond its end, they are found in the file but not in the copy.
pub fn ranges(data: &Bytes) -> Vec<Range<usize>> {
    let Ok((elf_header, reader)) = object::parse_header(data) else {
        return merged(once(0..HEADER).collect(), data.len());
    };
    let mut ranges: Vec<Range<usize>> = once(0..HEADER).collect();
    if let Ok(table) = usize::try_from(elf_header.e_phoff) {
        let size = usize::from(elf_header.e_phnum) * usize::from(elf_header.e_phentsize);
        ranges.push(table..table.saturating_add(size));
    }
    let Ok(headers) = parse_segments(&elf_header, reader) else {
        return merged(ranges, data.len());
    };
    let segments = Segments { reader, headers };
    if segments.check_extent().is_err() {
        return merged(ranges, data.len());
    }
    match Object::parse(data.clone()) {
        Ok(object) => {
            object_ranges(&object, &segments, &mut ranges);
            // Without a mark, nothing must be kept: no mark is read from zeroes either.
            if object.marks != Marks::default() {
                ranges.extend(object.read_marks(&elf_header, &segments).1);
            }
        }
        // The contradiction of the tables could be anywhere.
        Err(_) => ranges.push(0..data.len()),
    }
    merged(ranges, data.len())
}

/// Returns the parts of a file that its headers and its dynamic section refer to, as far as `data` contains
/// them. Missing parts are zero and refer to nothing. Once they are present, another call returns further
/// parts. A table without a declared size is assumed to reach to the next one, which may be too long or too
/// short: [`ranges`] returns the exact parts.
pub fn outline(data: &[u8]) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = once(0..HEADER).collect();
    let Ok((elf_header, reader)) = object::parse_header(data) else { return merged(parts, data.len()) };
    if let Ok(table) = usize::try_from(elf_header.e_phoff) {
        let size = usize::from(elf_header.e_phnum) * usize::from(elf_header.e_phentsize);
        parts.push(table..table.saturating_add(size));
    }
    if let Ok(headers) = parse_segments(&elf_header, reader) {
        let segments = Segments { reader, headers };
        segment_ranges(&segments, &mut parts);
        let entries = dynamic_entries(&segments).ok().flatten();
        if let Some(entries) = &entries {
            dynamic_section(&segments, entries.size, &mut parts);
            table_outline(&segments, &entries.tables, &mut parts);
        }
        let has_interpreter = segments.headers.iter().any(|header| header.p_type == segment::PT_INTERP);
        let is_program = has_interpreter
            || elf_header.e_type == goblin::elf::header::ET_EXEC
            || mark::is_bare(&elf_header, &segments)
            || entries.is_some_and(|entries| entries.flags.pie);
        parts.extend(mark::outline(&elf_header, &segments, is_program));
    }
    merged(parts, data.len())
}

fn table_outline(segments: &Segments<'_>, tables: &Tables, parts: &mut Vec<Range<usize>>) {
    let place = |address: u64| segments.offset(address);
    let sized = tables.relocations.iter().map(|(address, size, _)| (*address, *size));
    let sized = sized.chain(tables.jump_slots.map(|address| (address, tables.jump_slots_size)));
    let sized: Vec<(u64, u64)> =
        sized.chain(tables.string_table.map(|address| (address, tables.string_size))).collect();
    let symbols = [tables.symbol_table, tables.gnu_hash, tables.sysv_hash];
    let versions = [tables.version_symbols, tables.version_needs, tables.version_definitions];
    let unsized_tables: Vec<u64> = symbols.into_iter().chain(versions).flatten().collect();
    let addresses = sized.iter().map(|(address, _)| *address).chain(unsized_tables.iter().copied());
    let mut starts: Vec<usize> = addresses.filter_map(place).map(|(start, _)| start).collect();
    starts.sort_unstable();
    for (address, size) in sized {
        if let (Some((start, left)), Ok(size)) = (place(address), usize::try_from(size)) {
            parts.push(start..start + size.min(left));
        }
    }
    for (start, left) in unsized_tables.into_iter().filter_map(place) {
        let next = starts.iter().copied().find(|other| *other > start).unwrap_or(usize::MAX);
        parts.push(start..next.min(start + left.min(MAXIMUM_TABLE)));
    }
}

/// Adds the segments that are read completely.
fn segment_ranges(segments: &Segments<'_>, ranges: &mut Vec<Range<usize>>) {
    let kinds = [segment::PT_INTERP, segment::PT_NOTE, PT_GNU_PROPERTY];
    for header in segments.headers.iter().filter(|header| kinds.contains(&header.p_type)) {
        if let (Ok(start), Ok(size)) = (usize::try_from(header.p_offset), usize::try_from(header.p_filesz)) {
            ranges.push(start..start.saturating_add(size));
        }
    }
}

/// Adds the dynamic section: `size` bytes of it, or the size in its program header if that is larger.
fn dynamic_section(segments: &Segments<'_>, size: usize, ranges: &mut Vec<Range<usize>>) {
    if let Some(Some(place)) = dynamic_range(segments) {
        let stated = segments.dynamic().map_or(0, |header| header.p_filesz);
        let stated = usize::try_from(stated).unwrap_or(usize::MAX).min(place.len());
        ranges.push(place.start..place.start + stated.max(size));
    }
}

/// Returns whether the text of an object is searched, so that all of it is necessary. This applies to dynamic
/// loaders and C libraries, by the name of the file or their soname.
pub fn is_searched(name: &[u8], data: &Bytes) -> bool {
    let is_loader_or_libc = |name: &[u8]| name.starts_with(b"ld") || name.starts_with(b"libc.");
    let soname = || Object::parse(data.clone()).ok()?.dynamic?.soname;
    is_loader_or_libc(name) || soname().is_some_and(|soname| is_loader_or_libc(soname.as_bytes()))
}

fn object_ranges(object: &Object, segments: &Segments<'_>, ranges: &mut Vec<Range<usize>>) {
    segment_ranges(segments, ranges);
    let Ok(Some(entries)) = dynamic_entries(segments) else { return };
    dynamic_section(segments, entries.size, ranges);
    let (tables, reader) = (&entries.tables, segments.reader);
    if let Ok((start, size)) = object::strings(segments, tables) {
        ranges.push(start..start.saturating_add(size));
    }
    if let Ok(Some(at)) = segments.table("", tables.version_needs) {
        ranges.push(at..version::needs_end(reader, at));
    }
    if let Ok(Some(at)) = segments.table("", tables.version_definitions) {
        ranges.push(at..version::definitions_end(reader, at));
    }
    if let Some(symbols) = &object.symbols {
        symbol_ranges(object, symbols, ranges);
    }
}

fn symbol_ranges(object: &Object, symbols: &SymbolTable, ranges: &mut Vec<Range<usize>>) {
    let reader = object.reader();
    let count = symbols.count(reader).max(object.uses(symbols).len());
    let table = |at: usize, entry: usize| at..at.saturating_add(count.saturating_mul(entry));
    ranges.push(table(symbols.symbols, SymbolTable::entry_size(object.class)));
    ranges.extend(symbols.versions.map(|at| table(at, 2)));
    ranges.extend(symbols.hash_ranges(reader, count));
    let relocations: usize = object.relocations.iter().map(|table| table.range.len()).sum();
    if relocations > MAXIMUM_RELOCATIONS {
        // A list of the relevant ones could be half as long as the relocations themselves.
        ranges.push(0..reader.data.len());
        return;
    }
    for table in &object.relocations {
        ranges.extend(relocation::symbolic_ranges(reader, object.machine, table));
    }
}

/// Returns the same parts in ascending order, within the file, with small gaps closed.
fn merged(mut ranges: Vec<Range<usize>>, length: usize) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        let range = range.start.min(length)..range.end.min(length);
        match merged.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if range.start <= last.end.saturating_add(GAP) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::sample::{Sample, facts};

    /// Returns the copy of a file that consists of the ranges.
    fn copy(data: &Bytes) -> Bytes {
        let mut copy = vec![0; data.len()];
        for range in ranges(data) {
            copy[range.clone()].copy_from_slice(&data[range]);
        }
        copy.into()
    }

    #[test]
    fn parts_are_in_order_and_within_the_file() {
        assert_eq!(merged(vec![500..900, 0..64, 80..100, 2000..3000], 600), [0..100, 500..600]);
        assert_eq!(merged(once(0..64).collect(), 0), Vec::<Range<usize>>::new());
    }

    #[test]
    fn a_cut_object_reads_the_same_from_its_copy() {
        for sample in Sample::all(10_000) {
            let bytes = sample.bytes();
            let outcome = |data: &Bytes| Object::parse(data.clone()).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(outcome(&bytes), Ok(()), "{sample:?}");
            for length in [3, 20, 63, 64, 100, 4096, bytes.len() / 2] {
                let cut = bytes.slice(..length);
                assert!(outcome(&cut).is_err(), "{sample:?} {length}");
                assert_eq!(outcome(&cut), outcome(&copy(&cut)), "{sample:?} {length}");
            }
        }
    }

    #[test]
    fn most_of_an_object_is_not_looked_at_and_its_facts_come_from_the_rest() {
        for sample in Sample::all(100_000) {
            let bytes = sample.bytes();
            let kept: usize = ranges(&bytes).iter().map(Range::len).sum();
            assert!(kept < bytes.len() / 10, "{sample:?}: {kept} of {}", bytes.len());
            let object = Object::parse(copy(&bytes)).unwrap();
            assert_eq!(object.is_program(), sample.is_program);
            assert_eq!(facts(&object), facts(&Object::parse(bytes).unwrap()), "{sample:?}");
        }
    }

    #[test]
    fn the_outline_leads_step_by_step_to_all_that_the_ranges_name() {
        for sample in Sample::all(100_000) {
            let bytes = sample.bytes();
            let mut there = vec![false; bytes.len()];
            let mut known = vec![0; bytes.len()];
            for _ in 0..4 {
                for range in outline(&known) {
                    known[range.clone()].copy_from_slice(&bytes[range.clone()]);
                    there[range].fill(true);
                }
            }
            let lacking = ranges(&bytes).into_iter().flatten().find(|at| !there[*at]);
            assert_eq!(lacking, None, "{sample:?}");
            assert!(there.iter().filter(|there| **there).count() < bytes.len() / 3, "{sample:?}");
        }
    }
}
