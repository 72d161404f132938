//! The specification: the document with the requirements of an application.
//!
//! Format: `docs/specification.md`. Schema: `schemas/specification.json`, generated from the types in
//! [`document`]. The format is a superset of compat-lib 0.0.1, and compat-lib's documents are read unchanged.
//! This module has no I/O: it reads and writes bytes.

pub mod attribute;
pub mod document;
mod image;
mod layout;
mod loader;
mod read;
mod recorded;
pub mod schema;
mod size;

pub use document::{
    Alternatives, ClosureEntry, Definitions, Detail, Distinction, DlopenNeed, DlopenPriority, LibraryNeed,
    Object, ObjectFlag, ObjectKind, Provision, Script, ScriptBody, Specification, Symbols, ThreadLocal,
    VersionNeed,
};
pub use image::{CacheLine, HostLibrary, Image, Interpreted, Requirement};
pub use layout::{Identification, Layout, Segment, SegmentRole};
pub use loader::{DynamicLoader, Flavour};
pub use read::{Error, parse};
pub use recorded::{Recorded, RecordedLibrary, RecordedProgram};
pub use size::written_size;

/// The version that this program writes.
pub const VERSION: &str = "1.0.0";

/// The largest document that is read, in bytes.
pub const MAXIMUM_SIZE: usize = 32 * 1024 * 1024;
