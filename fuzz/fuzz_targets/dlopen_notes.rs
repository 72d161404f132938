//! An object's notes about libraries that it opens at run time (`.note.dlopen`), with any bytes as the JSON.
//!
//! Invariant: the object is read, no matter what they contain. Entries, names and texts stay within the
//! reader's limits. The entries, written as a note and read again, are the same.

#![no_main]

use compat_loader::elf::{DlopenNote, Machine, Object, Priority};
use compat_fuzz::{PT_NOTE, object_with_segment};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let notes = read(data);
    assert!(notes.len() <= 256);
    for note in &notes {
        assert!((1..=32).contains(&note.sonames.len()));
        let texts = note.sonames.iter().chain(&note.feature).chain(&note.description);
        assert!(texts.clone().all(|text| text.len() <= 4096 && !text.contains('\0')));
        assert!(note.sonames.iter().all(|soname| !soname.is_empty()));
    }
    let written = serde_json::to_vec(&notes.iter().map(written).collect::<Vec<_>>()).expect("plain data");
    if written.len() <= 64 * 1024 {
        assert_eq!(read(&written), notes);
    }
});

/// Reads an object with one note that contains the given bytes as its JSON.
fn read(text: &[u8]) -> Vec<DlopenNote> {
    let mut note = Vec::new();
    for word in [4, text.len() as u32 + 1, 0x407c_0c0a] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"FDO\0");
    note.extend(text);
    note.push(0);
    note.resize(note.len().next_multiple_of(4), 0);
    let object = object_with_segment(Machine::X86_64, PT_NOTE, 4, &note);
    Object::parse(object.into()).expect("notes never make an object unreadable").notes.dlopen
}

fn written(note: &DlopenNote) -> Value {
    let priority = match note.priority {
        Priority::Required => "required",
        Priority::Recommended => "recommended",
        Priority::Suggested => "suggested",
    };
    let mut entry = json!({"soname": note.sonames, "priority": priority});
    for (key, text) in [("feature", &note.feature), ("description", &note.description)] {
        if let Some(text) = text {
            entry[key] = text.as_str().into();
        }
    }
    entry
}
