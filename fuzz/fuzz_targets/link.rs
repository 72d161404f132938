//! `Link` headers of paged listings, one per line.
//!
//! Invariant: an error, or a next page on the host and with the scheme of the first page.

#![no_main]

use compat_oci::remote::link;
use http::header::{HeaderMap, HeaderValue, LINK};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|data: &[u8]| {
    let page = Url::parse("https://registry.example:5000/v2/a/tags/list?n=1").expect("a URL");
    let values = data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers: HeaderMap = values.map(|value| (LINK, value)).collect();
    if let Ok(Some(next)) = link::next(&headers, &page) {
        assert_eq!(next.origin(), page.origin());
    }
});
