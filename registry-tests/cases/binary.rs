//! The linked program.

use std::fs;
use std::process::Command;

use compat_loader::elf::{FileType, Object};

use crate::harness::compat::BINARY;
use crate::harness::process::run;
use crate::harness::{Case, Requirement, Workspace};

pub fn cases() -> Vec<Case> {
    let shell = &[Requirement::Tool("bash")];
    vec![
        Case::new("binary::is_static_and_position_independent", &[], position),
        Case::new("binary::is_loaded_at_random_addresses", shell, place),
    ]
}

fn position(_: &Workspace) {
    let bytes = fs::read(BINARY).expect("the program");
    let object = Object::parse(bytes.into()).expect("an object");
    assert_eq!(object.kind, FileType::Shared, "the program is linked for a fixed address");
    let dynamic = object.dynamic.as_ref().expect("a dynamic section");
    assert!(dynamic.flags.pie && dynamic.needed.is_empty() && object.interpreter.is_none());
}

/// The kernel loads the program at another address each time, unless address randomization is disabled here.
fn place(workspace: &Workspace) {
    if fs::read_to_string("/proc/sys/kernel/randomize_va_space").is_ok_and(|text| text.trim() == "0") {
        return;
    }
    // The program waits for its standard input, and its maps are read meanwhile.
    let script = r#"exec 3> >(exec "$0" validate - >/dev/null 2>&1); for try in {1..200}; do
        line="$(grep -m1 -- "$0" "/proc/$!/maps" 2>/dev/null)" && break; sleep 0.01; done; echo "${line%%-*}""#;
    let start = || run(workspace, Command::new("bash").args(["-c", script, BINARY]));
    let (first, second) = (start(), start());
    assert!(first.trim().len() > 6 && first != second, "{first:?} and {second:?}");
}
