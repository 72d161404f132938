//! Which symbols the relocations of an object refer to, and how.
//!
//! The loader never looks at the symbol table for what an object wants: it looks up the symbol of
//! each relocation. Sources: the processor supplements and `elf_machine_type_class` in glibc's
//! `sysdeps/*/dl-machine.h`.

use std::ops::{BitOr, Range};

use crate::elf::reader::Reader;
use crate::elf::{Class, Machine};

/// The ways in which relocations refer to one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses(u8);

impl Uses {
    /// Through the procedure linkage table: bound at the first call unless all are bound at start.
    pub const JUMP_SLOT: Self = Self(1);
    /// By address or by content, bound at start.
    pub const DATA: Self = Self(2);
    /// Copied from the library into the program.
    pub const COPY: Self = Self(4);
    /// As a thread-local variable, bound at start.
    pub const TLS: Self = Self(8);

    /// Whether all of `other` are among these.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether nothing but calls through the procedure linkage table use the symbol.
    pub fn is_lazy(self) -> bool {
        self == Self::JUMP_SLOT
    }
}

impl BitOr for Uses {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The relocation types of a machine that are told apart.
struct Types {
    copy: u32,
    jump_slot: u32,
    tls: &'static [u32],
}

fn types(machine: Machine, class: Class) -> Types {
    let (copy, jump_slot, tls): (u32, u32, &[u32]) = match (machine, class) {
        (Machine::X86_64, _) => (5, 7, &[16, 17, 18, 36]),
        (Machine::I386, _) => (5, 7, &[14, 35, 36, 37, 41]),
        (Machine::AARCH64, _) => (1024, 1026, &[1028, 1029, 1030, 1031]),
        (Machine::ARM, _) => (20, 22, &[13, 17, 18, 19]),
        (Machine::RISCV, _) => (4, 5, &[6, 7, 8, 9, 10, 11, 12]),
        (Machine::PPC64, _) => (19, 21, &[68, 73, 78]),
        (Machine::S390, _) => (9, 11, &[54, 55, 56]),
        (Machine::LOONGARCH, _) => (4, 5, &[6, 7, 8, 9, 10, 11, 14]),
        _ => (u32::MAX, u32::MAX, &[]),
    };
    Types { copy, jump_slot, tls }
}

/// The ranges in `data` of the relocations that refer to a symbol: the others say nothing about what
/// an object wants, and read as zeroes they refer to none either.
pub(super) fn symbolic_ranges(reader: Reader<'_>, with_addend: bool) -> Vec<Range<usize>> {
    let word = reader.word_size();
    let size = word * if with_addend { 3 } else { 2 };
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for at in (0..reader.data.len() / size).map(|index| index * size) {
        let info = reader.word(at + word).unwrap_or(0);
        let symbol = if reader.class == Class::Elf64 { info >> 32 } else { info >> 8 };
        match ranges.last_mut() {
            _ if symbol == 0 => {}
            Some(last) if last.end == at => last.end = at + size,
            _ => ranges.push(at..at + size),
        }
    }
    ranges
}

/// Adds to `uses` (indexed by symbol) what the relocations in `data` refer to. Symbols from
/// `symbol_count` on do not exist and are passed over.
pub(super) fn collect(
    reader: Reader<'_>,
    machine: Machine,
    with_addend: bool,
    symbol_count: usize,
    uses: &mut Vec<Uses>,
) {
    let word = reader.word_size();
    let size = word * if with_addend { 3 } else { 2 };
    let types = types(machine, reader.class);
    for at in (0..reader.data.len() / size).map(|index| index * size) {
        let Some(info) = reader.word(at + word) else { break };
        let (symbol, kind) = match reader.class {
            Class::Elf64 => ((info >> 32) as usize, info as u32),
            Class::Elf32 => ((info >> 8) as usize, (info & 0xff) as u32),
        };
        if symbol == 0 || symbol >= symbol_count {
            continue;
        }
        let used = match kind {
            kind if kind == types.jump_slot => Uses::JUMP_SLOT,
            kind if kind == types.copy => Uses::COPY,
            kind if types.tls.contains(&kind) => Uses::TLS,
            _ => Uses::DATA,
        };
        if uses.len() <= symbol {
            uses.resize(symbol + 1, Uses::default());
        }
        uses[symbol] = uses[symbol] | used;
    }
}
