//! The symbols that the relocations of an object refer to, and the kinds of reference.
//!
//! The loader does not search the symbol table for the needs of an object: it looks up the symbol of each
//! relocation. Sources: the processor supplements and `elf_machine_type_class` in glibc's
//! `sysdeps/*/dl-machine.h`.

use std::ops::{BitOr, Range};

use crate::elf::reader::Reader;
use crate::elf::{Class, Endian, Machine};

/// The ways in which relocations refer to one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses(u8);

impl Uses {
    /// Through the procedure linkage table: bound at the first call, unless all symbols are bound at start.
    pub const JUMP_SLOT: Self = Self(1);
    /// By address or by content: bound at start.
    pub const DATA: Self = Self(2);
    /// Copied from the library into the program.
    pub const COPY: Self = Self(4);
    /// As a thread-local variable: bound at start.
    pub const TLS: Self = Self(8);
    /// As a thread-local variable with a descriptor among the relocations of the procedure linkage table. Some
    /// loaders bind it at the first use, unless all symbols are bound at start.
    pub const DESCRIPTOR: Self = Self(16);

    /// Returns whether these include all of `other`.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether there are no uses.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the symbol is only used by calls through the procedure linkage table.
    pub fn is_lazy(self) -> bool {
        self == Self::JUMP_SLOT
    }

    /// Returns the same for a loader that also binds descriptors at their first use.
    pub fn is_lazy_with_descriptors(self) -> bool {
        !self.is_empty() && (Self::JUMP_SLOT | Self::DESCRIPTOR).contains(self)
    }

    /// Returns whether the symbol is used as a thread-local variable.
    pub fn is_thread_local(self) -> bool {
        self.contains(Self::TLS) || self.contains(Self::DESCRIPTOR)
    }
}

impl BitOr for Uses {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The relocation types of a machine that matter.
struct Types {
    copy: u32,
    jump_slot: u32,
    tls: &'static [u32],
    /// The types in `tls` that need a fixed distance from the thread pointer (initial-exec).
    initial_exec: &'static [u32],
    /// The descriptor type in `tls`.
    descriptor: u32,
}

fn types(machine: Machine) -> Types {
    const NONE: u32 = u32::MAX;
    type Row = (u32, u32, &'static [u32], &'static [u32], u32);
    let (copy, jump_slot, tls, initial_exec, descriptor): Row = match machine {
        Machine::X86_64 => (5, 7, &[16, 17, 18, 36], &[18], 36),
        Machine::I386 => (5, 7, &[14, 35, 36, 37, 41], &[14, 37], 41),
        Machine::AARCH64 => (1024, 1026, &[1028, 1029, 1030, 1031], &[1030], 1031),
        Machine::ARM => (20, 22, &[13, 17, 18, 19], &[19], 13),
        Machine::RISCV => (4, 5, &[6, 7, 8, 9, 10, 11, 12], &[10, 11], 12),
        Machine::PPC64 => (19, 21, &[68, 73, 78], &[73], NONE),
        Machine::S390 => (9, 11, &[54, 55, 56], &[56], NONE),
        Machine::LOONGARCH => (4, 5, &[6, 7, 8, 9, 10, 11, 14], &[10, 11], 14),
        Machine::MIPS => (126, 127, &[38, 39, 40, 41, 47, 48], &[47, 48], NONE),
        _ => (NONE, NONE, &[], &[], NONE),
    };
    Types { copy, jump_slot, tls, initial_exec, descriptor }
}

/// A table of relocations in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The place.
    pub range: Range<usize>,
    /// The entries have an addend.
    pub with_addend: bool,
    /// It is the table of the procedure linkage table (`DT_JMPREL`), which loaders apply lazily.
    pub is_lazy: bool,
}

impl Table {
    /// Returns its bytes, or `None` beyond the end of the file.
    pub(super) fn reader<'a>(&self, reader: Reader<'a>) -> Option<Reader<'a>> {
        Some(Reader { data: reader.data.get(self.range.clone())?, ..reader })
    }
}

/// One relocation: its symbol and its type.
struct Entry {
    symbol: usize,
    kind: u32,
}

/// Returns the size of one relocation in bytes.
fn entry_size(reader: Reader<'_>, with_addend: bool) -> usize {
    reader.word_size() * if with_addend { 3 } else { 2 }
}

/// Returns the relocation at an offset. The 64-bit form of MIPS consists of bytes: the symbol, a special symbol
/// and three types, of which the first comes last.
fn entry(reader: Reader<'_>, machine: Machine, at: usize) -> Option<Entry> {
    let info = reader.word(at + reader.word_size())?;
    let (symbol, kind) = match (reader.class, machine, reader.endian) {
        (Class::Elf32, ..) => (info >> 8, info & 0xff),
        (Class::Elf64, Machine::MIPS, Endian::Little) => (info & 0xffff_ffff, info >> 56),
        (Class::Elf64, Machine::MIPS, Endian::Big) => (info >> 32, info & 0xff),
        (Class::Elf64, ..) => (info >> 32, info & 0xffff_ffff),
    };
    Some(Entry { symbol: symbol as usize, kind: kind as u32 })
}

/// The references of relocations to thread-local variables that get their place when the object is loaded.
#[derive(Debug, Default)]
pub(super) struct ThreadLocalUses {
    /// Initial-exec references without a symbol: to the object's own variables.
    pub own: bool,
    /// The symbols of the other initial-exec references.
    pub symbols: Vec<usize>,
    /// There are descriptors, which use static memory if there is enough.
    pub descriptors: bool,
}

/// Adds the thread-local variables that the relocations of a table need.
pub(super) fn collect_thread_local(
    file: Reader<'_>,
    machine: Machine,
    table: &Table,
    uses: &mut ThreadLocalUses,
) {
    let Some(reader) = table.reader(file) else { return };
    let size = entry_size(reader, table.with_addend);
    let types = types(machine);
    for at in (0..reader.data.len() / size).map(|index| index * size) {
        let Some(Entry { symbol, kind }) = entry(reader, machine, at) else { break };
        uses.descriptors |= kind == types.descriptor;
        match types.initial_exec.contains(&kind) {
            true if symbol == 0 => uses.own = true,
            true => uses.symbols.push(symbol),
            false => {}
        }
    }
    uses.symbols.sort_unstable();
    uses.symbols.dedup();
}

/// Returns the file ranges of a table's relocations that refer to a symbol or to the object's own thread-local
/// variables. The others do not affect the needs of an object, and refer to nothing even if they read as
/// zeroes.
pub(super) fn symbolic_ranges(file: Reader<'_>, machine: Machine, table: &Table) -> Vec<Range<usize>> {
    let Some(reader) = table.reader(file) else { return Vec::new() };
    let size = entry_size(reader, table.with_addend);
    let types = types(machine);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for at in (0..reader.data.len() / size).map(|index| index * size) {
        let Some(Entry { symbol, kind }) = entry(reader, machine, at) else { break };
        match ranges.last_mut() {
            _ if symbol == 0 && !types.tls.contains(&kind) => {}
            Some(last) if last.end == at => last.end = at + size,
            _ => ranges.push(at..at + size),
        }
    }
    let start = table.range.start;
    ranges.into_iter().map(|range| start + range.start..start + range.end).collect()
}

/// Adds the references of a table's relocations to `uses` (indexed by symbol). Symbols from `symbol_count` on
/// do not exist and are ignored.
pub(super) fn collect(
    file: Reader<'_>,
    machine: Machine,
    table: &Table,
    symbol_count: usize,
    uses: &mut Vec<Uses>,
) {
    let Some(reader) = table.reader(file) else { return };
    let size = entry_size(reader, table.with_addend);
    let types = types(machine);
    for at in (0..reader.data.len() / size).map(|index| index * size) {
        let Some(Entry { symbol, kind }) = entry(reader, machine, at) else { break };
        if symbol == 0 || symbol >= symbol_count {
            continue;
        }
        let used = match kind {
            kind if kind == types.jump_slot => Uses::JUMP_SLOT,
            kind if kind == types.copy => Uses::COPY,
            kind if kind == types.descriptor && table.is_lazy => Uses::DESCRIPTOR,
            kind if types.tls.contains(&kind) => Uses::TLS,
            _ => Uses::DATA,
        };
        add(uses, symbol, used);
    }
}

/// Adds one use of a symbol.
pub(super) fn add(uses: &mut Vec<Uses>, symbol: usize, used: Uses) {
    if uses.len() <= symbol {
        uses.resize(symbol + 1, Uses::default());
    }
    uses[symbol] = uses[symbol] | used;
}
