//! The segments of an object, as a document has them where not every kernel and loader would map it.
//!
//! Source: the ELF header and the program headers (gABI chapter 5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The program headers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// The address at which a program begins (e_entry).
    #[serde(default)]
    pub entry: u64,
    /// The file offset of the program headers (e_phoff).
    #[serde(default)]
    pub table: u64,
    /// How many program headers there are, those that are not listed here among them (e_phnum).
    #[serde(default)]
    pub count: u16,
    /// Those that decide how the object is mapped, in the order of the file.
    #[serde(default)]
    pub segments: Vec<Segment>,
}

/// One program header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// What the segment is for.
    pub role: SegmentRole,
    /// What it may be used for: a text of "r", "w" and "x".
    #[serde(default)]
    pub flags: String,
    /// Where it begins in the file, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// Where it begins in memory.
    #[serde(default)]
    pub address: u64,
    /// How many bytes of the file it has.
    #[serde(default)]
    pub file_size: u64,
    /// How many bytes of memory it has.
    #[serde(default)]
    pub memory_size: u64,
    /// What it is aligned to, in bytes.
    #[serde(default)]
    pub alignment: u64,
}

/// What a segment is for.
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
    /// Storage of each thread (PT_TLS).
    Tls,
    /// Read-only once relocations are applied (PT_GNU_RELRO).
    Relro,
    /// One that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// What glibc's loader objects to in the first bytes of a library; the kernel and musl do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identification {
    /// EI_VERSION is not 1.
    Version,
    /// EI_ABIVERSION is higher than the OS ABI has.
    AbiVersion,
    /// The padding of e_ident is not zero.
    Padding,
    /// e_version is not 1.
    FileVersion,
    /// Something that this reader does not know.
    #[serde(other)]
    Unknown,
}
