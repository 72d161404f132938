//! References and locations.
//!
//! Invariant: a parsed location, printed and parsed again, is the same.

#![no_main]

use compat_oci::Location;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Location::parse(text) {
        Ok(location) => assert_eq!(Location::parse(&location.to_string()).ok().as_ref(), Some(&location)),
        Err(error) => assert!(error.to_string().len() <= 16 * text.len() + 4096),
    }
});
