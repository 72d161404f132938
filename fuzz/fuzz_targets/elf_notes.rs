//! The notes of an object. The first byte chooses machine, kind of segment and alignment.
//!
//! Invariant: the object is read, no matter what its notes contain, and a build ID is a part of the notes.

#![no_main]

use compat_loader::elf::{Machine, Object};
use compat_fuzz::{PT_NOTE, object_with_segment};
use libfuzzer_sys::fuzz_target;

const PT_GNU_PROPERTY: u32 = 0x6474_e553;

fuzz_target!(|data: &[u8]| {
    let Some((choice, notes)) = data.split_first() else { return };
    let machine = if choice & 1 == 0 { Machine::X86_64 } else { Machine::AARCH64 };
    let kind = if choice & 2 == 0 { PT_NOTE } else { PT_GNU_PROPERTY };
    let align = [0, 1, 4, 8, 16, u64::MAX, 3, 5][usize::from(choice >> 2 & 7)];
    let object = object_with_segment(machine, kind, align, notes);
    let object = Object::parse(object.into()).expect("notes never make an object unreadable");
    if let Some(build_id) = &object.notes.build_id {
        assert!(build_id.is_empty() || notes.windows(build_id.len()).any(|part| part == build_id));
    }
    if let Some(isa) = object.notes.isa {
        assert!(machine == Machine::X86_64 && isa.highest() >= 1);
    }
});
