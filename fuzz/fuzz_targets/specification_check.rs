//! An arbitrary specification, on a root that contains only a dynamic loader.
//!
//! Invariant: the report has a verdict on each subject, no matter what the document contains about objects,
//! links that loop, libraries that need each other, and names that lead upwards.

#![no_main]

use std::cell::RefCell;

use compat_loader::check::{Host, Options, check};
use compat_fuzz::document::Document;
use compat_fuzz::root;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static ROOT: RefCell<TempDir> = RefCell::new(root());
}

fuzz_target!(|document: Document| {
    let Document(specification) = document;
    ROOT.with_borrow(|root| {
        // A new host each time, so that its memory does not accumulate.
        let options = Options { library_path: Some("/lib:$ORIGIN:".to_owned()), ..Options::default() };
        let host = Host::at(root.path(), &options).expect("the directory is there");
        let report = check(&specification, &host);
        if !specification.is_names_only() {
            assert_eq!(report.subjects.len(), specification.subjects.len());
        }
        serde_json::to_vec(&report).expect("a report is plain data");
    });
});
