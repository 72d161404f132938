//! Bytes of a specification.
//!
//! Invariant: a specification is the same after it is written canonically and read again.

#![no_main]

use compat_loader::spec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let document = match spec::parse(data) {
        Ok(document) => document,
        Err(error) => {
            let _ = (error.to_string(), error.hint());
            return;
        }
    };
    let canonical = document.to_canonical_json();
    let again = spec::parse(&canonical).expect("what was written can be read");
    assert_eq!(document, again);
    assert_eq!(canonical, again.to_canonical_json());
});
