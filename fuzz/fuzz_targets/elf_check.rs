//! A program and its library, any bytes each. They are checked in a root that contains only a dynamic loader,
//! like `check PATH --root DIR`. The specification that `gen` makes of them is checked on the same root.
//!
//! Invariant: unusable files are refused. For the others, the report can be printed, and the specification is
//! read back unchanged and checked as well.

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
        // A new host each time, so that its memory does not accumulate.
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
