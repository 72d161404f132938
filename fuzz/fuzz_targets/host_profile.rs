//! Any bytes as a saved host, as `check --host` reads it, and a program checked on it.
//!
//! Invariant: an error, or a profile that is the same after it is written and read again. The report has a
//! verdict on each subject, no matter what the profile contains about links, loaders, caches and libraries.

#![no_main]

use std::sync::LazyLock;

use compat_loader::check::{Host, Options, check};
use compat_loader::host::Profile;
use compat_loader::spec::{self, Specification};
use libfuzzer_sys::fuzz_target;

/// A program that needs libraries, versions and symbols of the host, and scripts that need programs.
static DOCUMENT: LazyLock<Specification> = LazyLock::new(|| {
    let text = include_bytes!("../seeds/host_profile.spec.json");
    spec::parse(text).expect("the document that belongs to this target")
});

fuzz_target!(|data: &[u8]| {
    let profile = match Profile::parse(data) {
        Ok(profile) => profile,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    let again = Profile::parse(&profile.to_json()).expect("what was written can be read");
    assert_eq!(profile, again);
    let options = Options { library_path: Some("/own:$ORIGIN".to_owned()), ..Options::default() };
    let host = Host::of_profile(profile, "host.json".to_owned(), &options);
    let report = check(&DOCUMENT, &host);
    assert_eq!(report.subjects.len(), DOCUMENT.subjects.len());
    serde_json::to_vec(&report).expect("a report is plain data");
});
