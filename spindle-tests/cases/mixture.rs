//! A reader never sees a mixture of two versions of a file that changes all the time.

use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::served::Served;

/// The cases.
pub fn cases() -> Vec<Case> {
    let tools = &["unshare", "python3"];
    vec![
        case("mixture::files_replaced_outside_are_never_mixed", tools, |d| flip(d, "rename", "outside")),
        case("mixture::files_replaced_through_the_mirror_are_never_mixed", tools, |d| {
            flip(d, "rename", "mirror")
        }),
        case("mixture::files_overwritten_outside_are_never_mixed", tools, |d| flip(d, "place", "outside")),
    ]
}

/// A file of one page, which a write changes at once, and one of several requests.
const SIZES: [&str; 2] = ["4096", "400000"];

fn flip(directory: &Path, way: &str, by: &str) {
    let served = Served::in_memory(directory);
    for mode in ["session", "close-to-open", "strict"] {
        for size in SIZES {
            let options = ["--coherence", mode, "--revalidate", "300ms"];
            let program = include_str!("../fixtures/mixture.py");
            let said = served.python(&options, program, &[way, by, mode, size]);
            assert_eq!(said.out, "done\n", "{mode}, {size} bytes: {}", said.error);
        }
    }
}
