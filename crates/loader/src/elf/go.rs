//! The build information that Go's linker writes, and its CPU requirements.
//!
//! Source: Go's `debug/buildinfo`: the section `.go.buildinfo`, or the first writable segment. It begins with
//! the magic `\xff Go buildinf:`, the size of a pointer and flags. With flag 2 (Go 1.18 and newer), two strings
//! follow, each after its length. Older versions have pointers to two strings instead. The second string
//! describes the module, with lines `build KEY=VALUE`. The minimum values of Go are in `internal/buildcfg`.

use goblin::elf::program_header::{PF_W, PF_X, PT_LOAD};

use crate::elf::reader::Reader;
use crate::elf::section::{Looked, Section};
use crate::elf::segments::Segments;
use crate::elf::{Class, Endian};

const MAGIC: &[u8] = b"\xff Go buildinf:";
const HEADER: u64 = 32;
const ALIGNMENT: usize = 16;
/// The number of bytes of a segment that are searched if no section names the place.
const REACH: u64 = 64 << 10;
/// The maximum length of a string, in bytes.
const LONGEST: u64 = 1 << 20;
/// The length of the marks before and after the module's string.
const SENTINEL: usize = 16;

/// Returns the settings, as `KEY=VALUE`, that require more than the minimum CPU of the machine.
pub(super) fn cpu_needs(
    segments: &Segments<'_>,
    sections: &[Section<'_>],
    looked: &Looked<'_>,
) -> Vec<String> {
    let module = start(segments, sections, looked).and_then(|at| module(at, segments, looked));
    let text = module.map(String::from_utf8_lossy).unwrap_or_default();
    let settings = text.lines().filter_map(|line| line.strip_prefix("build\t")?.split_once('='));
    let needs = settings.filter(|(key, value)| value.len() <= 64 && is_need(key, value));
    needs.map(|(key, value)| format!("{key}={value}")).take(4).collect()
}

/// Returns whether a setting requires more than the minimum CPU of its machine.
fn is_need(key: &str, value: &str) -> bool {
    match key {
        "GOAMD64" => value != "v1",
        "GOARM64" => value != "v8.0",
        "GOARM" => !value.starts_with('5'),
        "GO386" => value == "sse2",
        "GOPPC64" => value != "power8",
        "GORISCV64" => value != "rva20u64",
        _ => false,
    }
}

/// Returns the start of the header.
fn start(segments: &Segments<'_>, sections: &[Section<'_>], looked: &Looked<'_>) -> Option<u64> {
    let named = sections.iter().find(|section| section.name == b".go.buildinfo");
    let (start, size) = match named {
        Some(section) => (section.start, section.size),
        None if !sections.is_empty() => return None,
        None => {
            let is_writable = |flags: u32| flags & (PF_W | PF_X) == PF_W;
            let mut loads = segments.headers.iter().filter(|header| header.p_type == PT_LOAD);
            let data = loads.find(|header| is_writable(header.p_flags))?;
            (data.p_offset, data.p_filesz)
        }
    };
    let bytes = looked.at_most(start, size.min(REACH))?;
    let mut places = memchr::memmem::find_iter(bytes, MAGIC);
    places.find(|at| at % ALIGNMENT == 0).map(|at| start + at as u64)
}

/// Returns the text about the module.
fn module<'a>(at: u64, segments: &Segments<'_>, looked: &Looked<'a>) -> Option<&'a [u8]> {
    const IS_BIG_ENDIAN: u8 = 1;
    const IS_INLINE: u8 = 2;
    let header = looked.bytes(at, HEADER)?;
    let (size, flags) = (header[14], header[15]);
    let text = if flags & IS_INLINE != 0 {
        let (_, next) = inline(at + HEADER, looked)?;
        inline(next, looked)?.0
    } else {
        let class = if size == 8 { Class::Elf64 } else { Class::Elf32 };
        let endian = if flags & IS_BIG_ENDIAN != 0 { Endian::Big } else { Endian::Little };
        let second = Reader { data: header, class, endian }.word(16 + usize::from(size))?;
        let (place, _) = segments.offset(second)?;
        let pointer = Reader { data: looked.bytes(place as u64, 2 * u64::from(size))?, class, endian };
        let (text, _) = segments.offset(pointer.word(0)?)?;
        let length = pointer.word(usize::from(size))?;
        looked.bytes(text as u64, Some(length).filter(|length| *length <= LONGEST)?)?
    };
    let is_marked = text.len() > 2 * SENTINEL && text[text.len() - SENTINEL - 1] == b'\n';
    is_marked.then(|| &text[SENTINEL..text.len() - SENTINEL])
}

/// Returns a string that follows its length (`binary.Uvarint`), and its end.
fn inline<'a>(at: u64, looked: &Looked<'a>) -> Option<(&'a [u8], u64)> {
    let (mut length, mut shift, mut here) = (0_u64, 0, at);
    loop {
        let byte = *looked.bytes(here, 1)?.first()?;
        here += 1;
        length |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        match byte & 0x80 {
            0 => break,
            _ if shift > 28 => return None,
            _ => {}
        }
    }
    let text = looked.bytes(here, Some(length).filter(|length| *length <= LONGEST)?)?;
    Some((text, here + length))
}
