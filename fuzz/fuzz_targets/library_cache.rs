//! Reads the entries of an `ld.so.cache`. The input is a name, a line feed, and the cache.
//!
//! Invariant: an error, or entries that could be opened, and no more of them than fit in the file.

#![no_main]

use bytes::Bytes;
use compat_loader::host::LibraryCache;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().take(64).position(|byte| *byte == b'\n') else { return };
    let name = String::from_utf8_lossy(&data[..end]).into_owned();
    let cache = Bytes::copy_from_slice(&data[end + 1..]);
    let Some(parsed) = LibraryCache::parse(&cache) else { return };
    for name in [name.as_str(), "libc.so.6", "libm.so.6", "lib01", ""] {
        let found = parsed.find(name);
        assert!(found.len() <= cache.len() / 24);
        assert!(found.iter().all(|entry| entry.path.len() <= 3 * 4096), "a path no kernel opens");
    }
});
