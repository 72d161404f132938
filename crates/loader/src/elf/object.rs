//! One object: its header, its segments and everything that they refer to.

use std::ops::Range;

use bytes::Bytes;
use goblin::elf::header::{self, Header};
use goblin::elf::program_header::{self as segment, ProgramHeader};

use crate::elf::dynamic::{Entries, Tables};
use crate::elf::hash_table::SysvHash;
use crate::elf::name::Names;
use crate::elf::reader::Reader;
use crate::elf::segments::{Segments, dynamic_entries, parse_segments};
use crate::elf::symbol::SymbolTable;
use crate::elf::{
    Class, DefinedVersion, Definition, Dependency, Dynamic, Endian, Error, IdentificationFault, Import,
    ImportEntry, Layout, Machine, Marks, Notes, ThreadLocal, Uses, VersionNeed, Wanted, mark, relocation,
    version,
};
use compat_sys::raw;

/// The kind of file in the ELF header (`e_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// `ET_EXEC`: an executable for fixed addresses.
    Executable,
    /// `ET_DYN`: a shared object or a position-independent executable.
    Shared,
    /// `ET_REL`, `ET_CORE` or another kind that is neither run nor loaded.
    Other(u16),
}

/// The facts of one ELF object.
#[derive(Clone, Debug)]
pub struct Object {
    data: Bytes,
    /// The width of addresses.
    pub class: Class,
    /// The byte order.
    pub endian: Endian,
    /// The machine that the object is for.
    pub machine: Machine,
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// The fault in the identification bytes that glibc's loader would report.
    pub identification_fault: Option<IdentificationFault>,
    /// The segments.
    pub layout: Layout,
    /// The kind of file.
    pub kind: FileType,
    /// Whether its stack must be executable (`PT_GNU_STACK`), or `None` if it has no such header.
    pub executable_stack: Option<bool>,
    /// Its thread-local segment.
    pub thread_local: Option<ThreadLocal>,
    /// The program interpreter (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// The dynamic section, or `None` if the object has none.
    pub dynamic: Option<Dynamic>,
    /// The content of its notes.
    pub notes: Notes,
    /// The marks of tools in it, which no loader reads.
    pub marks: Marks,
    /// It has an entry point, but neither an interpreter nor a dynamic section.
    pub is_bare: bool,
    /// The versions that it needs from other objects (`DT_VERNEED`).
    pub version_needs: Vec<VersionNeed>,
    /// The versions that it defines (`DT_VERDEF`), or `None` if it has no such table.
    pub version_definitions: Option<Vec<DefinedVersion>>,
    pub(super) symbols: Option<SymbolTable>,
    /// Its relocations.
    pub(super) relocations: Vec<relocation::Table>,
    /// On MIPS, the symbols that entries of the global offset table refer to without a relocation.
    mips_globals: std::ops::Range<usize>,
}

/// The maximum number of libraries that an object may need, far above the largest known programs. It is small
/// enough to search for each of them.
const MAXIMUM_NEEDED: usize = 4096;

/// The maximum number of symbols that relocations refer to, ten times that of the largest known objects.
/// Without it, one relocation of a sparse file could cause an allocation of gigabytes.
const MAXIMUM_SYMBOLS: usize = 1 << 24;

impl Object {
    /// Reads an object from its bytes. It examines only a small part of them. Symbols are read on request.
    ///
    /// # Errors
    ///
    /// If the bytes are not an ELF object, or its headers or dynamic tables are outside of the file or
    /// contradict each other.
    pub fn parse(data: Bytes) -> Result<Self, Error> {
        let bytes = data.clone();
        let (header, reader) = parse_header(&bytes)?;
        let machine = Machine(header.e_machine);
        let segments = Segments { reader, headers: parse_segments(&header, reader)? };
        segments.check_extent()?;
        let mut object = Self {
            data,
            class: reader.class,
            endian: reader.endian,
            machine,
            os_abi: header.e_ident[header::EI_OSABI],
            identification_fault: IdentificationFault::of(&header),
            layout: Layout::of(&header, &segments.headers),
            kind: match header.e_type {
                header::ET_EXEC => FileType::Executable,
                header::ET_DYN => FileType::Shared,
                other => FileType::Other(other),
            },
            executable_stack: segments
                .find(segment::PT_GNU_STACK)
                .map(|header| header.p_flags & segment::PF_X != 0),
            thread_local: ThreadLocal::of(&segments.headers),
            interpreter: interpreter(&segments)?,
            dynamic: None,
            notes: notes(&segments, machine),
            marks: Marks::default(),
            is_bare: mark::is_bare(&header, &segments),
            version_needs: Vec::new(),
            version_definitions: None,
            symbols: None,
            relocations: Vec::new(),
            mips_globals: 0..0,
        };
        if let Some(entries) = dynamic_entries(&segments)? {
            object.take_dynamic(&segments, &entries)?;
        }
        object.marks = object.read_marks(&header, &segments).0;
        Ok(object)
    }

    fn take_dynamic(&mut self, segments: &Segments<'_>, entries: &Entries) -> Result<(), Error> {
        let reader = segments.reader;
        let tables = &entries.tables;
        let strings = strings(segments, tables)?;
        let names = Names::new(reader, strings);
        if let Some(why) = entries.fault() {
            return Err(Error::Malformed { what: "dynamic section", why: why.to_owned() });
        }
        self.dynamic = Some(resolve_names(entries, &names)?);
        if let Some(at) = segments.table("the version needs", tables.version_needs)? {
            self.version_needs = version::parse_needs(reader, at, &names)?;
        }
        if let Some(at) = segments.table("the version definitions", tables.version_definitions)? {
            self.version_definitions = Some(version::parse_definitions(reader, at, &names)?);
        }
        let definitions = self.version_definitions.as_deref().unwrap_or_default();
        let versions = version::entries(&self.version_needs, definitions);
        if let Some(symbols) = segments.table("the symbol table", tables.symbol_table)? {
            self.symbols = Some(SymbolTable {
                symbols,
                strings,
                gnu_hash: segments.table("the GNU hash table", tables.gnu_hash)?,
                sysv_hash: segments
                    .table("the hash table", tables.sysv_hash)?
                    .map(|at| SysvHash::new(at, self.machine, self.class)),
                versions: segments.table("the symbol versions", tables.version_symbols)?,
                entries: versions,
                is_mips: self.machine == Machine::MIPS,
            });
        }
        self.relocations = relocation_tables(segments, tables)?;
        if let (Machine::MIPS, Some(first)) = (self.machine, tables.mips_first_global) {
            let place = |number| usize::try_from(number).unwrap_or(usize::MAX);
            self.mips_globals = place(first)..place(tables.mips_symbol_count);
        }
        Ok(())
    }

    /// Returns the marks of tools in it, and the parts of the file that contain them.
    pub(super) fn read_marks(&self, header: &Header, segments: &Segments<'_>) -> (Marks, Vec<Range<usize>>) {
        mark::read(header, segments, self.is_program(), self.notes.kernel.is_some())
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { data: &self.data, class: self.class, endian: self.endian }
    }

    /// Returns whether the object is a program, which the kernel starts, rather than a library, which other
    /// objects link against.
    pub fn is_program(&self) -> bool {
        match self.kind {
            FileType::Executable => true,
            FileType::Shared => {
                let is_pie = self.dynamic.as_ref().is_some_and(|dynamic| dynamic.flags.pie);
                self.interpreter.is_some() || is_pie || self.is_bare
            }
            FileType::Other(_) => false,
        }
    }

    /// Returns whether the object is a program that the kernel starts without a dynamic loader.
    pub fn is_static(&self) -> bool {
        self.is_program() && self.interpreter.is_none()
    }

    /// Returns the symbols that it needs from other objects: those of its relocations that it does not define
    /// itself, in the order of its symbol table.
    pub fn imports(&self) -> Vec<Import<'_>> {
        self.import_entries().iter().map(|entry| self.import(entry)).collect()
    }

    /// Returns the import for an entry of [`Object::import_entries`] of this object.
    pub fn import(&self, entry: &ImportEntry) -> Import<'_> {
        match &self.symbols {
            Some(symbols) => symbols.import(self.reader(), entry, &self.version_needs),
            None => Import::default(),
        }
    }

    /// Returns [`Object::imports`] in a form without a borrow of the object.
    pub fn import_entries(&self) -> Vec<ImportEntry> {
        let Some(symbols) = &self.symbols else { return Vec::new() };
        symbols.import_entries(self.reader(), &self.uses(symbols))
    }

    /// Returns every symbol that is looked up by name, including its own, in the order of its symbol table.
    pub fn references(&self) -> Vec<Import<'_>> {
        let Some(symbols) = &self.symbols else { return Vec::new() };
        let entries = symbols.reference_entries(self.reader(), &self.uses(symbols));
        entries.iter().map(|entry| self.import(entry)).collect()
    }

    /// Returns how the relocations refer to each symbol, by its index.
    pub(super) fn uses(&self, symbols: &SymbolTable) -> Vec<Uses> {
        let reader = self.reader();
        let entry = SymbolTable::entry_size(self.class);
        let count = (self.data.len().saturating_sub(symbols.symbols) / entry).min(MAXIMUM_SYMBOLS);
        let mut uses = Vec::new();
        for table in &self.relocations {
            relocation::collect(reader, self.machine, table, count, &mut uses);
        }
        let globals = self.mips_globals.start.max(1)..self.mips_globals.end.min(count);
        for index in globals {
            relocation::add(&mut uses, index, symbols.mips_use(reader, index));
        }
        uses
    }

    /// Returns the symbols that are looked up by name although it defines them itself, in the order of its
    /// symbol table.
    pub fn own_entries(&self) -> Vec<ImportEntry> {
        let Some(symbols) = &self.symbols else { return Vec::new() };
        let entries = symbols.reference_entries(self.reader(), &self.uses(symbols));
        entries.into_iter().filter(ImportEntry::is_own).collect()
    }

    /// Returns every definition that other objects can bind to, in the order of its symbol table.
    pub fn definitions(&self) -> Vec<Definition<'_>> {
        self.symbols.as_ref().map(|symbols| symbols.definitions(self.reader())).unwrap_or_default()
    }

    /// Returns whether this object satisfies a reference, by the loader's rules for names and versions.
    pub fn satisfies(&self, wanted: &Wanted<'_>) -> bool {
        self.symbols.as_ref().is_some_and(|symbols| symbols.satisfies(self.reader(), wanted))
    }

    /// Returns whether its definitions have versions at all (`DT_VERSYM`).
    pub fn has_symbol_versions(&self) -> bool {
        self.symbols.as_ref().is_some_and(|symbols| symbols.versions.is_some())
    }

    /// Returns the whole file.
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }
}

pub(super) fn parse_header(data: &[u8]) -> Result<(Header, Reader<'_>), Error> {
    if !data.starts_with(header::ELFMAG) {
        return Err(Error::NotElf);
    }
    let too_short = Error::TooShort { length: data.len() };
    let class = match data.get(header::EI_CLASS) {
        Some(&header::ELFCLASS32) => Class::Elf32,
        Some(&header::ELFCLASS64) => Class::Elf64,
        Some(other) => return Err(Error::UnknownClass(*other)),
        None => return Err(too_short),
    };
    let endian = match data.get(header::EI_DATA) {
        Some(&header::ELFDATA2LSB) => Endian::Little,
        Some(&header::ELFDATA2MSB) => Endian::Big,
        Some(other) => return Err(Error::MalformedHeader(format!("byte order {other} is neither 1 nor 2"))),
        None => return Err(too_short),
    };
    let size = if class == Class::Elf64 { 64 } else { 52 };
    if data.len() < size {
        return Err(too_short);
    }
    let header = goblin::elf::Elf::parse_header(data).map_err(|e| Error::MalformedHeader(e.to_string()))?;
    Ok((header, Reader { data, class, endian }))
}

/// Returns the program headers of an ELF file.
pub(super) fn program_headers(data: &[u8]) -> Result<Vec<ProgramHeader>, Error> {
    let (header, reader) = parse_header(data)?;
    parse_segments(&header, reader)
}

fn interpreter(segments: &Segments<'_>) -> Result<Option<String>, Error> {
    let Some(header) = segments.find(segment::PT_INTERP) else { return Ok(None) };
    let reader = segments.bytes("the interpreter's name", header)?;
    let name = reader.string(0).filter(|_| reader.data.ends_with(b"\0"));
    let name = name.ok_or_else(|| Error::Malformed {
        what: "interpreter's name",
        why: "it does not end with a NUL byte".to_owned(),
    })?;
    Ok(Some(raw::string(name)))
}

fn notes(segments: &Segments<'_>, machine: Machine) -> Notes {
    const PT_GNU_PROPERTY: u32 = 0x6474_e553;
    let mut notes = Notes::default();
    // A property note is in two segments, any other note in at most one. Any number of segments may share
    // bytes.
    let mut left = segments.reader.data.len().saturating_mul(2);
    for header in &segments.headers {
        if !matches!(header.p_type, segment::PT_NOTE | PT_GNU_PROPERTY) {
            continue;
        }
        if let Ok(reader) = segments.bytes("the notes", header) {
            let Some(rest) = left.checked_sub(reader.data.len()) else { break };
            left = rest;
            let align = if header.p_align == 8 { 8 } else { 4 };
            notes.read(reader, align, machine);
        }
    }
    notes
}

pub(super) fn strings(segments: &Segments<'_>, tables: &Tables) -> Result<(usize, usize), Error> {
    let Some(address) = tables.string_table else { return Ok((0, 0)) };
    let unmapped = Error::Unmapped { what: "the dynamic string table", address };
    let (offset, left) = segments.offset(address).ok_or(unmapped)?;
    let size = usize::try_from(tables.string_size).unwrap_or(usize::MAX);
    if size > left {
        return Err(Error::OutOfBounds {
            what: "the dynamic string table",
            offset: offset as u64,
            length: segments.reader.data.len(),
        });
    }
    Ok((offset, size))
}

fn resolve_names(entries: &Entries, names: &Names<'_>) -> Result<Dynamic, Error> {
    const WHAT: &str = "dynamic section";
    if entries.needed.len() > MAXIMUM_NEEDED {
        let why = format!("it needs {} libraries, more than {MAXIMUM_NEEDED}", entries.needed.len());
        return Err(Error::Malformed { what: WHAT, why });
    }
    let name = |offset| names.name(WHAT, offset);
    let path_list = |offset| names.path_list(WHAT, offset);
    let dependency = |(offset, kind): &(u64, _)| Ok(Dependency { name: name(*offset)?, kind: *kind });
    Ok(Dynamic {
        soname: entries.soname.map(name).transpose()?,
        needed: entries.needed.iter().map(dependency).collect::<Result<_, Error>>()?,
        rpath: entries.rpath.map(path_list).transpose()?,
        runpath: entries.runpath.map(path_list).transpose()?,
        flags: entries.flags,
    })
}

fn relocation_tables(segments: &Segments<'_>, tables: &Tables) -> Result<Vec<relocation::Table>, Error> {
    let jump_slots = tables
        .jump_slots
        .filter(|_| tables.jump_slots_size > 0)
        .map(|address| (address, tables.jump_slots_size, tables.jump_slots_with_addend, true));
    let others = tables.relocations.iter().map(|(address, size, addend)| (*address, *size, *addend, false));
    let all = others.chain(jump_slots);
    all.map(|(address, size, with_addend, is_lazy)| {
        let unmapped = Error::Unmapped { what: "the relocations", address };
        let (offset, left) = segments.offset(address).ok_or(unmapped)?;
        match usize::try_from(size) {
            Ok(size) if size <= left => {
                Ok(relocation::Table { range: offset..offset + size, with_addend, is_lazy })
            }
            _ => Err(Error::OutOfBounds {
                what: "the relocations",
                offset: offset as u64,
                length: segments.reader.data.len(),
            }),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::sample::{NEEDED, Sample};

    #[test]
    fn every_fact_is_read_alike_in_each_class_and_byte_order() {
        for sample in Sample::all(5000) {
            let object = Object::parse(sample.bytes()).unwrap();
            assert_eq!((object.machine, object.class), (sample.machine, sample.class));
            assert_eq!(object.endian == Endian::Big, sample.big_endian);
            assert_eq!(object.is_program(), sample.is_program);
            assert_eq!(object.interpreter.is_some(), sample.is_program);
            let dynamic = object.dynamic.as_ref().unwrap();
            assert_eq!(dynamic.needed.iter().map(|needed| &needed.name[..]).collect::<Vec<_>>(), [NEEDED]);
            assert_eq!(dynamic.runpath.as_deref(), Some("$ORIGIN/../lib"));
            assert_eq!(dynamic.soname.is_some(), !sample.is_program);
            assert_eq!(object.notes.kernel.map(|kernel| kernel.to_string()).as_deref(), Some("3.2.1"));
            assert_eq!(object.notes.build_id.as_deref(), Some(&b"sampleid"[..]));
            assert_eq!(object.executable_stack, Some(false));
            assert!(object.thread_local.is_some());
            let told: Vec<_> = object.imports().iter().map(of_import).collect();
            let expected = [
                ("called".to_owned(), Some("NEEDED_1".to_owned()), false, true),
                ("wanted".to_owned(), Some("NEEDED_2".to_owned()), false, false),
                ("missed".to_owned(), None, true, false),
            ];
            assert_eq!(told, expected, "{sample:?}");
            let names: Vec<&[u8]> = object.definitions().iter().map(|definition| definition.name).collect();
            assert_eq!(names, [&b"first"[..], b"second", b"hidden"], "{sample:?}");
            let own = object.references().into_iter().find(|import| import.name == b"first").unwrap();
            assert!(object.satisfies(&Wanted::of(&own)), "{sample:?}");
            assert!(object.imports().iter().all(|import| !object.satisfies(&Wanted::of(import))));
            assert_eq!(object.marks.cpu.is_empty(), !sample.is_go, "{sample:?}");
        }
    }

    /// Name, version, whether it is weak, whether it is bound at the first call.
    fn of_import(import: &Import<'_>) -> (String, Option<String>, bool, bool) {
        let name = String::from_utf8_lossy(import.name).into_owned();
        let version = import.version.as_ref().map(|version| version.name.to_owned());
        (name, version, import.weak, import.uses.is_lazy())
    }

    #[test]
    fn an_object_is_truncated_anywhere_without_a_panic() {
        for sample in Sample::all(3000) {
            let bytes = sample.bytes();
            let (mut read, mut refused) = (0, 0);
            for length in (0..bytes.len()).step_by(7) {
                match Object::parse(bytes.slice(..length)) {
                    Ok(object) => {
                        read_everything(&object);
                        read += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            // Missing bytes of the last page read as zeroes.
            assert!(read > 0 && refused > 1000, "{sample:?}: {read} read, {refused} refused");
        }
    }

    #[test]
    fn an_error_names_what_is_wrong() {
        let message = |bytes: &'static [u8]| Object::parse(bytes.into()).unwrap_err().to_string();
        assert_eq!(message(b"#!/bin/sh\n"), "not an ELF file");
        assert_eq!(message(b"\x7fELF"), "the file ends inside its ELF header (4 bytes)");
        assert_eq!(message(b"\x7fELF\x07"), "malformed ELF header: class 7 is neither 1 nor 2");
        let bytes = Sample::program(Machine::X86_64, 0).bytes().slice(..64);
        let error = Object::parse(bytes).unwrap_err();
        assert!(matches!(error, Error::OutOfBounds { what: "the program header table", .. }), "{error}");
    }

    #[test]
    fn references_of_mips_come_from_the_global_offset_table_too() {
        let objects = [&include_bytes!("testdata/mips.so")[..], include_bytes!("testdata/mips64el.so")];
        for bytes in objects {
            let object = Object::parse(bytes.into()).unwrap();
            let imports = object.imports();
            let mut told: Vec<_> = imports
                .iter()
                .map(|import| (std::str::from_utf8(import.name).unwrap(), import.weak, import.uses.is_lazy()))
                .collect();
            told.sort_unstable();
            let lazily = ("called", false, true);
            assert_eq!(
                told,
                [lazily, ("data_gone", false, false), ("gone", false, false), ("weak_gone", true, false)]
            );
            assert!(
                imports.iter().all(|import| !object.satisfies(&Wanted::of(import))),
                "a stub is no function"
            );
            let copy: Vec<u8> = {
                let mut copy = vec![0; bytes.len()];
                for range in crate::elf::ranges(&bytes.into()) {
                    copy[range.clone()].copy_from_slice(&bytes[range]);
                }
                copy
            };
            let copied = Object::parse(copy.into()).unwrap();
            assert_eq!(copied.imports(), imports);
        }
    }

    /// Every reader of one object.
    fn read_everything(object: &Object) {
        for import in object.imports() {
            object.satisfies(&Wanted::of(&import));
        }
        object.definitions();
    }

    proptest::proptest! {
        /// Invariant: bytes that were an object until some were overwritten are read or refused, in
        /// bounded time, without a panic.
        #[test]
        fn overwritten_bytes_never_panic(
            places in proptest::collection::vec((0.0..1.0_f64, proptest::num::u8::ANY), 1..24),
            in_header in proptest::bool::ANY,
            number in 0..Sample::all(0).len(),
        ) {
            let mut bytes = Sample::all(1000)[number].bytes().to_vec();
            let reach = if in_header { 1024 } else { bytes.len() };
            for (place, byte) in places {
                bytes[(place * reach as f64) as usize] = byte;
            }
            if let Ok(object) = Object::parse(bytes.into()) {
                read_everything(&object);
            }
        }

        /// Invariant: arbitrary bytes after the magic number are read or refused without a panic.
        #[test]
        fn random_bytes_never_panic(tail in proptest::collection::vec(proptest::num::u8::ANY, 0..2048)) {
            let mut bytes = b"\x7fELF\x02\x01\x01\x00".to_vec();
            bytes.extend(tail);
            if let Ok(object) = Object::parse(bytes.into()) {
                read_everything(&object);
            }
        }
    }
}
