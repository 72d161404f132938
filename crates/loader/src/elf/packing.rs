//! Programs that contain another one, which they unpack and run. The tool that made them is recognised by marks
//! in known places. A program that only has such a mark among its strings is not packed.
//!
//! Sources:
//!
//! - UPX `src/p_unix.h` (`l_info` after the program headers) and `src/packhead.cpp` (the header at the end)
//! - PyInstaller `bootloader/src/pyi_archive.h` (the cookie after the archive, and its table of contents)
//! - the AppImage specification, "Type 1" and "Type 2" (`AI` in `e_ident`)
//! - staticx `libstaticx` (the section `.staticx.archive`)
//! - Nuitka `OnefileBootstrap.c` (`KAX` and `KAY`)
//! - the magic numbers of SquashFS and DwarFS after the last section

use goblin::elf::header::Header;

use crate::elf::section::{Looked, Section, headers_end};

/// The cookie of PyInstaller 2.1 and newer: magic, three lengths, Python's version, the library's name.
const COOKIE: u64 = 88;
const COOKIE_MAGIC: &[u8] = b"MEI\x0c\x0b\n\x0b\x0e";
/// The maximum size of an archive's table of contents, in bytes.
const LONGEST_CONTENTS: u64 = 4 << 20;
/// The maximum distance from the beginning of the constants to Nuitka's payload.
const NUITKA_REACH: u64 = 256;
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Returns the common name of the tool that packed the program. `is_bare` means that it has neither an
/// interpreter nor a dynamic section.
pub(super) fn packer(
    header: &Header,
    is_bare: bool,
    sections: &[Section<'_>],
    looked: &Looked<'_>,
) -> Option<&'static str> {
    if matches!(&header.e_ident[8..11], b"AI\x01" | b"AI\x02") {
        return Some("AppImage");
    }
    if is_bare && is_upx(header, looked) {
        return Some("UPX");
    }
    if section(sections, b".staticx.archive").is_some() {
        return Some("staticx");
    }
    if is_pyinstaller(section(sections, b"pydata"), looked) {
        return Some("PyInstaller");
    }
    if is_nuitka(section(sections, b".rodata"), looked) {
        return Some("Nuitka");
    }
    let behind = looked.bytes(headers_end(header), 8).filter(|_| header.e_shnum > 0);
    let is_file_system = |bytes: &&[u8]| bytes.starts_with(b"hsqs") || bytes.starts_with(b"DWARFS");
    behind.filter(is_file_system).map(|_| "an appended file system")
}

fn section<'a, 'b>(sections: &'b [Section<'a>], name: &[u8]) -> Option<&'b Section<'a>> {
    sections.iter().find(|section| section.name == name)
}

/// UPX keeps `UPX!` in the `l_info` after the program headers, and in the last 36 bytes of the file. One of
/// them may have been wiped.
fn is_upx(header: &Header, looked: &Looked<'_>) -> bool {
    let size = u64::from(header.e_phnum) * u64::from(header.e_phentsize);
    let info = header.e_phoff.checked_add(size).and_then(|end| looked.bytes(end.checked_add(4)?, 4));
    let tail = looked.length().checked_sub(36).and_then(|at| looked.bytes(at, 4));
    info == Some(b"UPX!") || tail == Some(b"UPX!")
}

/// Returns whether a cookie at the end of its section or of the file describes an archive before it that
/// contains libraries. Without libraries, the archive is Python code, and the libraries are beside the program.
fn is_pyinstaller(section: Option<&Section<'_>>, looked: &Looked<'_>) -> bool {
    let end = section.map_or(Some(looked.length()), |section| section.start.checked_add(section.size));
    let cookie = end.and_then(|end| looked.bytes(end.checked_sub(COOKIE)?, COOKIE));
    let Some((end, cookie)) = end.zip(cookie).filter(|(_, cookie)| cookie.starts_with(COOKIE_MAGIC)) else {
        return false;
    };
    let [length, at, size] = [8, 12, 16].map(|at| u64::from(big_endian(cookie, at).unwrap_or(0)));
    let Some(start) = end.checked_sub(length).filter(|_| length > COOKIE && at + size <= length - COOKIE)
    else {
        return false;
    };
    let contents = Some(size).filter(|size| *size <= LONGEST_CONTENTS);
    contents.and_then(|size| looked.bytes(start + at, size)).is_none_or(holds_libraries)
}

/// Returns whether a table of contents has an entry of type `b`: a library.
fn holds_libraries(contents: &[u8]) -> bool {
    const ENTRY: usize = 18;
    let mut rest = contents;
    while let (Some(length), Some(kind)) = (big_endian(rest, 0), rest.get(ENTRY - 1)) {
        if *kind == b'b' {
            return true;
        }
        rest = rest.get((length as usize).max(ENTRY)..).unwrap_or_default();
    }
    false
}

fn big_endian(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Nuitka's payload begins with `KA` and `X` (uncompressed) or `Y` (compressed with zstd). Either it is
/// appended, and the last eight bytes contain its offset, or it is the first constant.
fn is_nuitka(constants: Option<&Section<'_>>, looked: &Looked<'_>) -> bool {
    const HEAD: u64 = 1024;
    let tail = looked.length().checked_sub(8).and_then(|at| looked.bytes(at, 8)?.try_into().ok());
    let appended = tail.map(u64::from_le_bytes).filter(|at| *at >= 64);
    if appended.and_then(|at| looked.at_most(at, HEAD)).is_some_and(|bytes| is_payload(bytes, looked)) {
        return true;
    }
    let head = constants.and_then(|section| looked.at_most(section.start, HEAD.min(section.size)));
    let head = head.unwrap_or_default();
    let places = (0..head.len().min(NUITKA_REACH as usize)).step_by(16);
    places.into_iter().any(|at| is_payload(&head[at..], looked))
}

/// Returns whether a payload begins here: compressed data, or a file's name, a flag and its size.
fn is_payload(bytes: &[u8], looked: &Looked<'_>) -> bool {
    match bytes.strip_prefix(b"KA") {
        Some([b'Y', rest @ ..]) => rest.starts_with(ZSTD_MAGIC),
        Some([b'X', rest @ ..]) => {
            let Some(end) = memchr::memchr(0, rest).filter(|end| *end > 0) else { return false };
            let size = rest.get(end + 2..end + 10).and_then(|size| size.try_into().ok());
            let is_name =
                std::str::from_utf8(&rest[..end]).is_ok_and(|name| !name.contains(char::is_control));
            is_name && size.map(u64::from_le_bytes).is_some_and(|size| size > 0 && size < looked.length())
        }
        _ => false,
    }
}
