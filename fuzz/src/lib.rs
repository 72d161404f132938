//! Shared parts of the targets: a small ELF object around given bytes, a small root, arbitrary documents.

pub mod document;

use std::path::Path;

use compat_loader::elf::Machine;
use tempfile::TempDir;

const HEADER: usize = 64;
const SEGMENT: usize = 56;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
/// `PT_NOTE`.
pub const PT_NOTE: u32 = 4;

/// Returns a 64-bit little-endian shared object with one segment of the given kind that contains `content`.
pub fn object_with_segment(machine: Machine, kind: u32, align: u64, content: &[u8]) -> Vec<u8> {
    let start = HEADER + SEGMENT;
    let mut bytes = header(machine, 1);
    bytes.extend(segment(kind, start, content.len(), align));
    bytes.extend(content);
    bytes
}

/// Returns a file that `compat` recognises as glibc's dynamic loader: a shared object without symbols, and the
/// strings that contain a loader's directories.
pub fn dynamic_loader() -> Vec<u8> {
    let strings = b"\0/lib/\0/usr/lib/\0\0/etc/ld.so.cache\0glibc-hwcaps\0release version 2.36.\n\0";
    let start = HEADER + 2 * SEGMENT;
    let size = 16 + strings.len();
    let mut bytes = header(Machine::of_this_program(), 2);
    bytes.extend(segment(PT_LOAD, start, size, 16));
    bytes.extend(segment(PT_DYNAMIC, start, 16, 8));
    bytes.extend([0; 16]);
    bytes.extend(strings);
    bytes
}

/// The dynamic loader of a root of [`root`], which most programs name.
pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Returns a root that contains only a dynamic loader.
///
/// # Panics
///
/// If the temporary directory cannot be written.
pub fn root() -> TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    write_executable(&root.path().join(LOADER.trim_start_matches('/')), &dynamic_loader());
    root
}

/// Writes an executable file and its parent directories.
///
/// # Panics
///
/// If it cannot be written.
pub fn write_executable(path: &Path, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    // Some file systems write a file to disk that is truncated and rewritten, which takes as long as a hundred
    // runs. They do not do so for a new file.
    let _ = std::fs::remove_file(path);
    std::fs::write(path, content).expect("a file");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("its mode");
}

/// Splits an input into two files. The first begins after two bytes with its length.
pub fn two_files(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

fn header(machine: Machine, segments: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(3_u16.to_le_bytes());
    bytes.extend(machine.0.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend((HEADER as u64).to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    for half in [HEADER as u16, SEGMENT as u16, segments, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

fn segment(kind: u32, start: usize, size: usize, align: u64) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(4_u32.to_le_bytes());
    for word in [start, start, start, size, size] {
        bytes.extend((word as u64).to_le_bytes());
    }
    bytes.extend(align.to_le_bytes());
    bytes
}
