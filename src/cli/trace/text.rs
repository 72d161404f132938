//! Formats times, sizes and paths for people.

use indicatif::HumanBytes;

pub(super) use crate::app::wording::count;
use crate::cli::report::printable;
use compat_trace::{Activity, Name};

/// A path on one line, safe for a terminal.
pub(super) fn path(name: &Name) -> String {
    printable(&name.text())
}

/// A time since the start, in seconds: `0.002112`.
pub(super) fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:06}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1000)
}

/// A number of bytes: `1.50 MiB`.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// The actions of a program or a rank, on one line.
pub(super) fn activity(processes: u64, did: &Activity) -> String {
    let bytes = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), size);
    format!(
        "{}, {} opened, {} created, {} missed, bytes read {}, written {}",
        count(processes, "process"),
        did.opened,
        did.created,
        did.missed,
        bytes(did.read),
        bytes(did.written)
    )
}

/// Programs by their file names, separated by commas.
pub(super) fn programs(programs: &[Name]) -> String {
    let last = |name: &Name| path(name).rsplit('/').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = programs.iter().map(last).collect();
    names.dedup();
    names.join(",")
}

/// Ranks as ranges: `rank 3`, `ranks 0-2,7`.
pub(super) fn ranks(ranks: &[u32]) -> String {
    let mut text = String::from(if ranks.len() == 1 { "rank " } else { "ranks " });
    text.push_str(&ranges(ranks));
    text
}

/// Ascending numbers as ranges: `0-2,7`.
pub(super) fn ranges(numbers: &[u32]) -> String {
    let spans = numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let span = |span: &[u32]| match span {
        [first, .., last] => format!("{first}-{last}"),
        _ => span.iter().map(u32::to_string).collect(),
    };
    spans.map(span).collect::<Vec<_>>().join(",")
}
