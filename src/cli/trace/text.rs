//! How times, sizes and paths are shown to people.

use indicatif::HumanBytes;

use crate::cli::report::printable;
use crate::trace::Name;

/// A path on one line, fit for a terminal.
pub fn path(name: &Name) -> String {
    printable(&name.text())
}

/// A time since the start, in seconds: `0.002112`.
pub fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:06}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1000)
}

/// A number of bytes: `1.50 MiB`.
pub fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Programs by the last part of their paths.
pub fn programs(programs: &[Name]) -> String {
    let last = |name: &Name| path(name).rsplit('/').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = programs.iter().map(last).collect();
    names.dedup();
    names.join(",")
}

/// A count and its noun: `1 file`, `2 files`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
