//! Objects that no linker writes. Their tables have entries that share bytes, so following all of them takes
//! time or memory in the square of the file's size. Each test takes seconds without its limit, and almost no
//! time with it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::elf::{Error, Object, Wanted, gnu_hash};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const DT_NEEDED: u64 = 1;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_REL: u64 = 17;
const DT_RELSZ: u64 = 18;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const DT_VERDEF: u64 = 0x6fff_fffc;

/// The time limit for each test, even unoptimised on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// A 64-bit object under construction: tables after a header with `segments` program headers. The whole file is
/// one loadable segment at address 0.
struct Builder {
    bytes: Vec<u8>,
    segments: Vec<(u32, u64, u64)>,
    dynamic: Vec<(u64, u64)>,
    room: usize,
}

impl Builder {
    fn new(segments: usize) -> Self {
        let room = 64 + 56 * (segments + 2);
        Self { bytes: vec![0; room], segments: Vec::new(), dynamic: Vec::new(), room: segments }
    }

    /// Appends a table and returns its address.
    fn table(&mut self, content: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len() as u64;
        self.bytes.extend(content);
        at
    }

    fn strings(&mut self, content: &[u8]) {
        let at = self.table(content);
        self.dynamic.extend([(DT_STRTAB, at), (DT_STRSZ, content.len() as u64)]);
    }

    fn build(self) -> Object {
        self.try_build().unwrap()
    }

    fn try_build(mut self) -> Result<Object, Error> {
        for (table, size) in [(DT_STRTAB, 1), (DT_SYMTAB, 24)] {
            if !self.dynamic.iter().any(|(tag, _)| *tag == table) {
                let at = self.table(&vec![0; size]);
                self.dynamic.push((table, at));
            }
        }
        let dynamic = std::mem::take(&mut self.dynamic);
        let words = dynamic.iter().flat_map(|(tag, value)| [*tag, *value]).chain([0, 0]);
        let content: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let at = self.table(&content);
        let mut segments = std::mem::take(&mut self.segments);
        segments.extend([(PT_LOAD, 0, self.bytes.len() as u64), (PT_DYNAMIC, at, content.len() as u64)]);
        assert!(segments.len() <= self.room + 2);
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(16, 0);
        header.extend([3, 0, 62, 0, 1, 0, 0, 0]);
        header.extend([0, 64, 0].map(u64::to_le_bytes).concat());
        header.extend([0, 0, 0, 0, 64, 0, 56, 0]);
        header.extend((segments.len() as u16).to_le_bytes());
        header.extend([64, 0, 0, 0, 0, 0]);
        for (kind, at, size) in segments {
            header.extend([kind, 4].map(u32::to_le_bytes).concat());
            header.extend([at, at, at, size, size, 8].map(u64::to_le_bytes).concat());
        }
        self.bytes[..header.len()].copy_from_slice(&header);
        Object::parse(self.bytes.into())
    }

    fn error(self) -> String {
        self.try_build().unwrap_err().to_string()
    }
}

/// A symbol: its name, and whether it is defined.
fn symbol(name: u32, defined: bool) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&name.to_le_bytes());
    bytes[4] = 0x12;
    bytes[6] = u8::from(defined);
    bytes[8] = u8::from(defined);
    bytes
}

/// Relocations that refer to the symbols from 1 to `count`.
fn relocations(count: u64) -> Vec<u8> {
    (1..=count).flat_map(|symbol| [0, symbol << 32 | 7]).flat_map(u64::to_le_bytes).collect()
}

/// A table of one bucket and one chain of `count` symbols, all of one hash.
fn one_chain(count: u32, hash: u32) -> Vec<u8> {
    let head = [1, 1, 1, 0, u32::MAX, u32::MAX, 1];
    let chain = std::iter::repeat_n(hash & !1, count as usize);
    head.into_iter().chain(chain).flat_map(u32::to_le_bytes).collect()
}

fn soon<T>(what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    result
}

#[test]
fn names_that_share_one_long_string_are_cut() {
    let (count, length) = (20_000, 1_000_000);
    let mut object = Builder::new(0);
    object.strings(&[&[0][..], &vec![b'a'; length], &[0]].concat());
    let symbols: Vec<u8> = (0..=count).flat_map(|index| symbol(1 + index % 1000, index % 2 == 0)).collect();
    let at = object.table(&symbols);
    object.dynamic.push((DT_SYMTAB, at));
    let relocations = relocations(count.into());
    let at = object.table(&relocations);
    object.dynamic.extend([(DT_REL, at), (DT_RELSZ, relocations.len() as u64)]);
    let at = object.table(&one_chain(count, 0));
    object.dynamic.push((DT_GNU_HASH, at));
    let object = object.build();
    let room = 4 * object.bytes().len() + (1 << 20);
    let imports = soon(|| object.imports());
    assert_eq!(imports.len(), count as usize / 2);
    assert!(imports.iter().map(|import| import.name.len()).sum::<usize>() < room + 64 * imports.len());
    let definitions = soon(|| object.definitions());
    assert!(definitions.iter().map(|definition| definition.name.len()).sum::<usize>() < room);
}

#[test]
fn a_chain_of_all_symbols_is_followed_so_far_and_no_further() {
    let count = 200_000;
    for (tag, names) in [(DT_GNU_HASH, 1), (DT_HASH, 1)] {
        let mut object = Builder::new(0);
        object.strings(b"\0name\0");
        let symbols: Vec<u8> = (0..=count).flat_map(|_| symbol(names, false)).collect();
        let at = object.table(&symbols);
        object.dynamic.push((DT_SYMTAB, at));
        let hash = gnu_hash(b"name");
        let sysv = [1, count, 1].into_iter().chain((0..count).map(|index| index + 1));
        let table = match tag {
            DT_GNU_HASH => one_chain(count, hash),
            _ => sysv.flat_map(u32::to_le_bytes).collect(),
        };
        let at = object.table(&table);
        object.dynamic.push((tag, at));
        let object = object.build();
        let wanted = |name| Wanted {
            name,
            gnu_hash: hash,
            version: crate::elf::VersionRule::Unversioned,
            accept_undefined: true,
        };
        soon(|| (0..500).for_each(|_| assert!(!object.satisfies(&wanted(b"name")))));
    }
}

#[test]
fn libraries_and_versions_that_share_one_long_name_are_refused() {
    let strings = [&[0][..], &[b'a'; 4000], &[0], &[b'b'; 5000], &[0]].concat();
    let needing = |count: usize, name: u64| {
        let mut object = Builder::new(0);
        object.strings(&strings);
        object.dynamic.extend(std::iter::repeat_n((DT_NEEDED, name), count));
        object
    };
    assert!(needing(3, 1).build().dynamic.unwrap().needed.iter().all(|needed| needed.name.len() == 4000));
    let error = needing(2000, 1).error();
    assert!(error.contains("its names are larger than the file"), "{error}");
    let error = needing(1, 4002).error();
    assert!(error.contains("is longer than 4096 bytes"), "{error}");
    let error = needing(5000, 3999).error();
    assert!(error.contains("it needs 5000 libraries, more than 4096"), "{error}");

    let mut object = Builder::new(0);
    object.strings(&strings);
    let definition = |next: u32| {
        [[0, 1 << 16 | 1, 0, 20, next].map(u32::to_le_bytes).concat(), 1_u32.to_le_bytes().to_vec()].concat()
    };
    let table: Vec<u8> = (0..2000).flat_map(|index| definition(if index == 1999 { 0 } else { 24 })).collect();
    let at = object.table(&table);
    object.dynamic.push((DT_VERDEF, at));
    let error = object.error();
    assert!(error.contains("its names are larger than the file"), "{error}");
}

#[test]
fn notes_that_many_segments_share_are_read_a_few_times() {
    let segments = 60_000;
    let mut object = Builder::new(segments);
    let at = object.table(&vec![0; 1 << 20]);
    object.segments = vec![(PT_NOTE, at, 1 << 20); segments];
    soon(|| object.build());
}

/// An object of two gigabytes, almost all of it zero, with one relocation that refers to this symbol.
fn sparse_with_relocation(symbol: u64) -> Bytes {
    const LENGTH: u64 = 2 << 30;
    let mut data = vec![0; LENGTH as usize];
    let mut at = |offset: usize, words: &[u64]| {
        for (number, word) in words.iter().enumerate() {
            data[offset + 8 * number..][..8].copy_from_slice(&word.to_le_bytes());
        }
    };
    // e_ident; ET_DYN for x86-64; the program headers after this one.
    at(0, &[0x0001_0102_464c_457f, 0, 0x0000_0001_003e_0003, 0, 64, 0, 0x0038_0040_0000_0000, 2]);
    at(64, &[0x4_0000_0001, 0, 0, 0, LENGTH, LENGTH, 4096]);
    at(120, &[0x4_0000_0002, 0x200, 0x200, 0x200, 0x100, 0x100, 8]);
    // DT_STRTAB, DT_STRSZ, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_RELAENT, DT_SYMENT.
    at(0x200, &[5, 0x400, 10, 16, 6, 0x1000, 7, 0x600, 8, 24, 9, 24, 11, 24, 0, 0]);
    at(0x600, &[0, symbol << 32 | 1, 0]);
    data.into()
}

#[test]
fn one_relocation_asks_for_no_gigabytes() {
    let uses = |symbol: u64| {
        let object = Object::parse(sparse_with_relocation(symbol)).unwrap();
        let symbols = object.symbols.clone().unwrap();
        object.uses(&symbols).len()
    };
    assert_eq!(uses(1000), 1001);
    assert_eq!(uses(80_000_000), 0);
}
