//! `Link` headers of paged listings.
//!
//! Invariant: the next page is on the host and scheme that the page came from.

#![no_main]

use compat::registry::remote::link;
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|header: &str| {
    let page = Url::parse("https://registry.example:5000/v2/a/tags/list?n=1").expect("a URL");
    if let Some(next) = link::next(header, &page) {
        assert_eq!(next.origin(), page.origin());
    }
});
