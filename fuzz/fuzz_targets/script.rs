//! A script's first line.
//!
//! Invariant: the kernel's buffer bounds what is read, and an interpreter is never empty.

#![no_main]

use compat::loader::parse_script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = parse_script(data);
    assert_eq!(parsed.is_some(), data.starts_with(b"#!"));
    let Some(Ok(script)) = parsed else { return };
    assert!(!script.interpreter.is_empty() && !script.interpreter.contains(['\n', '\0', ' ', '\t']));
    // What is no UTF-8 becomes a character of three bytes.
    let length = script.interpreter.len() + script.argument.as_ref().map_or(0, String::len);
    assert!(length <= 3 * 256);
    assert_ne!(script.argument.as_deref(), Some(""));
    script.searched_program();
});
