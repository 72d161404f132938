//! Reads facts, imports and definitions from the bytes of an object, and looks symbols up.
//!
//! Invariant: an error or facts, and no more of them than fit in the file.

#![no_main]

use bytes::Bytes;
use compat_loader::elf::{Object, Wanted};
use libfuzzer_sys::fuzz_target;

/// The size of the smallest symbol (32-bit) and of the smallest version entry.
const ENTRY: usize = 16;
/// The allowed size of names in addition to the file's size (`elf::name`), times three for invalid UTF-8.
const ROOM_FOR_NAMES: usize = 3 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(object) = Object::parse(Bytes::copy_from_slice(data)) else { return };
    let imports = object.imports();
    assert_eq!(imports.len(), object.import_entries().len());
    assert!(imports.len() <= data.len() / ENTRY, "{} imports in {} bytes", imports.len(), data.len());
    let definitions = object.definitions();
    assert!(definitions.len() <= data.len() / ENTRY, "{} definitions", definitions.len());
    for import in &imports {
        object.satisfies(&Wanted::of(import));
        assert!(!import.name.is_empty() && !import.uses.is_empty());
    }
    let needed = object.dynamic.iter().flat_map(|dynamic| &dynamic.needed).map(|needed| needed.name.len());
    let versions = object.version_needs.iter().map(|need| {
        need.library.len() + need.versions.iter().map(|version| version.name.len()).sum::<usize>()
    });
    let defined = object.version_definitions.iter().flatten().map(|version| version.name.len());
    let names: usize = needed.chain(versions).chain(defined).sum();
    assert!(names <= 3 * data.len() + ROOM_FOR_NAMES, "{names} bytes of names in {} bytes", data.len());
    let _ = (object.is_program(), object.is_static(), object.has_symbol_versions());
});
