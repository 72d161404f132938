//! What several targets need: a small ELF object around given bytes.

use compat::elf::Machine;

const HEADER: usize = 64;
const SEGMENT: usize = 56;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
/// `PT_NOTE`.
pub const PT_NOTE: u32 = 4;

/// A 64-bit little-endian shared object with one segment of the given kind that holds `content`.
pub fn object_with_segment(machine: Machine, kind: u32, align: u64, content: &[u8]) -> Vec<u8> {
    let start = HEADER + SEGMENT;
    let mut bytes = header(machine, 1);
    bytes.extend(segment(kind, start, content.len(), align));
    bytes.extend(content);
    bytes
}

/// What `compat` takes for the dynamic loader of a glibc: a shared object without symbols, and the
/// strings that a loader's file tells its directories by.
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
