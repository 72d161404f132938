//! Dynamic symbols: the imports and exports of an object, and the loader's lookup.
//!
//! Source: `do_lookup_x` and `check_match` in glibc's `elf/dl-lookup.c`. `hash_table` reads the tables that
//! lead to the symbols.

use std::ops::Range;

use goblin::elf::sym;

use crate::elf::hash_table::{GnuHash, LONGEST_LOOK_UP, SysvHash};
use crate::elf::name::room_for_symbols;
use crate::elf::reader::Reader;
use crate::elf::version::VersionEntry;
use crate::elf::{Class, Uses, VersionNeed, gnu_hash};

const SHN_UNDEF: u16 = 0;
const SHN_ABS: u16 = 0xfff1;
const HIDDEN: u16 = 0x8000;
/// On MIPS, an undefined symbol's value is the canonical address of a function (`STO_MIPS_PLT`).
const MIPS_PLT: u8 = 8;
/// The length of a shortened symbol name, once the limit for names is reached.
const CUT_NAME: usize = 64;

/// A symbol that an object needs from other objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import<'a> {
    /// Its name, as bytes.
    pub name: &'a [u8],
    /// The symbol may be missing.
    pub weak: bool,
    /// Its GNU hash.
    pub gnu_hash: u32,
    /// How relocations refer to it.
    pub uses: Uses,
    /// The version that it was linked against, or `None` for an unversioned reference.
    pub version: Option<VersionReference<'a>>,
    /// The object itself defines the symbol.
    pub own: bool,
    /// The object itself defines the symbol, and no other object takes precedence (`STV_PROTECTED`).
    pub protected: bool,
}

/// An import in the form of its object's tables. [`crate::elf::Object::import`] converts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportEntry {
    name: u32,
    name_size: u32,
    gnu_hash: u32,
    version: u16,
    weak: bool,
    own: bool,
    protected: bool,
    uses: Uses,
}

impl ImportEntry {
    /// Returns whether the object defines the symbol itself and does not need a copy of another object's.
    pub fn is_own(&self) -> bool {
        self.own && !self.uses.contains(Uses::COPY)
    }
}

/// The version of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionReference<'a> {
    /// The library that defined it when the object was linked.
    pub library: &'a str,
    /// The version's name.
    pub name: &'a str,
    /// An unversioned definition does not satisfy it.
    pub hidden: bool,
}

/// The target of a lookup.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The symbol's name.
    pub name: &'a [u8],
    /// Its GNU hash.
    pub gnu_hash: u32,
    /// The versions that satisfy the lookup.
    pub version: VersionRule<'a>,
    /// Whether an undefined symbol with a value counts as a definition: the canonical entry of a program's
    /// procedure linkage table. It does not for calls and thread-local variables.
    pub accept_undefined: bool,
}

/// The versions of a symbol that satisfy a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRule<'a> {
    /// The reference names no version.
    Unversioned,
    /// The reference names a version.
    Named {
        /// Its name.
        name: &'a str,
        /// An unversioned definition does not satisfy it.
        refuses_unversioned: bool,
    },
    /// The loader ignores versions (musl): any definition that is not hidden satisfies the reference.
    Ignored,
}

impl<'a> VersionRule<'a> {
    /// Returns the rule of a reference for a loader that supports versions.
    pub fn of(reference: Option<VersionReference<'a>>) -> Self {
        match reference {
            Some(version) => Self::Named { name: version.name, refuses_unversioned: version.hidden },
            None => Self::Unversioned,
        }
    }
}

impl<'a> Wanted<'a> {
    /// Returns the lookup that the loader performs for an import.
    pub fn of(import: &Import<'a>) -> Self {
        let through_table = import.uses.contains(Uses::JUMP_SLOT) || import.uses.is_thread_local();
        Self {
            name: import.name,
            gnu_hash: import.gnu_hash,
            version: VersionRule::of(import.version),
            accept_undefined: !through_table,
        }
    }
}

/// Whether a definition is the default one of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// An unversioned reference may bind to it.
    Default,
    /// Only references to its version bind to it (`name@VERSION`).
    Hidden,
}

/// A symbol that an object provides to other objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition<'a> {
    /// Its name, as bytes.
    pub name: &'a [u8],
    /// Its version, or `None` for the base version or an object without versions.
    pub version: Option<&'a str>,
    /// Whether it is the default of its name.
    pub visibility: Visibility,
    /// It is undefined but has a value: the canonical entry of a program's procedure linkage table.
    pub undefined: bool,
    /// A function of the object returns its address (`STT_GNU_IFUNC`).
    pub indirect: bool,
}

/// A symbol's name, or its beginning.
#[derive(Clone, Copy)]
struct Name<'a> {
    bytes: &'a [u8],
    whole: bool,
}

/// The file offsets of the tables that a lookup reads.
#[derive(Clone, Debug, Default)]
pub(super) struct SymbolTable {
    pub symbols: usize,
    pub strings: (usize, usize),
    pub gnu_hash: Option<usize>,
    pub sysv_hash: Option<SysvHash>,
    pub versions: Option<usize>,
    pub entries: Vec<Option<VersionEntry>>,
    pub is_mips: bool,
}

/// One entry of the symbol table.
#[derive(Clone, Copy)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
}

impl Symbol {
    fn parse(reader: Reader<'_>, at: usize) -> Option<Self> {
        let name = reader.u32(at)?;
        Some(match reader.class {
            Class::Elf64 => Self {
                name,
                info: reader.u8(at + 4)?,
                other: reader.u8(at + 5)?,
                section: reader.u16(at + 6)?,
                value: reader.u64(at + 8)?,
            },
            Class::Elf32 => Self {
                name,
                value: u64::from(reader.u32(at + 4)?),
                info: reader.u8(at + 12)?,
                other: reader.u8(at + 13)?,
                section: reader.u16(at + 14)?,
            },
        })
    }

    fn binding(&self) -> u8 {
        self.info >> 4
    }

    fn kind(&self) -> u8 {
        self.info & 0xf
    }

    /// Returns whether other objects can bind to it: it is named and visible, has a value, and is of a suitable
    /// kind.
    fn is_offered(&self) -> bool {
        // An undefined thread-local symbol has no value either. No reference to such data accepts it.
        let is_thread_local = self.kind() == sym::STT_TLS && self.section != SHN_UNDEF;
        let has_value = self.value != 0 || self.section == SHN_ABS || is_thread_local;
        let kind_counts = matches!(
            self.kind(),
            sym::STT_NOTYPE
                | sym::STT_OBJECT
                | sym::STT_FUNC
                | sym::STT_COMMON
                | sym::STT_TLS
                | sym::STT_GNU_IFUNC
        );
        let visible = !matches!(self.other & 3, sym::STV_HIDDEN | sym::STV_INTERNAL);
        let bound = matches!(self.binding(), sym::STB_GLOBAL | sym::STB_WEAK | sym::STB_GNU_UNIQUE);
        has_value && kind_counts && visible && bound
    }
}

impl SymbolTable {
    /// Returns the size of one symbol in bytes.
    pub(super) fn entry_size(class: Class) -> usize {
        match class {
            Class::Elf32 => 16,
            Class::Elf64 => 24,
        }
    }

    fn symbol(&self, reader: Reader<'_>, index: usize) -> Option<Symbol> {
        let offset = index.checked_mul(Self::entry_size(reader.class))?;
        Symbol::parse(reader, self.symbols.checked_add(offset)?)
    }

    fn strings<'a>(&self, reader: Reader<'a>) -> Reader<'a> {
        let (start, size) = self.strings;
        Reader { data: reader.data.get(start..start.saturating_add(size)).unwrap_or_default(), ..reader }
    }

    /// Returns the name of a symbol, shortened if the limit for names is reached.
    fn name<'a>(&self, reader: Reader<'a>, symbol: &Symbol, room: &mut usize) -> Option<Name<'a>> {
        let strings = self.strings(reader);
        let at = symbol.name as usize;
        match strings.string_of_at_most(at, CUT_NAME.max(*room))? {
            Ok(bytes) => {
                *room = room.saturating_sub(bytes.len());
                Some(Name { bytes, whole: true })
            }
            Err(_) => {
                *room = 0;
                Some(Name { bytes: strings.data.get(at..at + CUT_NAME)?, whole: false })
            }
        }
    }

    /// Returns whether the string at `offset` is `wanted`, without searching for the end of a longer string.
    fn is_string(&self, reader: Reader<'_>, offset: u32, wanted: &[u8], effort: &mut usize) -> bool {
        let tail = self.strings(reader).data.get(offset as usize..).unwrap_or_default();
        if tail.get(wanted.len()) != Some(&0) {
            return false;
        }
        *effort += wanted.len() / 16;
        tail.starts_with(wanted)
    }

    /// Returns the entry of `DT_VERSYM`: the version index with the hidden bit.
    fn version_index(&self, reader: Reader<'_>, index: usize) -> Option<u16> {
        reader.u16(self.versions?.checked_add(index.checked_mul(2)?)?)
    }

    fn entry(&self, index: u16) -> Option<&VersionEntry> {
        self.entries.get(usize::from(index & !HIDDEN))?.as_ref()
    }

    /// Returns the imports among the symbols that `uses` (indexed by symbol) refers to. A name beyond the limit
    /// is shortened, so that no object defines it.
    pub(super) fn import_entries(&self, reader: Reader<'_>, uses: &[Uses]) -> Vec<ImportEntry> {
        let wanted = |symbol: &Symbol, uses: Uses| symbol.section == SHN_UNDEF || uses.contains(Uses::COPY);
        self.entries_where(reader, uses, wanted)
    }

    /// Returns all symbols that `uses` refers to and the loader looks up, no matter which object defines them.
    pub(super) fn reference_entries(&self, reader: Reader<'_>, uses: &[Uses]) -> Vec<ImportEntry> {
        let is_looked_up =
            |symbol: &Symbol, _| !matches!(symbol.other & 3, sym::STV_HIDDEN | sym::STV_INTERNAL);
        self.entries_where(reader, uses, is_looked_up)
    }

    fn entries_where(
        &self,
        reader: Reader<'_>,
        uses: &[Uses],
        wanted: impl Fn(&Symbol, Uses) -> bool,
    ) -> Vec<ImportEntry> {
        let mut room = room_for_symbols(reader);
        let used = uses.iter().enumerate().filter(|(_, uses)| !uses.is_empty());
        used.filter_map(|(index, uses)| {
            let symbol = self.symbol(reader, index)?;
            if !wanted(&symbol, *uses) || symbol.binding() == sym::STB_LOCAL {
                return None;
            }
            let name = self.name(reader, &symbol, &mut room).filter(|name| !name.bytes.is_empty())?;
            Some(ImportEntry {
                name: symbol.name,
                name_size: u32::try_from(name.bytes.len()).ok()?,
                gnu_hash: gnu_hash(name.bytes),
                version: self.version_index(reader, index).unwrap_or(0),
                weak: symbol.binding() == sym::STB_WEAK,
                own: symbol.section != SHN_UNDEF,
                protected: symbol.section != SHN_UNDEF && symbol.other & 3 == sym::STV_PROTECTED,
                uses: *uses,
            })
        })
        .collect()
    }

    /// Returns the import for an entry of [`SymbolTable::import_entries`].
    pub(super) fn import<'a>(
        &'a self,
        reader: Reader<'a>,
        entry: &ImportEntry,
        needs: &'a [VersionNeed],
    ) -> Import<'a> {
        let name = entry.name as usize;
        let version = self.entry(entry.version).map(|version| VersionReference {
            library: version.need.map_or("", |need| needs[need].library.as_str()),
            name: &version.name,
            hidden: version.hidden,
        });
        Import {
            name: self.strings(reader).data.get(name..name + entry.name_size as usize).unwrap_or_default(),
            gnu_hash: entry.gnu_hash,
            weak: entry.weak,
            uses: entry.uses,
            version,
            own: entry.own,
            protected: entry.protected,
        }
    }

    /// Returns every definition that other objects can bind to.
    pub(super) fn definitions<'a>(&'a self, reader: Reader<'a>) -> Vec<Definition<'a>> {
        let mut room = room_for_symbols(reader);
        (1..self.count(reader)).filter_map(|index| self.definition(reader, index, &mut room)).collect()
    }

    fn definition<'a>(
        &'a self,
        reader: Reader<'a>,
        index: usize,
        room: &mut usize,
    ) -> Option<Definition<'a>> {
        let symbol = self.symbol(reader, index)?;
        if !self.offers(&symbol) {
            return None;
        }
        let version_index = self.version_index(reader, index).unwrap_or(1);
        let hidden = version_index & HIDDEN != 0;
        Some(Definition {
            name: self.name(reader, &symbol, room).filter(|name| name.whole)?.bytes,
            version: self.entry(version_index).map(|entry| entry.name.as_str()),
            visibility: if hidden { Visibility::Hidden } else { Visibility::Default },
            undefined: symbol.section == SHN_UNDEF,
            indirect: symbol.kind() == sym::STT_GNU_IFUNC && symbol.section != SHN_UNDEF,
        })
    }

    /// Returns whether other objects can bind to a symbol. On MIPS, the value of an undefined symbol may be a
    /// stub for lazy binding, which does not count (`elf_machine_sym_no_match`).
    fn offers(&self, symbol: &Symbol) -> bool {
        let is_stub = self.is_mips && symbol.section == SHN_UNDEF && symbol.other & MIPS_PLT == 0;
        symbol.is_offered() && !is_stub
    }

    /// Returns how an entry of MIPS' global offset table refers to its symbol: a function with a stub is bound
    /// at the first call (`elf_machine_got_rel` in glibc's `sysdeps/mips/dl-machine.h`).
    pub(super) fn mips_use(&self, reader: Reader<'_>, index: usize) -> Uses {
        let has_stub = |symbol: Symbol| {
            symbol.section == SHN_UNDEF
                && symbol.kind() == sym::STT_FUNC
                && symbol.value != 0
                && symbol.other & MIPS_PLT == 0
        };
        if self.symbol(reader, index).is_some_and(has_stub) { Uses::JUMP_SLOT } else { Uses::DATA }
    }

    /// Returns the names of the given symbols that the object does not define, and whether it defines any of
    /// them.
    pub(super) fn undefined_names<'a>(&self, reader: Reader<'a>, indices: &[usize]) -> (Vec<&'a [u8]>, bool) {
        let mut room = room_for_symbols(reader);
        let mut defines = false;
        let mut names = Vec::new();
        for symbol in indices.iter().filter_map(|index| self.symbol(reader, *index)) {
            match symbol.section {
                SHN_UNDEF => names.extend(self.name(reader, &symbol, &mut room).map(|name| name.bytes)),
                _ => defines = true,
            }
        }
        (names, defines)
    }

    /// Returns the number of symbols that the hash tables reach.
    pub(super) fn count(&self, reader: Reader<'_>) -> usize {
        let most = reader.data.len().saturating_sub(self.symbols) / Self::entry_size(reader.class);
        let sysv = self.sysv_hash.and_then(|table| table.count(reader));
        let count = sysv.or_else(|| GnuHash::parse(reader, self.gnu_hash?)?.count(reader));
        count.unwrap_or(0).min(most)
    }

    /// Returns the file ranges of the hash tables, for a symbol table of `count` entries.
    pub(super) fn hash_ranges(&self, reader: Reader<'_>, count: usize) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        if let Some(at) = self.gnu_hash {
            let end = GnuHash::parse(reader, at).map(|table| {
                let chained = count.saturating_sub(table.symbol_offset);
                table.chain.saturating_add(chained.saturating_mul(4))
            });
            ranges.push(at..end.unwrap_or(at.saturating_add(16)));
        }
        ranges.extend(self.sysv_hash.and_then(|table| table.range(reader)));
        ranges
    }

    /// Returns whether this object satisfies a reference: the loader's lookup in one object.
    pub(super) fn satisfies(&self, reader: Reader<'_>, wanted: &Wanted<'_>) -> bool {
        let mut search = Match::default();
        if let Some(table) = self.gnu_hash.and_then(|at| GnuHash::parse(reader, at)) {
            table.visit(reader, wanted.gnu_hash, |index| self.examine(reader, index, wanted, &mut search));
        } else if let Some(table) = self.sysv_hash {
            table.visit(reader, wanted.name, |index| self.examine(reader, index, wanted, &mut search));
        }
        search.found()
    }

    /// Examines one symbol of a hash chain (`check_match`), and returns whether the search is over.
    fn examine(&self, reader: Reader<'_>, index: usize, wanted: &Wanted<'_>, search: &mut Match) -> bool {
        search.effort += 1;
        if search.effort > LONGEST_LOOK_UP {
            return true;
        }
        let Some(symbol) = self.symbol(reader, index) else { return false };
        let counts = self.offers(&symbol) && (wanted.accept_undefined || symbol.section != SHN_UNDEF);
        if !counts || !self.is_string(reader, symbol.name, wanted.name, &mut search.effort) {
            return false;
        }
        // musl's `find_sym` ignores indirect functions and absolute symbols at zero.
        let is_unknown_to_musl =
            symbol.kind() == sym::STT_GNU_IFUNC || (symbol.value == 0 && symbol.kind() != sym::STT_TLS);
        if wanted.version == VersionRule::Ignored && is_unknown_to_musl {
            return false;
        }
        let Some(index) = self.version_index(reader, index) else {
            search.exact = true;
            return true;
        };
        match wanted.version {
            VersionRule::Named { name, refuses_unversioned } => {
                let entry = self.entry(index);
                search.effort += name.len() / 16;
                let same = entry.is_some_and(|entry| entry.name == name);
                let base = entry.is_none() && index & HIDDEN == 0 && !refuses_unversioned;
                search.exact |= same || base;
            }
            VersionRule::Unversioned if index & !HIDDEN < 3 => search.exact = true,
            VersionRule::Unversioned if index & HIDDEN == 0 => search.versioned += 1,
            VersionRule::Unversioned => {}
            VersionRule::Ignored => search.exact |= index & HIDDEN == 0,
        }
        search.exact
    }
}

/// The state of a lookup.
#[derive(Default)]
struct Match {
    exact: bool,
    /// The number of non-hidden versioned definitions for an unversioned reference: a single one is used.
    versioned: usize,
    /// The effort so far.
    effort: usize,
}

impl Match {
    fn found(&self) -> bool {
        self.exact || self.versioned == 1
    }
}
