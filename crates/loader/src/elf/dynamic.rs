//! The dynamic section (gABI chapter 5, "Dynamic Section"; GNU tags in `elf.h`).

use goblin::elf::dynamic as tag;

use crate::elf::reader::Reader;

const DT_FILTER: u64 = 0x7fff_ffff;
const DT_AUXILIARY: u64 = 0x7fff_fffd;
const DT_RELR: u64 = 36;
const DF_1_NODEFLIB: u64 = 0x800;
const DF_1_NOOPEN: u64 = 0x40;
const DT_MIPS_SYMTABNO: u64 = 0x7000_0011;
const DT_MIPS_GOTSYM: u64 = 0x7000_0013;

/// The content of the dynamic section, with names resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// The name under which other objects link against it.
    pub soname: Option<String>,
    /// The libraries that it needs, in order.
    pub needed: Vec<Dependency>,
    /// `DT_RPATH`, elements separated by `:`.
    pub rpath: Option<String>,
    /// `DT_RUNPATH`, elements separated by `:`.
    pub runpath: Option<String>,
    /// The flags that change how it is loaded.
    pub flags: Flags,
}

/// One needed library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The name as written, including tokens.
    pub name: String,
    /// The kind of dependency.
    pub kind: DependencyKind,
}

/// The kind of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyKind {
    /// `DT_NEEDED`.
    Needed,
    /// `DT_FILTER`: symbols are looked up there first. The start fails if it is missing.
    Filter,
    /// `DT_AUXILIARY`: symbols are looked up there first. It may be missing.
    Auxiliary,
}

/// Flags of the dynamic section that change how an object is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// All symbols are bound at start (`DT_BIND_NOW`, `DF_BIND_NOW`, `DF_1_NOW`).
    pub bind_now: bool,
    /// Its own definitions take precedence for itself (`DT_SYMBOLIC`, `DF_SYMBOLIC`).
    pub symbolic: bool,
    /// The default directories are not searched for it (`DF_1_NODEFLIB`).
    pub no_default_libraries: bool,
    /// It is a position-independent executable (`DF_1_PIE`).
    pub pie: bool,
    /// It has an entry for debuggers (`DT_DEBUG`), which linkers write to programs but not to libraries.
    pub debug: bool,
    /// `dlopen` must not open it (`DF_1_NOOPEN`).
    pub no_open: bool,
    /// It has packed relative relocations (`DT_RELR`).
    pub relr: bool,
}

/// The addresses and sizes of the tables, from the dynamic section.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub string_table: Option<u64>,
    pub string_size: u64,
    pub symbol_table: Option<u64>,
    pub gnu_hash: Option<u64>,
    pub sysv_hash: Option<u64>,
    pub version_symbols: Option<u64>,
    pub version_needs: Option<u64>,
    pub version_definitions: Option<u64>,
    /// Address, size in bytes, and whether the entries have an addend.
    pub relocations: Vec<(u64, u64, bool)>,
    pub jump_slots: Option<u64>,
    pub jump_slots_size: u64,
    pub jump_slots_with_addend: bool,
    /// On MIPS, the first symbol with a global entry in the global offset table. All symbols after it have one
    /// too.
    pub mips_first_global: Option<u64>,
    /// On MIPS, the number of symbols.
    pub mips_symbol_count: u64,
}

/// The raw entries: tables, flags, and offsets of strings.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub tables: Tables,
    pub flags: Flags,
    pub soname: Option<u64>,
    pub rpath: Option<u64>,
    pub runpath: Option<u64>,
    pub needed: Vec<(u64, DependencyKind)>,
    /// The number of bytes that were read, including `DT_NULL`.
    pub size: usize,
    /// `DT_NULL` was found.
    is_ended: bool,
    rel: (Option<u64>, u64),
    rela: (Option<u64>, u64),
}

impl Entries {
    /// Reads entries up to `DT_NULL` or the end of `data`.
    pub(super) fn parse(reader: Reader<'_>) -> Self {
        let mut entries = Self::default();
        let word = reader.word_size();
        for at in (0..).step_by(2 * word) {
            let (Some(tag), Some(value)) = (reader.word(at), reader.word(at + word)) else { break };
            entries.size = at + 2 * word;
            if tag == tag::DT_NULL {
                entries.is_ended = true;
                break;
            }
            entries.take(tag, value);
        }
        for (table, with_addend) in [(entries.rela, true), (entries.rel, false)] {
            if let (Some(address), size @ 1..) = table {
                entries.tables.relocations.push((address, size, with_addend));
            }
        }
        entries
    }

    /// Returns a fault that no loader accepts. No loader checks anything beyond these entries.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match () {
            () if !self.is_ended => Some("its segment ends before DT_NULL"),
            () if self.tables.string_table.is_none() => Some("it has no string table"),
            () if self.tables.symbol_table.is_none() => Some("it has no symbol table"),
            () => None,
        }
    }

    fn take(&mut self, tag: u64, value: u64) {
        let tables = &mut self.tables;
        match tag {
            tag::DT_NEEDED => self.needed.push((value, DependencyKind::Needed)),
            DT_FILTER => self.needed.push((value, DependencyKind::Filter)),
            DT_AUXILIARY => self.needed.push((value, DependencyKind::Auxiliary)),
            tag::DT_SONAME => self.soname = Some(value),
            tag::DT_RPATH => self.rpath = Some(value),
            tag::DT_RUNPATH => self.runpath = Some(value),
            tag::DT_STRTAB => tables.string_table = Some(value),
            tag::DT_STRSZ => tables.string_size = value,
            tag::DT_SYMTAB => tables.symbol_table = Some(value),
            tag::DT_GNU_HASH => tables.gnu_hash = Some(value),
            tag::DT_HASH => tables.sysv_hash = Some(value),
            tag::DT_VERSYM => tables.version_symbols = Some(value),
            tag::DT_VERNEED => tables.version_needs = Some(value),
            tag::DT_VERDEF => tables.version_definitions = Some(value),
            tag::DT_RELA => self.rela.0 = Some(value),
            tag::DT_RELASZ => self.rela.1 = value,
            tag::DT_REL => self.rel.0 = Some(value),
            tag::DT_RELSZ => self.rel.1 = value,
            tag::DT_JMPREL => tables.jump_slots = Some(value),
            tag::DT_PLTRELSZ => tables.jump_slots_size = value,
            tag::DT_PLTREL => tables.jump_slots_with_addend = value == tag::DT_RELA,
            DT_MIPS_GOTSYM => tables.mips_first_global = Some(value),
            DT_MIPS_SYMTABNO => tables.mips_symbol_count = value,
            _ => self.take_flag(tag, value),
        }
    }

    fn take_flag(&mut self, tag: u64, value: u64) {
        let flags = &mut self.flags;
        match tag {
            tag::DT_BIND_NOW => flags.bind_now = true,
            tag::DT_SYMBOLIC => flags.symbolic = true,
            tag::DT_FLAGS => {
                flags.bind_now |= value & tag::DF_BIND_NOW != 0;
                flags.symbolic |= value & tag::DF_SYMBOLIC != 0;
            }
            tag::DT_FLAGS_1 => {
                flags.bind_now |= value & tag::DF_1_NOW != 0;
                flags.no_default_libraries |= value & DF_1_NODEFLIB != 0;
                flags.pie |= value & tag::DF_1_PIE != 0;
                flags.no_open |= value & DF_1_NOOPEN != 0;
            }
            tag::DT_DEBUG => flags.debug = true,
            DT_RELR => flags.relr = true,
            _ => {}
        }
    }
}
