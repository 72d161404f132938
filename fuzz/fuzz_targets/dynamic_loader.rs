//! Reads the search rules from the file of a dynamic loader.
//!
//! Invariant: the file is not a loader, or its facts allow a search.

#![no_main]

use compat_loader::elf::{Class, Machine};
use compat_loader::host::DynamicLoader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = "/lib64/ld-linux-x86-64.so.2";
    let Some(loader) = DynamicLoader::parse(path, data, Machine::X86_64, Class::Elf64) else { return };
    assert!(!loader.default_directories.is_empty());
    assert!(loader.default_directories.len() <= 64);
    assert!(loader.default_directories.iter().all(|d| d.starts_with('/') && !d.ends_with('/') || d == "/"));
    assert!(loader.is_musl() || loader.cache_path.ends_with("/ld.so.cache"));
    loader.musl_path_file();
});
