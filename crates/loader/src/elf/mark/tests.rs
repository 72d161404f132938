//! Marks are recognised in their places, but not elsewhere.

use bytes::Bytes;

use crate::elf::{Object, ranges};

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const LOADER: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";

/// A 64-bit program under construction: header, segments, content, sections.
#[derive(Default)]
struct Builder {
    /// `EI_ABIVERSION` and the bytes after it.
    ident: Vec<u8>,
    bare: bool,
    /// The bytes right after the program headers.
    content: Vec<u8>,
    sections: Vec<(&'static str, Vec<u8>)>,
    tail: Vec<u8>,
}

impl Builder {
    fn build(&self) -> Bytes {
        let segments: u64 = if self.bare { 1 } else { 2 };
        let mut bytes = vec![0; 64 + 56 * segments as usize];
        bytes.extend(&self.content);
        let interpreter = bytes.len() as u64;
        bytes.extend(LOADER);
        let mut names = vec![0];
        let mut headers = vec![[0_u8; 64]];
        let all = self.sections.iter().cloned().chain([(".shstrtab", Vec::new())]);
        for (name, content) in all {
            let (at, name_at) = (bytes.len() as u64, names.len() as u32);
            names.extend(name.as_bytes());
            names.push(0);
            let content = if name == ".shstrtab" { names.clone() } else { content };
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name_at.to_le_bytes());
            header[4] = 1;
            header[24..32].copy_from_slice(&at.to_le_bytes());
            header[32..40].copy_from_slice(&(content.len() as u64).to_le_bytes());
            headers.push(header);
            bytes.extend(content);
        }
        let (section_headers, count) = (bytes.len() as u64, headers.len() as u16);
        bytes.extend(headers.concat());
        bytes.extend(&self.tail);
        let has_sections = !self.sections.is_empty();
        let mut header = b"\x7fELF\x02\x01\x01\0".to_vec();
        header.extend(&self.ident);
        header.resize(16, 0);
        header.extend([3, 0, 62, 0, 1, 0, 0, 0]);
        header.extend(
            [0x40, 64, if has_sections { section_headers } else { 0 }].map(u64::to_le_bytes).concat(),
        );
        header.extend([0, 0, 0, 0, 64, 0, 56, 0]);
        header.extend((segments as u16).to_le_bytes());
        let count = if has_sections { count } else { 0 };
        header.extend([64, count, count.saturating_sub(1)].map(u16::to_le_bytes).concat());
        let length = bytes.len() as u64;
        let loads = [(PT_LOAD, 6, 0, length), (PT_INTERP, 4, interpreter, LOADER.len() as u64)];
        for (kind, flags, at, size) in loads.into_iter().take(segments as usize) {
            header.extend([kind, flags].map(u32::to_le_bytes).concat());
            header.extend([at, at, at, size, size, 4096].map(u64::to_le_bytes).concat());
        }
        bytes[..header.len()].copy_from_slice(&header);
        bytes.into()
    }

    /// Returns the object, and checks that a copy of its ranges has the same marks.
    fn object(&self) -> Object {
        let bytes = self.build();
        let object = Object::parse(bytes.clone()).unwrap();
        let mut copy = vec![0; bytes.len()];
        for range in ranges(&bytes) {
            copy[range.clone()].copy_from_slice(&bytes[range]);
        }
        assert_eq!(Object::parse(copy.into()).unwrap().marks, object.marks);
        object
    }

    fn packed_by(&self) -> Option<&'static str> {
        self.object().marks.packed_by
    }
}

/// Returns an archive of PyInstaller with one entry of a type.
fn archive(kind: u8) -> Vec<u8> {
    let mut entry = 32_u32.to_be_bytes().to_vec();
    entry.extend([0; 13]);
    entry.push(kind);
    entry.resize(32, b'x');
    let mut archive = vec![b'.'; 100];
    archive.extend(&entry);
    archive.extend(b"MEI\x0c\x0b\n\x0b\x0e");
    archive.extend([100 + 32 + 88, 100, 32, 311_u32].map(u32::to_be_bytes).concat());
    archive.extend(b"libpython3.11.so.1.0");
    archive.resize(100 + 32 + 88, 0);
    archive
}

#[test]
fn upx_is_seen_behind_the_program_headers_and_at_the_end_of_a_program_without_a_loader() {
    let info = b"\0\0\0\0UPX!\x84\t\r\x16".to_vec();
    let tail = [&b"UPX!"[..], &[0; 32]].concat();
    let packed = Builder { bare: true, content: info.clone(), ..Builder::default() };
    assert_eq!(packed.packed_by(), Some("UPX"));
    assert!(packed.object().is_program());
    let wiped = Builder { bare: true, tail: tail.clone(), ..Builder::default() };
    assert_eq!(wiped.packed_by(), Some("UPX"));
    // UPX's own program contains its mark among its strings, and is started by a loader.
    assert_eq!(Builder { content: info, tail, ..Builder::default() }.packed_by(), None);
    let string = Builder { bare: true, content: b"........the magic is UPX!".to_vec(), ..Builder::default() };
    assert_eq!(string.packed_by(), None);
}

#[test]
fn an_archive_of_pyinstaller_counts_if_it_holds_libraries() {
    let in_section = |archive| Builder { sections: vec![("pydata", archive)], ..Builder::default() };
    let appended = |archive| Builder { tail: archive, ..Builder::default() };
    assert_eq!(in_section(archive(b'b')).packed_by(), Some("PyInstaller"));
    assert_eq!(appended(archive(b'b')).packed_by(), Some("PyInstaller"));
    // One directory: the libraries are beside the program.
    assert_eq!(in_section(archive(b's')).packed_by(), None);
    // The bootloader itself, which searches for the cookie.
    let string = Builder { content: archive(b'b'), ..Builder::default() };
    assert_eq!(string.packed_by(), None);
    // A cookie without its archive.
    assert_eq!(in_section(archive(b'b')[132..].to_vec()).packed_by(), None);
}

#[test]
fn an_app_image_is_seen_in_the_identification_bytes() {
    for kind in [1, 2] {
        let image = Builder { ident: vec![b'A', b'I', kind], ..Builder::default() };
        assert_eq!(image.packed_by(), Some("AppImage"));
    }
    assert_eq!(Builder { ident: vec![b'A', b'I', 3], ..Builder::default() }.packed_by(), None);
    let appended = Builder {
        sections: vec![(".text", vec![0; 4])],
        tail: b"hsqs and the rest".to_vec(),
        ..Builder::default()
    };
    assert_eq!(appended.packed_by(), Some("an appended file system"));
}

#[test]
fn staticx_and_nuitka_are_seen() {
    let archive = Builder { sections: vec![(".staticx.archive", vec![1; 8])], ..Builder::default() };
    assert_eq!(archive.packed_by(), Some("staticx"));
    let payload = [&b"KAXapp.bin\0\x01"[..], &64_u64.to_le_bytes(), b"\x7fELF"].concat();
    let constants = |bytes: &[u8]| [&[0; 16][..], bytes].concat();
    let first = Builder { sections: vec![(".rodata", constants(&payload))], ..Builder::default() };
    assert_eq!(first.packed_by(), Some("Nuitka"));
    let compressed = constants(b"KAY\x28\xb5\x2f\xfd");
    assert_eq!(
        Builder { sections: vec![(".rodata", compressed)], ..Builder::default() }.packed_by(),
        Some("Nuitka")
    );
    for other in [&b"KAX"[..], b"KAYAK and more", b"KAX\0\0", b"KAXapp\0\x01\xff\xff\xff\xff\xff\xff\xff\xff"]
    {
        let object = Builder { sections: vec![(".rodata", constants(other))], ..Builder::default() };
        assert_eq!(object.packed_by(), None, "{other:?}");
    }
    let start = Builder::default().build().len() as u64;
    let appended = [&payload[..], &start.to_le_bytes()].concat();
    assert_eq!(Builder { tail: appended, ..Builder::default() }.packed_by(), Some("Nuitka"));
}

/// Returns the bytes that Go's linker writes if the strings are inline.
fn build_information(settings: &str) -> Vec<u8> {
    let module = format!("0123456789abcdefpath\tx\n{settings}\n0123456789abcdef");
    let mut bytes = b"\xff Go buildinf:\x08\x02".to_vec();
    bytes.resize(32, 0);
    bytes.extend(b"\x06go1.26");
    let length = module.len();
    bytes.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    bytes.extend(module.as_bytes());
    bytes.extend([0; 16]);
    bytes
}

#[test]
fn the_cpu_that_go_builds_for_is_read_from_its_section_or_the_first_writable_segment() {
    let information = build_information("build\t-ldflags=GOAMD64=v4\nbuild\tGOARCH=amd64\nbuild\tGOAMD64=v3");
    let named = Builder { sections: vec![(".go.buildinfo", information.clone())], ..Builder::default() };
    assert_eq!(named.object().marks.cpu, ["GOAMD64=v3"]);
    // 64 and 112 bytes of headers: the next place that is a multiple of 16.
    let stripped = Builder { content: information, ..Builder::default() };
    assert_eq!(stripped.object().marks.cpu, ["GOAMD64=v3"]);
    let of = |setting: &str| {
        let information = build_information(&format!("build\t{setting}"));
        Builder { sections: vec![(".go.buildinfo", information)], ..Builder::default() }.object().marks.cpu
    };
    for setting in
        ["GOAMD64=v1", "GOARM64=v8.0", "GOARM=5", "GOPPC64=power8", "GORISCV64=rva20u64", "GOMIPS=hardfloat"]
    {
        assert!(of(setting).is_empty(), "{setting}");
    }
    for setting in
        ["GOARM64=v8.1,lse", "GOARM=7,softfloat", "GO386=sse2", "GOPPC64=power9", "GORISCV64=rva22u64"]
    {
        assert_eq!(of(setting), [setting]);
    }
}

#[test]
fn build_information_behind_pointers_is_read_too() {
    let module = b"0123456789abcdefbuild\tGOAMD64=v2\n0123456789abcdef";
    let base = 64 + 2 * 56_u64;
    let mut content = b"\xff Go buildinf:\x08\0".to_vec();
    content.extend([base + 32, base + 32].map(u64::to_le_bytes).concat());
    content.extend([base + 48, module.len() as u64].map(u64::to_le_bytes).concat());
    content.extend(module);
    let object = Builder { content, ..Builder::default() }.object();
    assert_eq!(object.marks.cpu, ["GOAMD64=v2"]);
}

#[test]
fn build_information_that_lies_about_its_lengths_is_left_out() {
    let whole = build_information("build\tGOAMD64=v3");
    for end in 0..whole.len() - 20 {
        let object =
            Builder { sections: vec![(".go.buildinfo", whole[..end].to_vec())], ..Builder::default() };
        object.object();
    }
    let mut endless = whole;
    endless[32..48].fill(0xff);
    let object = Builder { sections: vec![(".go.buildinfo", endless)], ..Builder::default() };
    assert!(object.object().marks.cpu.is_empty());
}
