//! Readers that keep a file open or mapped while it changes.

use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::served::Served;

/// The cases.
pub fn cases() -> Vec<Case> {
    let tools = &["nsenter", "python3"];
    vec![
        case("open_reader::an_open_file_stays_one_version_when_it_changes_outside", tools, |d| {
            change(d, "outside", CLOSE_TO_OPEN)
        }),
        case("open_reader::writes_through_the_mirror_are_seen_at_once", tools, |d| {
            change(d, "mirror", CLOSE_TO_OPEN)
        }),
        case("open_reader::writes_through_the_mirror_are_seen_at_once_in_a_session", tools, |d| {
            change(d, "mirror", &["--coherence", "session"])
        }),
        case("open_reader::writes_through_the_mirror_are_seen_at_once_with_strict", tools, |d| {
            change(d, "mirror", &["--coherence", "strict"])
        }),
    ]
}

const CLOSE_TO_OPEN: &[&str] = &["--revalidate", "500ms"];

fn change(directory: &Path, by: &str, options: &[&str]) {
    let served = Served::start(directory);
    let said = served.python(options, include_str!("../fixtures/open_reader.py"), &[by]);
    assert_eq!(said.out, "done\n", "{}", said.error);
}
