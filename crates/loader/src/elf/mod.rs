//! Reads the facts of one ELF object from its bytes: headers, dynamic section, versions, symbols, notes.
//!
//! No I/O: callers pass the bytes (usually a mapping of the file) and keep them alive through [`bytes::Bytes`].
//! Everything is read as the dynamic loader reads it, through the program headers and the dynamic section.
//! Section headers are only used for the marks of tools ([`Marks`]), so stripped files load like others.
//!
//! Sources: the System V gABI (chapters 4 and 5), the GNU extensions in glibc's `elf.h` and `elf/dl-lookup.c`,
//! the processor supplements. `goblin` reads the ELF header and the program headers. Tables that the dynamic
//! section refers to (symbols, hashes, versions, relocations) are read here in place, because goblin copies and
//! decodes whole tables while the loader needs only a few of their entries.
//!
//! Hostile input returns an [`Error`] or is ignored. Nothing here panics, and no allocation is larger than the
//! file allows. Tables that no linker writes (chains of thousands of symbols, names shared by thousands of
//! entries) are followed up to a limit.

mod constant;
mod dlopen;
mod dynamic;
mod error;
mod go;
mod hash;
mod hash_table;
#[cfg(test)]
mod hostile;
mod layout;
mod machine;
mod mark;
mod name;
mod note;
mod object;
mod packing;
mod range;
mod reader;
mod relocation;
#[cfg(test)]
pub(crate) mod sample;
mod section;
mod segments;
mod symbol;
mod thread_local;
mod version;

pub use constant::constants;
pub use dlopen::{DlopenNote, Priority};
pub use dynamic::{Dependency, DependencyKind, Dynamic, Flags};
pub use error::Error;
pub use hash::{gnu_hash, sysv_hash};
pub use layout::{IdentificationFault, Layout, Role, Segment};
pub use machine::{Class, Endian, Machine};
pub use mark::Marks;
pub use note::{IsaLevel, KernelVersion, Notes};
pub use object::{FileType, Object};
pub use range::{is_searched, outline, ranges};
pub use relocation::Uses;
pub use symbol::{Definition, Import, ImportEntry, VersionReference, VersionRule, Visibility, Wanted};
pub use thread_local::{InitialExec, ThreadLocal};
pub use version::{DefinedVersion, NeededVersion, VersionNeed};
