//! The segments of an object: the file offsets of addresses, and the dynamic section.
//!
//! Source: gABI, chapter 5, "Program Header" and "Dynamic Section".

use std::ops::Range;

use goblin::container::{Container, Ctx};
use goblin::elf::header::Header;
use goblin::elf::program_header::{self as segment, ProgramHeader};

use crate::elf::dynamic::Entries;
use crate::elf::reader::Reader;
use crate::elf::{Class, Endian, Error};

/// The maximum size of a dynamic section in bytes: a hundred thousand entries.
const MAXIMUM_DYNAMIC: usize = 2 << 20;
/// The size of an entry of the dynamic section of a 64-bit object, in bytes.
const LONGEST_ENTRY: usize = 16;
/// The smallest page size of any machine. Bytes that a file may lack at its end are in one such page.
const SMALLEST_PAGE: u64 = 4096;

/// The segments, and the bytes that contain them.
pub(super) struct Segments<'a> {
    pub reader: Reader<'a>,
    pub headers: Vec<ProgramHeader>,
}

impl Segments<'_> {
    /// Checks that every mapped page is in the file: a page beyond its end causes a bus error. The missing part
    /// of the file's last page reads as zeroes.
    pub(super) fn check_extent(&self) -> Result<(), Error> {
        let length = self.reader.data.len();
        let available = (length as u64).checked_next_multiple_of(SMALLEST_PAGE).unwrap_or(u64::MAX);
        let is_cut = |header: &&ProgramHeader| {
            let end = header.p_offset.checked_add(header.p_filesz);
            header.p_type == segment::PT_LOAD && end.is_none_or(|end| end > available)
        };
        match self.headers.iter().find(is_cut) {
            Some(header) => {
                Err(Error::OutOfBounds { what: "a loadable segment", offset: header.p_offset, length })
            }
            None => Ok(()),
        }
    }

    /// Returns the file offset of a virtual address, and the number of bytes of its segment that follow it.
    pub(super) fn offset(&self, address: u64) -> Option<(usize, usize)> {
        self.headers.iter().filter(|header| header.p_type == segment::PT_LOAD).find_map(|header| {
            let inside = address.checked_sub(header.p_vaddr).filter(|inside| *inside < header.p_filesz)?;
            let offset = usize::try_from(header.p_offset.checked_add(inside)?).ok()?;
            let left = usize::try_from(header.p_filesz - inside).ok()?;
            Some((offset, left.min(self.reader.data.len().checked_sub(offset)?)))
        })
    }

    /// Returns the file offset of a table from its address. `what` names the table in an error.
    pub(super) fn table(&self, what: &'static str, address: Option<u64>) -> Result<Option<usize>, Error> {
        let Some(address) = address else { return Ok(None) };
        match self.offset(address) {
            Some((offset, _)) => Ok(Some(offset)),
            None => Err(Error::Unmapped { what, address }),
        }
    }

    /// Returns the bytes of a segment in the file.
    pub(super) fn bytes(&self, what: &'static str, header: &ProgramHeader) -> Result<Reader<'_>, Error> {
        let range = usize::try_from(header.p_offset).ok().zip(usize::try_from(header.p_filesz).ok());
        let data = range.and_then(|(start, size)| self.reader.data.get(start..start.checked_add(size)?));
        let out_of_bounds =
            || Error::OutOfBounds { what, offset: header.p_offset, length: self.reader.data.len() };
        Ok(Reader { data: data.ok_or_else(out_of_bounds)?, ..self.reader })
    }

    /// Returns the last dynamic segment, which is the one that the loader uses.
    pub(super) fn dynamic(&self) -> Option<&ProgramHeader> {
        self.headers.iter().rev().find(|header| header.p_type == segment::PT_DYNAMIC)
    }

    /// Returns the first segment of a type.
    pub(super) fn find(&self, kind: u32) -> Option<&ProgramHeader> {
        self.headers.iter().find(|header| header.p_type == kind)
    }
}

/// Reads the program header table of a file.
pub(super) fn parse_segments(header: &Header, reader: Reader<'_>) -> Result<Vec<ProgramHeader>, Error> {
    let container = if reader.class == Class::Elf64 { Container::Big } else { Container::Little };
    let endian = match reader.endian {
        Endian::Little => goblin::container::Endian::Little,
        Endian::Big => goblin::container::Endian::Big,
    };
    let context = Ctx::new(container, endian);
    let count = usize::from(header.e_phnum);
    let size = ProgramHeader::size(context);
    if count > 0 && usize::from(header.e_phentsize.swap_bytes()) == size {
        return Err(Error::ByteOrder { stated: reader.endian });
    }
    if count > 0 && usize::from(header.e_phentsize) != size {
        return Err(Error::EntrySize { stated: header.e_phentsize, expected: size });
    }
    let out_of_bounds = || Error::OutOfBounds {
        what: "the program header table",
        offset: header.e_phoff,
        length: reader.data.len(),
    };
    let offset = usize::try_from(header.e_phoff).map_err(|_| out_of_bounds())?;
    let end = offset.checked_add(count * size).ok_or_else(out_of_bounds)?;
    if end > reader.data.len() {
        return Err(out_of_bounds());
    }
    ProgramHeader::parse(reader.data, offset, count, context)
        .map_err(|error| Error::MalformedHeader(error.to_string()))
}

/// Reads the dynamic section at its address, like the loader. The file offset in its header is ignored.
pub(super) fn dynamic_entries(segments: &Segments<'_>) -> Result<Option<Entries>, Error> {
    const WHAT: &str = "the dynamic section";
    let Some(range) = dynamic_range(segments) else { return Ok(None) };
    let address = range.ok_or_else(|| {
        let address = segments.dynamic().map_or(0, |header| header.p_vaddr);
        Error::Unmapped { what: WHAT, address }
    })?;
    let file = segments.reader.data;
    let data = &file[address.clone()];
    // The bytes after the end of the file in its last page are zero.
    let rest = file.len().next_multiple_of(SMALLEST_PAGE as usize) - file.len();
    if address.end < file.len() || rest == 0 {
        return Ok(Some(Entries::parse(Reader { data, ..segments.reader })));
    }
    let zeroes = [0; LONGEST_ENTRY];
    let padded = [data, &zeroes[..rest.min(LONGEST_ENTRY)]].concat();
    Ok(Some(Entries::parse(Reader { data: &padded, ..segments.reader })))
}

/// Returns the bytes of the file with the dynamic section, from its address to the end of its segment.
/// `Some(None)` if it is not in a segment.
pub(super) fn dynamic_range(segments: &Segments<'_>) -> Option<Option<Range<usize>>> {
    let header = segments.dynamic().filter(|header| header.p_filesz > 0)?;
    if !segments.headers.iter().any(|header| header.p_type == segment::PT_LOAD) {
        return None;
    }
    let place = segments.offset(header.p_vaddr);
    Some(place.map(|(offset, left)| offset..offset + left.min(MAXIMUM_DYNAMIC)))
}
