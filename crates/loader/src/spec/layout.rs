//! The segments of an object. A specification contains them only if some kernel or loader would not map them.
//!
//! Source: the ELF header and the program headers (gABI chapter 5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The program headers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// The address at which the program starts (e_entry).
    #[serde(default)]
    pub entry: u64,
    /// The file offset of the program headers (e_phoff).
    #[serde(default)]
    pub table: u64,
    /// The number of program headers, including those that are not listed here (e_phnum).
    #[serde(default)]
    pub count: u16,
    /// The headers that decide the mapping of the object, in the order of the file.
    #[serde(default)]
    pub segments: Vec<Segment>,
}

/// One program header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// The role of the segment.
    pub role: SegmentRole,
    /// Its permissions, as a text of "r", "w" and "x".
    #[serde(default)]
    pub flags: String,
    /// Its offset in the file, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// Its address in memory.
    #[serde(default)]
    pub address: u64,
    /// Its size in the file, in bytes.
    #[serde(default)]
    pub file_size: u64,
    /// Its size in memory, in bytes.
    #[serde(default)]
    pub memory_size: u64,
    /// Its alignment, in bytes.
    #[serde(default)]
    pub alignment: u64,
}

/// The role of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentRole {
    /// It is mapped (PT_LOAD).
    Load,
    /// The dynamic section (PT_DYNAMIC).
    Dynamic,
    /// The name of the dynamic loader (PT_INTERP).
    Interpreter,
    /// The program headers themselves (PT_PHDR).
    Headers,
    /// Thread-local storage (PT_TLS).
    Tls,
    /// Read-only once relocations are applied (PT_GNU_RELRO).
    Relro,
    /// A role that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// A defect in the first bytes of a library that glibc's loader rejects. The kernel and musl accept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identification {
    /// EI_VERSION is not 1.
    Version,
    /// EI_ABIVERSION is higher than the OS ABI defines.
    AbiVersion,
    /// The padding of e_ident is not zero.
    Padding,
    /// e_version is not 1.
    FileVersion,
    /// A defect that this reader does not know.
    #[serde(other)]
    Unknown,
}
