//! `WWW-Authenticate` headers.
//!
//! Invariant: no more challenges and parameters than fit in the header, with names in lower case.

#![no_main]

use compat_oci::remote::challenge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let challenges = challenge::parse(header);
    let parameters: usize = challenges.iter().map(|challenge| challenge.parameters.len()).sum();
    assert!(challenges.len() + parameters <= header.len());
    for challenge in challenges {
        assert!(!challenge.scheme.is_empty() && challenge.scheme == challenge.scheme.to_ascii_lowercase());
    }
});
