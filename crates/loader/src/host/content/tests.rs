//! Files that others change while they are read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::elf::sample::Sample;
use crate::elf::{Machine, Object};

/// A file that users other than root may change.
fn foreign(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    (directory, path)
}

fn facts(data: Bytes) -> String {
    Object::parse(data).map_or_else(|error| error.to_string(), |object| crate::elf::sample::facts(&object))
}

/// A program of the usual size.
fn program() -> Vec<u8> {
    Sample::program(Machine::X86_64, 200_000).bytes().to_vec()
}

#[test]
fn only_what_root_alone_changes_is_mapped() {
    let is_mapped = |path: &Path| {
        let file = File::open(path).unwrap();
        only_root_changes(&file, &file.metadata().unwrap())
    };
    let (_directory, path) = foreign(b"x");
    assert!(!is_mapped(&path));
    for (mode, expected) in [(0o644, true), (0o664, false), (0o646, false), (0o444, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(is_mapped(&path), expected && is_root, "{mode:o}");
    }
    if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
        assert!(!is_mapped(&path));
    }
    // Files that the kernel generates on each read cannot be mapped.
    assert!(!is_mapped(Path::new("/proc/self/status")));
}

#[test]
fn an_object_reads_the_same_from_its_parts() {
    for sample in Sample::all(1 << 20) {
        let content = sample.bytes();
        let (_directory, path) = foreign(&content);
        let file = File::open(path).unwrap();
        assert!(content.len() as u64 > SMALL);
        let parts = object(&file, b"sample").unwrap();
        assert_eq!(parts.len(), content.len());
        let touched = parts.chunks(BLOCK).filter(|block| block.iter().any(|byte| *byte != 0)).count();
        assert_eq!(facts(parts), facts(content), "{sample:?}");
        assert!(touched < 8, "{sample:?}: {touched} blocks");
    }
}

#[test]
fn a_file_that_its_owner_truncates_meanwhile_is_an_error_or_what_it_was() {
    let content = &Sample::program(Machine::X86_64, 8 << 20).bytes();
    let (_directory, path) = foreign(content);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            while !done.load(Ordering::Relaxed) {
                file.set_len(100).unwrap();
                file.write_all_at(content, 0).unwrap();
            }
        });
        let mut looked_at = 0;
        for _ in 0..300 {
            let file = File::open(&path).unwrap();
            // A truncated mapping would kill the process here.
            if let Ok(bytes) = object(&file, b"file") {
                looked_at += facts(bytes.clone()).len() + bytes.iter().filter(|byte| **byte != 0).count();
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(looked_at > 0, "it never was as long as the headers say");
    });
}

#[test]
fn what_was_read_does_not_change_when_the_file_does() {
    let (_directory, path) = foreign(&program());
    let file = File::open(&path).unwrap();
    let (parts, all) = (object(&file, b"env").unwrap(), whole(&file).unwrap());
    let before = (parts.to_vec(), all.to_vec());
    fs::write(&path, vec![0xff; before.0.len()]).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert!(before == (parts.to_vec(), all.to_vec()));
}

#[test]
fn what_is_too_large_says_so() {
    let (_directory, path) = foreign(b"text");
    let file = fs::File::options().write(true).read(true).open(&path).unwrap();
    file.set_len(MOST_COPIED + 1).unwrap();
    insta::assert_snapshot!(whole(&file).unwrap_err(), @"it has 268435457 bytes, and at most 256 MiB are read of a file that users other than root can change");
    // The beginning is enough for a file that is not an object. A script is read as far as it is followed.
    assert_eq!(object(&file, b"x").unwrap().len(), 4096);
    file.write_all_at(b"#!/bin/sh\n", 0).unwrap();
    assert_eq!(whole(&file).unwrap().len(), crate::script::LONGEST + 1);
    // An object with contradictory headers would be read as a whole.
    let mut program = program();
    program[32..40].copy_from_slice(&(MOST_COPIED * 2).to_le_bytes());
    file.write_all_at(&program, 0).unwrap();
    assert!(object(&file, b"x").is_ok());
    file.set_len(LONGEST + 1).unwrap();
    assert!(object(&file, b"x").unwrap_err().to_string().contains("at most 256 MiB"));
}

#[test]
fn of_a_large_file_no_more_is_read_than_its_parts() {
    let program = program();
    let (_directory, path) = foreign(&program);
    let file = fs::File::options().write(true).read(true).open(&path).unwrap();
    // Two gigabytes that no header refers to.
    file.set_len(2 << 30).unwrap();
    let data = object(&file, b"env").unwrap();
    assert_eq!(data.len(), 2 << 30);
    assert_eq!(facts(data), facts(program.into()));
}
