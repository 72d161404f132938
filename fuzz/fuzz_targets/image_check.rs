//! An arbitrary specification of an image, on a root that contains a dynamic loader and the files of an NVIDIA
//! driver.
//!
//! Invariant: the report has a verdict on each subject, no matter what the document contains about the image's
//! loaders, cache and small files, the libraries that a runtime adds, and the requirements on drivers.

#![no_main]

use std::cell::RefCell;

use compat_loader::check::{Host, Options, check};
use compat_fuzz::document::ImageDocument;
use compat_fuzz::{dynamic_loader, root, write_executable};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static ROOT: RefCell<TempDir> = RefCell::new(root_with_driver());
}

fn root_with_driver() -> TempDir {
    let root = root();
    let library = root.path().join("usr/lib/x86_64-linux-gnu/libcuda.so.535.104.05");
    write_executable(&library, &dynamic_loader());
    std::os::unix::fs::symlink("libcuda.so.535.104.05", library.with_file_name("libcuda.so.1"))
        .expect("a link");
    root
}

fuzz_target!(|document: ImageDocument| {
    let ImageDocument(specification) = document;
    ROOT.with_borrow(|root| {
        // A new host each time, so that its memory does not accumulate.
        let host = Host::at(root.path(), &Options::default()).expect("the directory is there");
        let report = check(&specification, &host);
        assert_eq!(report.subjects.len(), specification.subjects.len());
        serde_json::to_vec(&report).expect("a report is plain data");
    });
});
