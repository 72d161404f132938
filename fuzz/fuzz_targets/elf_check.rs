//! A program and its library, any bytes each, checked in a root with nothing but a dynamic loader, as
//! `check PATH --root DIR` does; and the specification that `gen` makes of them, checked on the same root.
//!
//! Invariant: files that are none of `compat`'s are refused; of the others there is a report, that can be
//! printed, and its specification is read back as it was written and checked as well.

#![no_main]

use std::cell::RefCell;

use compat_loader::check::{Host, Options, check, check_application};
use compat_loader::generate;
use compat_loader::spec;
use compat_fuzz::{root, two_files, write_executable};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static ROOT: RefCell<TempDir> = RefCell::new(root());
}

fuzz_target!(|data: &[u8]| {
    let Some((program, library)) = two_files(data) else { return };
    ROOT.with_borrow(|root| {
        let (app, own) = (root.path().join("app/bin/app"), root.path().join("app/lib/libown.so"));
        write_executable(&app, program);
        write_executable(&own, library);
        // A host of its own each time: what it remembers must not pile up.
        let host = || Host::at(root.path(), &Options::default()).expect("the directory is there");
        let options = generate::Options { paths: vec![root.path().join("app")], ..Default::default() };
        let Ok(read) = generate::read(&options) else { return };
        let report = check_application(&read.application, &host());
        compat::cli::report::render(&report);
        let host = host();
        let made = generate::generate(&options, host.context());
        let specification = made.expect("what can be read can be told").specification;
        let written = specification.to_canonical_json();
        if written.len() <= spec::MAXIMUM_SIZE {
            assert_eq!(spec::parse(&written).expect("what was written can be read"), specification);
        }
        compat::cli::report::render(&check(&specification, &host));
    });
});
