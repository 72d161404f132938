//! A script: its first line, what `env` makes of it, and what a shell's text starts.
//!
//! Invariant: the kernel's buffer bounds what is read of the first line, an interpreter is never empty, and a text of
//! any form is read to an end.

#![no_main]

use compat_loader::script::{Body, EnvKind, LONGEST, parse_script, why_none};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = parse_script(data);
    assert_eq!(parsed.is_some(), data.starts_with(b"#!"));
    assert!(!why_none(data).is_empty());
    let body = Body::parse(&String::from_utf8_lossy(data));
    assert!(body.command.iter().map(String::len).sum::<usize>() <= LONGEST);
    let Some(Ok(script)) = parsed else { return };
    assert!(!script.interpreter.is_empty() && !script.interpreter.contains(['\n', '\0', ' ', '\t']));
    // What is no UTF-8 becomes a character of three bytes.
    let length = script.interpreter.len() + script.argument.as_ref().map_or(0, String::len);
    assert!(length <= 3 * 256);
    assert_ne!(script.argument.as_deref(), Some(""));
    for kind in [EnvKind::Coreutils, EnvKind::Busybox] {
        if let Ok(env) = kind.start(script.argument.as_deref()) {
            assert!(!env.program.is_empty());
        }
    }
    script.applet();
    script.refused_argument();
    // Bytes that are not UTF-8 take more room as text, and may not fit on a first line any more.
    assert!(length > 240 || matches!(parse_script(&script.text()), Some(Ok(_))));
});
