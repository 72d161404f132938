//! The segments of an object in the file and in memory, with which the kernel and the loader map it.
//!
//! Source: gABI chapter 5, "Program Header"; elf(5). Only the kinds of segments that matter for mapping are
//! kept. This module judges nothing.

use goblin::elf::header::Header;
use goblin::elf::program_header::{self as segment, ProgramHeader};

use crate::elf::Machine;

/// The program headers of an object, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The address at which a program begins (`e_entry`).
    pub entry: u64,
    /// The file offset of the program headers (`e_phoff`).
    pub table: u64,
    /// The number of program headers of all kinds (`e_phnum`).
    pub count: u16,
    /// The segments of the kinds that [`Role`] names.
    pub segments: Vec<Segment>,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its purpose (`p_type`).
    pub role: Role,
    /// `PF_R`, `PF_W` and `PF_X`.
    pub flags: u32,
    /// `p_offset`.
    pub offset: u64,
    /// `p_vaddr`.
    pub address: u64,
    /// `p_filesz`, in bytes.
    pub file_size: u64,
    /// `p_memsz`, in bytes.
    pub memory_size: u64,
    /// `p_align`.
    pub alignment: u64,
}

/// The purpose of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `PT_LOAD`: it is mapped.
    Load,
    /// `PT_DYNAMIC`.
    Dynamic,
    /// `PT_INTERP`.
    Interpreter,
    /// `PT_PHDR`: the program headers themselves.
    Headers,
    /// `PT_TLS`.
    Tls,
    /// `PT_GNU_RELRO`: read-only after relocations are applied.
    Relro,
}

/// A fault in the first bytes of a library for which glibc's loader refuses it, other than its class, byte
/// order and OS ABI (`open_verify` in `elf/dl-load.c`). The kernel and musl do not check these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentificationFault {
    /// `EI_VERSION` is not 1.
    Version,
    /// `EI_ABIVERSION` is higher than the OS ABI allows.
    AbiVersion,
    /// The padding of `e_ident` is not zero.
    Padding,
    /// `e_version` is not 1.
    FileVersion,
}

impl Segment {
    /// `PF_X`.
    pub const EXECUTE: u32 = 1;
    /// `PF_W`.
    pub const WRITE: u32 = 2;
    /// `PF_R`.
    pub const READ: u32 = 4;

    fn of(header: &ProgramHeader) -> Option<Self> {
        let role = match header.p_type {
            segment::PT_LOAD => Role::Load,
            segment::PT_DYNAMIC => Role::Dynamic,
            segment::PT_INTERP => Role::Interpreter,
            segment::PT_PHDR => Role::Headers,
            segment::PT_TLS => Role::Tls,
            segment::PT_GNU_RELRO => Role::Relro,
            _ => return None,
        };
        Some(Self {
            role,
            flags: header.p_flags & (Self::EXECUTE | Self::WRITE | Self::READ),
            offset: header.p_offset,
            address: header.p_vaddr,
            file_size: header.p_filesz,
            memory_size: header.p_memsz,
            alignment: header.p_align,
        })
    }
}

impl Layout {
    pub(super) fn of(header: &Header, headers: &[ProgramHeader]) -> Self {
        Self {
            entry: header.e_entry,
            table: header.e_phoff,
            count: header.e_phnum,
            segments: headers.iter().filter_map(Segment::of).collect(),
        }
    }

    /// Returns the segments that are mapped, in the order of the file.
    pub fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.role == Role::Load)
    }

    /// Returns the last segment of a kind: the loader uses the last one.
    pub fn last(&self, role: Role) -> Option<&Segment> {
        self.segments.iter().rev().find(|segment| segment.role == role)
    }
}

impl IdentificationFault {
    pub(super) fn of(header: &Header) -> Option<Self> {
        use goblin::elf::header::{EI_OSABI, EI_VERSION, ELFOSABI_GNU, EV_CURRENT};
        const EI_ABIVERSION: usize = 8;
        const EI_PAD: usize = 9;
        const GNU_ABI_VERSIONS: u8 = 3;
        let ident = &header.e_ident;
        if ident[EI_VERSION] != EV_CURRENT {
            return Some(Self::Version);
        }
        let allowed = if ident[EI_OSABI] == ELFOSABI_GNU { GNU_ABI_VERSIONS } else { 0 };
        if ident[EI_ABIVERSION] > allowed {
            return Some(Self::AbiVersion);
        }
        if ident[EI_PAD..].iter().any(|byte| *byte != 0) {
            return Some(Self::Padding);
        }
        (header.e_version != 1).then_some(Self::FileVersion)
    }
}

impl Machine {
    /// Returns the page sizes, in bytes, that kernels for the machine support, the usual one first.
    pub fn page_sizes(self) -> &'static [u64] {
        const K: u64 = 1024;
        match self {
            Self::AARCH64 => &[4 * K, 16 * K, 64 * K],
            Self::LOONGARCH => &[16 * K, 4 * K, 64 * K],
            Self::PPC64 => &[64 * K, 4 * K],
            Self::MIPS => &[4 * K, 16 * K, 64 * K],
            Self::SPARC64 => &[8 * K],
            Self::IA64 => &[16 * K, 4 * K, 64 * K],
            _ => &[4 * K],
        }
    }
}
