//! The objects of whole systems, read from only the parts of their files that are kept.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use compat_loader::elf::{self, Object, Wanted};

use crate::harness::case::DEBOOTSTRAP;
use crate::harness::{Case, Requirement, root};

/// Returns one case for each system.
pub fn all() -> Vec<Case> {
    let case = |release: &'static str| {
        let name = format!("parts::every_object_of_{release}_reads_the_same_from_its_parts");
        let requirements = [Requirement::Root, DEBOOTSTRAP];
        Case::new(name, &requirements, move |workspace| compare(&root::debian(workspace, release)))
    };
    ["bullseye", "bookworm"].into_iter().map(case).collect()
}

fn compare(root: &Path) {
    let mut paths = Vec::new();
    for directory in ["usr/bin", "usr/sbin", "usr/lib"] {
        files_below(&root.join(directory), &mut paths);
    }
    let (mut count, mut kept, mut length) = (0, 0, 0);
    for path in paths {
        let Ok(data) = fs::read(&path).map(Bytes::from) else { continue };
        if !data.starts_with(b"\x7fELF") {
            continue;
        }
        let ranges = elf::ranges(&data);
        let mut copy = vec![0; data.len()];
        for range in &ranges {
            copy[range.clone()].copy_from_slice(&data[range.clone()]);
        }
        kept += ranges.iter().map(ExactSizeIterator::len).sum::<usize>();
        (count, length) = (count + 1, length + data.len());
        assert!(facts(data) == facts(copy.into()), "{} reads differently", path.display());
    }
    assert!(count > 500, "only {count} objects: is this a system?");
    assert!(kept * 4 < length, "{kept} of {length} bytes are kept");
}

/// Returns every fact of an object as text.
fn facts(data: Bytes) -> String {
    let object = match Object::parse(data) {
        Ok(object) => object,
        Err(error) => return error.to_string(),
    };
    let satisfied: Vec<bool> =
        object.references().iter().map(|import| object.satisfies(&Wanted::of(import))).collect();
    let header = (object.class, object.endian, object.machine, object.os_abi, object.identification_fault);
    let segments = (&object.layout, object.kind, &object.interpreter, &object.dynamic, &object.notes);
    let versions = (&object.version_needs, &object.version_definitions, object.has_symbol_versions());
    let symbols = (object.imports(), object.references(), object.definitions(), satisfied);
    format!("{:?}", (header, segments, versions, symbols, &object.marks))
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}
