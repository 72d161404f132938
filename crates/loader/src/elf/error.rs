//! The faults in the bytes of an object.

use crate::elf::Endian;

/// The reason why bytes are not a readable object.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The first four bytes are not `\x7fELF`.
    #[error("not an ELF file")]
    NotElf,
    /// The file ends inside its ELF header.
    #[error("the file ends inside its ELF header ({length} bytes)")]
    TooShort {
        /// The length of the file in bytes.
        length: usize,
    },
    /// The size of the program headers does not match the class.
    #[error("malformed ELF header: program headers of {stated} bytes, not {expected}")]
    EntrySize {
        /// The size in the ELF header.
        stated: u16,
        /// The size of the class.
        expected: usize,
    },
    /// The byte order of the header differs from the declared one.
    #[error("malformed ELF header: its byte order is not the declared one ({stated:?} endian)")]
    ByteOrder {
        /// The byte order in the ELF header.
        stated: Endian,
    },
    /// The class is neither 32 nor 64 bits.
    #[error("malformed ELF header: class {0} is neither 1 nor 2")]
    UnknownClass(u8),
    /// The ELF header or the program headers contradict the format.
    #[error("malformed ELF header: {0}")]
    MalformedHeader(String),
    /// A table that the headers describe is outside of the file.
    #[error("{what} at file offset {offset:#x} is outside the file ({length} bytes), which may be truncated")]
    OutOfBounds {
        /// The table.
        what: &'static str,
        /// The offset in the headers.
        offset: u64,
        /// The length of the file in bytes.
        length: usize,
    },
    /// The dynamic section contains an address that is not in any segment.
    #[error("{what} at address {address:#x} is not in a loadable segment")]
    Unmapped {
        /// The table.
        what: &'static str,
        /// The virtual address.
        address: u64,
    },
    /// A table contradicts itself.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// The table.
        what: &'static str,
        /// The fault.
        why: String,
    },
}
