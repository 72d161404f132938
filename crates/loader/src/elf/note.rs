//! Notes: build ID, ABI tag, GNU properties, libraries opened at run time.
//!
//! Sources: gABI "Note Section", glibc `elf.h` (`NT_GNU_ABI_TAG`, `NT_GNU_BUILD_ID`, `NT_GNU_PROPERTY_TYPE_0`);
//! the x86-64 psABI, "Program Property" (`GNU_PROPERTY_X86_ISA_1_NEEDED`).

use std::fmt;

use crate::elf::reader::Reader;
use crate::elf::{Class, DlopenNote, Machine, dlopen};

const NT_GNU_ABI_TAG: u32 = 1;
const NT_GNU_BUILD_ID: u32 = 3;
const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
const ELF_NOTE_OS_LINUX: u32 = 0;
const GNU_PROPERTY_X86_ISA_1_NEEDED: u32 = 0xc000_8002;

/// The content of an object's notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The build ID from the linker.
    pub build_id: Option<Vec<u8>>,
    /// The oldest Linux kernel that the object was built for.
    pub kernel: Option<KernelVersion>,
    /// The x86-64 instruction set that the object declares to need.
    pub isa: Option<IsaLevel>,
    /// The libraries that the object opens at run time.
    pub dlopen: Vec<DlopenNote>,
}

/// A Linux kernel version: its first three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32, pub u32);

impl KernelVersion {
    /// Reads the version at the start of a release such as `6.1.0-18-amd64`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
        let first = numbers.next()??;
        Some(Self(first, numbers.next().flatten().unwrap_or(0), numbers.next().flatten().unwrap_or(0)))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// An x86-64 micro-architecture level (x86-64 psABI, "Micro-Architecture Levels"). Bit N of the mask is level
/// vN+1 (baseline, v2, v3, v4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IsaLevel(pub u32);

impl IsaLevel {
    /// Returns the mask with the level `x86-64-v<level>` and all levels below it.
    pub fn up_to(level: u32) -> Self {
        Self(1_u32.checked_shl(level).map_or(u32::MAX, |bit| bit - 1))
    }

    /// Returns the highest level: 1 for the baseline. Levels above 4 are newer than this program.
    pub fn highest(self) -> u32 {
        32 - self.0.leading_zeros()
    }

    /// Returns whether a CPU with the levels of `host` has all of these.
    pub fn is_subset_of(self, host: Self) -> bool {
        self.0 & !host.0 == 0
    }

    /// Returns the level named `x86-64-vN` or `x86-64`.
    pub fn from_name(name: &str) -> Option<Self> {
        let level = match name.strip_prefix("x86-64")? {
            "" => 1,
            suffix => suffix.strip_prefix("-v")?.parse().ok().filter(|level| (1..=32).contains(level))?,
        };
        Some(Self::up_to(level))
    }
}

impl fmt::Display for IsaLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "x86-64-v{}", self.highest())
    }
}

impl Notes {
    /// Reads the notes in one segment or section. Like the loader, it ignores notes that do not fit. `align` is
    /// the alignment of the segment: 8 for `PT_GNU_PROPERTY` on 64-bit machines, otherwise 4.
    pub(super) fn read(&mut self, reader: Reader<'_>, align: usize, machine: Machine) {
        let mut at = 0;
        while let Some(note) = Note::parse(reader, at, align) {
            match note.name {
                b"GNU" => self.take(reader, &note, machine),
                b"FDO" if note.kind == dlopen::NT_FDO_DLOPEN_METADATA => {
                    dlopen::read(note.description, &mut self.dlopen);
                }
                _ => {}
            }
            at = note.next;
        }
    }

    fn take(&mut self, reader: Reader<'_>, note: &Note<'_>, machine: Machine) {
        let description = Reader { data: note.description, ..reader };
        match note.kind {
            NT_GNU_BUILD_ID => self.build_id = Some(note.description.to_vec()),
            NT_GNU_ABI_TAG if description.u32(0) == Some(ELF_NOTE_OS_LINUX) => {
                let numbers = (description.u32(4), description.u32(8), description.u32(12));
                if let (Some(major), Some(minor), Some(patch)) = numbers {
                    self.kernel = Some(KernelVersion(major, minor, patch));
                }
            }
            NT_GNU_PROPERTY_TYPE_0 if matches!(machine, Machine::X86_64 | Machine::I386) => {
                if let Some(isa) = isa_needed(description) {
                    self.isa = Some(isa);
                }
            }
            _ => {}
        }
    }
}

/// One note.
struct Note<'a> {
    name: &'a [u8],
    kind: u32,
    description: &'a [u8],
    /// The start of the next note.
    next: usize,
}

impl<'a> Note<'a> {
    fn parse(reader: Reader<'a>, at: usize, align: usize) -> Option<Self> {
        let name_size = reader.u32(at)? as usize;
        let description_size = reader.u32(at + 4)? as usize;
        let kind = reader.u32(at + 8)?;
        let name_at = at + 12;
        let name = reader.data.get(name_at..name_at.checked_add(name_size)?)?;
        let description_at = align_up(name_at + name_size, align)?;
        let description_end = description_at.checked_add(description_size)?;
        let description = reader.data.get(description_at..description_end)?;
        let name = name.strip_suffix(b"\0").unwrap_or(name);
        Some(Self { name, kind, description, next: align_up(description_end, align)? })
    }
}

fn align_up(value: usize, align: usize) -> Option<usize> {
    value.checked_next_multiple_of(align)
}

/// Returns the value of the property `GNU_PROPERTY_X86_ISA_1_NEEDED` in a property note.
fn isa_needed(reader: Reader<'_>) -> Option<IsaLevel> {
    let align = if reader.class == Class::Elf64 { 8 } else { 4 };
    let mut at = 0_usize;
    loop {
        let kind = reader.u32(at)?;
        let size = reader.u32(at + 4)? as usize;
        if kind == GNU_PROPERTY_X86_ISA_1_NEEDED && size == 4 {
            return reader.u32(at + 8).filter(|mask| *mask != 0).map(IsaLevel);
        }
        at = align_up(at.checked_add(8)?.checked_add(size)?, align)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Endian;

    #[test]
    fn levels_have_names_and_an_order() {
        assert_eq!(IsaLevel::from_name("x86-64-v3").unwrap().to_string(), "x86-64-v3");
        assert_eq!(IsaLevel::from_name("x86-64").unwrap().to_string(), "x86-64-v1");
        assert!(IsaLevel(0b100).is_subset_of(IsaLevel::up_to(3)));
        assert!(!IsaLevel(0b1000).is_subset_of(IsaLevel::up_to(3)));
        assert_eq!(IsaLevel::from_name("x86-64-v0"), None);
        assert_eq!(IsaLevel::up_to(32), IsaLevel(u32::MAX));
    }

    #[test]
    fn a_kernel_release_is_cut_after_its_numbers() {
        assert_eq!(KernelVersion::parse("6.1.0-18-amd64"), Some(KernelVersion(6, 1, 0)));
        assert_eq!(KernelVersion::parse("5.14"), Some(KernelVersion(5, 14, 0)));
        assert_eq!(KernelVersion::parse("unknown"), None);
    }

    #[test]
    fn notes_about_libraries_opened_at_run_time_are_found_by_owner_and_type() {
        let json = b"[{\"soname\":[\"liba.so.1\"]}]\0\0\0\0\0\0";
        let note = |owner: &[u8; 4], kind: u32| {
            let mut data = 4_u32.to_le_bytes().to_vec();
            data.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
            data.extend(kind.to_le_bytes());
            data.extend(owner);
            data.extend(json);
            data
        };
        let all = [note(b"FDO\0", 0x407c_0c0a), note(b"FDO\0", 0xcafe_1a7e), note(b"XYZ\0", 0x407c_0c0a)];
        let data = all.concat();
        let mut notes = Notes::default();
        let reader = Reader { data: &data, class: Class::Elf64, endian: Endian::Little };
        notes.read(reader, 4, Machine::X86_64);
        assert_eq!(notes.dlopen.len(), 1);
        assert_eq!(notes.dlopen[0].sonames, ["liba.so.1"]);
    }

    #[test]
    fn a_note_that_claims_more_than_there_is_ends_the_list() {
        let mut data = vec![4, 0, 0, 0, 255, 255, 255, 255, 3, 0, 0, 0];
        data.extend_from_slice(b"GNU\0abcd");
        let mut notes = Notes::default();
        let reader = Reader { data: &data, class: Class::Elf64, endian: Endian::Little };
        notes.read(reader, 4, Machine::X86_64);
        assert_eq!(notes, Notes::default());
    }
}
