//! A script: its first line, the program that `env` starts for it, and the commands in a shell's text.
//!
//! Invariant: no more of the first line is read than the kernel's buffer, an interpreter is never empty, and a
//! text of any form is read to its end.

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
    // An invalid UTF-8 byte becomes a character of three bytes.
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
    // Bytes that are not UTF-8 are longer as text, so they may no longer fit in a first line.
    assert!(length > 240 || matches!(parse_script(&script.text()), Some(Ok(_))));
});
