//! Objects for tests: of each class, byte order and kind, with all tables that are read from an object, and
//! with other code and data that nothing reads.

use bytes::Bytes;

use compat_loader::elf::{Class, Machine, Object, Wanted, gnu_hash, sysv_hash};

/// The library that a sample needs.
pub(crate) const NEEDED: &str = "libneeded.so.1";
/// A string among the constants of a sample.
pub(crate) const CONSTANT: &[u8] = b"a constant of the sample";
/// The number of relocations without a symbol.
const RELATIVE: usize = 400;
const PAGE: usize = 4096;

/// Returns every fact of an object, to compare it with those of a copy.
pub(crate) fn facts(object: &Object) -> String {
    let satisfied: Vec<bool> =
        object.references().iter().map(|import| object.satisfies(&Wanted::of(import))).collect();
    let header = (object.class, object.endian, object.machine, object.os_abi, object.identification_fault);
    let segments =
        (&object.layout, object.kind, &object.interpreter, object.executable_stack, object.thread_local);
    let tables = (&object.dynamic, &object.notes, &object.version_needs, &object.version_definitions);
    let symbols = (object.imports(), object.references(), object.definitions(), object.has_symbol_versions());
    format!("{:?}", (header, segments, tables, symbols, satisfied, &object.marks, object.is_bare))
}

/// A description of an object to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub class: Class,
    pub big_endian: bool,
    pub machine: Machine,
    /// The object has an interpreter and an entry point instead of a soname.
    pub is_program: bool,
    /// The object has a GNU hash table instead of the older one.
    pub gnu_hash: bool,
    /// The size of its code in bytes.
    pub code: usize,
    /// The object contains Go's build information with a CPU.
    pub is_go: bool,
}

impl Sample {
    /// Returns a program for a machine, with this much code.
    pub(crate) fn program(machine: Machine, code: usize) -> Self {
        let is_narrow = matches!(machine, Machine::I386 | Machine::ARM);
        let class = if is_narrow { Class::Elf32 } else { Class::Elf64 };
        let big_endian = machine == Machine::S390;
        Self { class, big_endian, machine, is_program: true, gnu_hash: true, code, is_go: false }
    }

    /// Returns programs and libraries for several machines, with both hash tables, in both byte orders.
    pub(crate) fn all(code: usize) -> Vec<Self> {
        let machines = [Machine::X86_64, Machine::AARCH64, Machine::I386, Machine::ARM, Machine::S390];
        let of_machine =
            |machine| {
                [(true, true), (true, false), (false, true), (false, false)].map(|(is_program, gnu_hash)| {
                    Self { is_program, gnu_hash, is_go: gnu_hash, ..Self::program(machine, code) }
                })
            };
        machines.into_iter().flat_map(of_machine).collect()
    }

    /// Returns the bytes of the object.
    pub(crate) fn bytes(&self) -> Bytes {
        let mut maker = Maker { sample: *self, bytes: Vec::new(), dynamic: Vec::new(), segments: Vec::new() };
        maker.make();
        maker.bytes.into()
    }

    fn is_narrow(&self) -> bool {
        self.class == Class::Elf32
    }

    /// Returns the relocation types of an address, of a call, and of a relocation without a symbol.
    fn relocation_types(&self) -> [u64; 3] {
        match self.machine {
            Machine::AARCH64 => [1025, 1026, 1027],
            Machine::ARM => [21, 22, 23],
            Machine::S390 => [10, 11, 12],
            _ => [6, 7, 8],
        }
    }
}

/// A symbol of the samples: name, binding and type, section, version index.
type Symbol = (&'static str, u8, u16, u16);

/// The undefined ones come first, as the GNU hash table requires.
const SYMBOLS: [Symbol; 6] = [
    ("called", 0x12, 0, 3),
    ("wanted", 0x11, 0, 4),
    ("missed", 0x20, 0, 0),
    ("first", 0x12, 1, 2),
    ("second", 0x11, 1, 2),
    ("hidden", 0x12, 1, 0x8002),
];
const UNDEFINED: usize = 3;

struct Maker {
    sample: Sample,
    bytes: Vec<u8>,
    dynamic: Vec<(u64, u64)>,
    /// Type, flags, offset, size.
    segments: Vec<(u32, u32, usize, usize)>,
}

/// The strings of the dynamic section, each at its offset.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend(text.as_bytes());
        self.0.push(0);
        at
    }
}

impl Maker {
    fn make(&mut self) {
        let header = if self.sample.is_narrow() { 52 + 32 * 8 } else { 64 + 56 * 8 };
        self.bytes.resize(header, 0);
        if self.sample.is_program {
            let at = self.append(b"/lib/ld-sample.so.1\0");
            self.segments.push((3, 4, at, 20));
        }
        self.notes();
        let mut strings = Strings(vec![0]);
        self.symbols(&mut strings);
        self.versions(&mut strings);
        self.relocations();
        let needed = strings.add(NEEDED);
        let runpath = strings.add("$ORIGIN/../lib");
        self.dynamic.extend([(1, needed.into()), (29, runpath.into())]);
        if !self.sample.is_program {
            let soname = strings.add("libsample.so.1");
            self.dynamic.push((14, soname.into()));
        }
        let at = self.append(&strings.0);
        self.dynamic.extend([(5, self.address(at)), (10, strings.0.len() as u64)]);
        self.append(CONSTANT);
        let end = self.pad();
        self.segments.push((1, 4, 0, end));
        self.code();
        self.data();
        self.header();
    }

    /// Returns the address of a place in the file: each segment has separate pages.
    fn address(&self, at: usize) -> u64 {
        at as u64 + 0x10000
    }

    fn pad(&mut self) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(PAGE), 0);
        self.bytes.len()
    }

    fn append(&mut self, content: &[u8]) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len();
        self.bytes.extend(content);
        at
    }

    fn u16(&self, value: u16) -> [u8; 2] {
        if self.sample.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(&self, value: u32) -> [u8; 4] {
        if self.sample.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn words32(&self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.u32(*value)).collect()
    }

    /// Values as wide as an address.
    fn words(&self, values: &[u64]) -> Vec<u8> {
        let word = |value: &u64| match (self.sample.is_narrow(), self.sample.big_endian) {
            (true, _) => self.u32(*value as u32).to_vec(),
            (false, true) => value.to_be_bytes().to_vec(),
            (false, false) => value.to_le_bytes().to_vec(),
        };
        values.iter().flat_map(word).collect()
    }

    /// Adds the oldest kernel and a build ID.
    fn notes(&mut self) {
        let name = b"GNU\0".to_vec();
        let kernel = [self.words32(&[4, 16, 1]), name.clone(), self.words32(&[0, 3, 2, 1])].concat();
        let build = [self.words32(&[4, 8, 3]), name, b"sampleid".to_vec()].concat();
        let notes = [kernel, build].concat();
        let at = self.append(&notes);
        self.segments.push((4, 4, at, notes.len()));
    }

    fn symbols(&mut self, strings: &mut Strings) {
        let size = if self.sample.is_narrow() { 16 } else { 24 };
        let mut table = vec![0; size];
        for (name, info, section, _) in SYMBOLS {
            let name = self.u32(strings.add(name)).to_vec();
            let kind = [vec![info, 0], self.u16(section).to_vec()].concat();
            let value = self.words(&[u64::from(section) * 0x2_0000, 8]);
            let order = if self.sample.is_narrow() { [name, value, kind] } else { [name, kind, value] };
            table.extend(order.concat());
        }
        let at = self.append(&table);
        self.dynamic.extend([(6, self.address(at)), (11, size as u64)]);
        let hashes = if self.sample.gnu_hash { self.gnu_table() } else { self.old_table() };
        let at = self.append(&hashes);
        let tag = if self.sample.gnu_hash { 0x6fff_fef5 } else { 4 };
        self.dynamic.push((tag, self.address(at)));
    }

    /// Returns a table with one bucket, and a Bloom filter that accepts everything.
    fn gnu_table(&self) -> Vec<u8> {
        let first = UNDEFINED as u32 + 1;
        let defined = SYMBOLS.iter().skip(UNDEFINED);
        let mut hashes: Vec<u32> = defined.map(|(name, ..)| gnu_hash(name.as_bytes()) & !1).collect();
        *hashes.last_mut().unwrap() |= 1;
        let head = [self.words32(&[1, first, 1, 0]), self.words(&[u64::MAX]), self.u32(first).to_vec()];
        [head.concat(), self.words32(&hashes)].concat()
    }

    /// Returns a table with one bucket and all symbols in a chain. Its entries are as wide as addresses on
    /// s390x.
    fn old_table(&self) -> Vec<u8> {
        let count = SYMBOLS.len() as u64 + 1;
        let chain = (1..count).map(|index| (index + 1) % count);
        let entries: Vec<u64> = [1, count, 1, 0].into_iter().chain(chain).collect();
        match self.sample.machine {
            Machine::S390 => self.words(&entries),
            _ => self.words32(&entries.iter().map(|entry| *entry as u32).collect::<Vec<_>>()),
        }
    }

    fn versions(&mut self, strings: &mut Strings) {
        let indices = std::iter::once(0).chain(SYMBOLS.map(|(.., version)| version));
        let table: Vec<u8> = indices.flat_map(|index| self.u16(index)).collect();
        let at = self.append(&table);
        self.dynamic.push((0x6fff_fff0, self.address(at)));
        let half = |low: u16, high: u16| [self.u16(low), self.u16(high)].concat();
        let needs = [("NEEDED_1", 3, 16), ("NEEDED_2", 4, 0)].map(|(version, index, next)| {
            let hash = self.u32(sysv_hash(version.as_bytes())).to_vec();
            [hash, half(0, index), self.words32(&[strings.add(version), next])].concat()
        });
        let file = [half(1, 2), self.words32(&[strings.add(NEEDED), 16, 0]), needs.concat()].concat();
        let definitions = [("libsample.so.1", 1, 28), ("SAMPLE_1", 0, 0)];
        let definitions = [1, 2].into_iter().zip(definitions).map(|(index, (version, base, next))| {
            let hash = self.u32(sysv_hash(version.as_bytes())).to_vec();
            let name = self.words32(&[20, next, strings.add(version), 0]);
            [half(1, base), half(index, 1), hash, name].concat()
        });
        let definitions: Vec<u8> = definitions.flatten().collect();
        let at = self.append(&file);
        self.dynamic.extend([(0x6fff_fffe, self.address(at)), (0x6fff_ffff, 1)]);
        let at = self.append(&definitions);
        self.dynamic.extend([(0x6fff_fffc, self.address(at)), (0x6fff_fffd, 2)]);
    }

    fn relocations(&mut self) {
        let [by_address, call, relative] = self.sample.relocation_types();
        let narrow = self.sample.is_narrow();
        let entry = |symbol: u64, kind: u64| {
            let info = if narrow { symbol << 8 | kind } else { symbol << 32 | kind };
            let all = [0x2_0000, info, 0x77];
            self.words(&all[..if narrow { 2 } else { 3 }])
        };
        let relative: Vec<u8> = (0..RELATIVE).flat_map(|_| entry(0, relative)).collect();
        let data = [relative, entry(2, by_address), entry(3, by_address), entry(4, by_address)].concat();
        let (calls, tags) = (entry(1, call), if narrow { [17, 18, 19] } else { [7, 8, 9] });
        let size = calls.len() as u64;
        let at = self.append(&data);
        let values = [self.address(at), data.len() as u64, size];
        self.dynamic.extend(tags.into_iter().zip(values));
        let at = self.append(&calls);
        self.dynamic.extend([(23, self.address(at)), (2, size), (20, tags[0])]);
    }

    /// Adds random-looking bytes that are never zero.
    fn code(&mut self) {
        let start = self.bytes.len();
        let mut state = 1_u32;
        self.bytes.extend(
            std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8 | 1
            })
            .take(self.sample.code),
        );
        self.segments.push((1, 5, start, self.sample.code));
        self.pad();
    }

    /// Adds the writable data: Go's build information, the dynamic section and thread-local variables.
    fn data(&mut self) {
        let start = self.bytes.len();
        if self.sample.is_go {
            let module = "0123456789abcdefbuild\tGOAMD64=v2\n0123456789abcdef";
            let head = [&b"\xff Go buildinf:\x08\x02"[..], &[0; 16], b"\x06go1.26"].concat();
            self.append(&[&head, &[module.len() as u8][..], module.as_bytes(), &[0; 16]].concat());
        }
        let entries = self.dynamic.iter().flat_map(|(tag, value)| [*tag, *value]).chain([0, 0]);
        let table = self.words(&entries.collect::<Vec<_>>());
        let at = self.append(&table);
        self.segments.push((2, 6, at, table.len()));
        let variables = self.append(&[7; 32]);
        self.segments.push((7, 4, variables, 32));
        self.append(&[9; 3000]);
        let end = self.bytes.len();
        self.segments.push((1, 6, start, end - start));
        self.segments.push((0x6474_e551, 6, 0, 0));
    }

    fn header(&mut self) {
        let sample = self.sample;
        let (narrow, order) = (sample.is_narrow(), if sample.big_endian { 2 } else { 1 });
        let mut header = vec![0x7f, b'E', b'L', b'F', if narrow { 1 } else { 2 }, order, 1];
        header.resize(16, 0);
        header.extend([3, sample.machine.0].map(|value| self.u16(value)).concat());
        header.extend(self.u32(1));
        let entry = if sample.is_program { 0x1_1000 } else { 0 };
        let (size, each) = if narrow { (52, 32) } else { (64, 56) };
        header.extend(self.words(&[entry, size, 0]));
        header.extend(self.u32(0));
        let counts = [size as u16, each, self.segments.len() as u16, 0, 0, 0];
        header.extend(counts.map(|value| self.u16(value)).concat());
        for (kind, flags, at, length) in &self.segments {
            let (address, length) = (self.address(*at), *length as u64);
            let alignment = if *kind == 1 { PAGE as u64 } else { 4 };
            let places = self.words(&[*at as u64, address, address, length, length]);
            let (kind, flags) = (self.u32(*kind).to_vec(), self.u32(*flags).to_vec());
            let alignment = self.words(&[alignment]);
            let order =
                if narrow { [kind, places, flags, alignment] } else { [kind, flags, places, alignment] };
            header.extend(order.concat());
        }
        self.bytes[..header.len()].copy_from_slice(&header);
    }
}
