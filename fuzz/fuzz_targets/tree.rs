//! A program and its library, any bytes each, shown by `tree --root DIR` in a root that contains only a dynamic
//! loader. The first byte chooses the options.
//!
//! Invariant: an exit code, and never an endless walk. The output is discarded.

#![no_main]

use std::cell::RefCell;
use std::ffi::OsString;

use compat_fuzz::{root, two_files, write_executable};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static ROOT: RefCell<TempDir> = RefCell::new(root());
}

/// The options.
const FORMS: [&[&str]; 6] = [
    &[],
    &["--flat"],
    &["--bindings"],
    &["--why", "libown.so"],
    &["--bindings", "--format", "json"],
    &["--library-path", "/app/lib", "--depth", "3"],
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, files)) = data.split_first() else { return };
    let Some((program, library)) = two_files(files) else { return };
    ROOT.with_borrow(|root| {
        let app = root.path().join("app/bin/app");
        write_executable(&app, program);
        write_executable(&root.path().join("app/lib/libown.so"), library);
        let typed = ["compat", "tree", "--root"].map(OsString::from).into_iter();
        let form = FORMS[usize::from(*choice) % FORMS.len()].iter().map(OsString::from);
        compat::cli::main(typed.chain([root.path().into()]).chain(form).chain([app.into_os_string()]));
    });
});
