//! What can be wrong with the bytes of an object.

use crate::elf::Endian;

/// Why bytes are not an object that can be read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The first four bytes are not `\x7fELF`.
    #[error("not an ELF file")]
    NotElf,
    /// The file ends before its ELF header does.
    #[error("the file ends inside its ELF header ({length} bytes)")]
    TooShort {
        /// How long the file is, in bytes.
        length: usize,
    },
    /// The entries of the program header table have another size than the class says.
    #[error("malformed ELF header: program headers of {stated} bytes, not {expected}")]
    EntrySize {
        /// The size in the ELF header.
        stated: u16,
        /// The size of the class.
        expected: usize,
    },
    /// The header is not in the byte order that it states.
    #[error("malformed ELF header: it is not in the byte order that it states ({stated:?} endian)")]
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
    /// A table that the headers promise lies outside the file.
    #[error("{what} at file offset {offset:#x} lies outside the file ({length} bytes); is it truncated?")]
    OutOfBounds {
        /// Which table.
        what: &'static str,
        /// Where it was said to be.
        offset: u64,
        /// How long the file is, in bytes.
        length: usize,
    },
    /// The dynamic section names an address that no segment holds.
    #[error("{what} at address {address:#x} lies in no loadable segment")]
    Unmapped {
        /// Which table.
        what: &'static str,
        /// The virtual address.
        address: u64,
    },
    /// A table is inconsistent in itself.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// Which table.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}
