//! The report of `compat spindle --dry-run`.

use std::fmt::Write as _;

use compat_trace::{Savings, ShareSavings};

use super::text::{count, number, size};
use crate::cli::report::printable;

/// The report as text.
pub(super) fn render(savings: &Savings) -> String {
    let mut text = String::new();
    for share in &savings.shares {
        render_share(share, &mut text);
    }
    if savings.shares.is_empty() {
        text.push_str("nothing would be cached: no network file system is mounted here\n");
    }
    if savings.outside > 0 {
        let _ = writeln!(text, "not cached: {}", count(savings.outside, "request"));
    }
    text
}

fn render_share(share: &ShareSavings, text: &mut String) {
    let requests = share.look_ups + share.misses + share.link_targets + share.listings + share.opens;
    let _ = writeln!(
        text,
        "{}: {} of {} would be saved",
        printable(&share.share.text()),
        number(share.requests_saved),
        count(requests, "request")
    );
    let _ = writeln!(
        text,
        "  {}, {} of them misses: the share would answer {} and list {}",
        count(share.look_ups + share.misses, "look-up"),
        number(share.misses),
        number(share.look_ups_asked),
        count(share.listings_asked, "directory")
    );
    let _ = writeln!(
        text,
        "  {} of {}: {} read once instead of {}",
        count(share.opens, "open"),
        count(share.files, "file"),
        size(share.bytes_once),
        size(share.bytes)
    );
    if share.opens_of_changed > 0 {
        let opens = count(share.opens_of_changed, "open");
        let _ = writeln!(text, "  {opens} of files that the run changed would use the original");
    }
    sources(share, text);
    if !share.top.is_empty() {
        text.push_str("  most saved:\n");
    }
    for file in &share.top {
        let path = printable(&file.path.text());
        let (once, bytes) = (size(file.bytes_once), size(file.bytes));
        let _ = writeln!(text, "    {once:>7} instead of {bytes:>7}  {path}");
    }
}

/// The sizes that are not certain.
fn sources(share: &ShareSavings, text: &mut String) {
    if share.sizes.recording > 0 {
        let files = count(share.sizes.recording, "file");
        let _ = writeln!(text, "  {files} no longer found: the bytes of an open count as the size");
    }
    if share.sizes.unknown > 0 {
        let files = count(share.sizes.unknown, "file");
        let _ = writeln!(text, "  {files} no longer found: not in the numbers of bytes");
    }
}

#[cfg(test)]
mod tests {
    use compat_trace::{FileSavings, Name, SizeSources};

    use super::*;

    #[test]
    fn each_share_has_its_requests_and_bytes() {
        let share = ShareSavings {
            share: Name::from(&b"/opt\x1b[31m"[..]),
            look_ups: 5200,
            misses: 41_000,
            opens: 2148,
            files: 203,
            opens_of_changed: 1,
            look_ups_asked: 320,
            listings_asked: 21,
            look_ups_saved: 45_880,
            requests_saved: 47_000,
            bytes: 882_000_000,
            bytes_once: 98_000_000,
            bytes_saved: 784_000_000,
            sizes: SizeSources { file_system: 200, recording: 2, unknown: 1 },
            top: vec![FileSavings {
                path: Name::from(&b"/opt/libx.so"[..]),
                opens: 9,
                bytes: 9_000_000,
                bytes_once: 1_000_000,
            }],
            ..ShareSavings::default()
        };
        let savings = Savings { recordings: vec!["run.jsonl".to_owned()], shares: vec![share], outside: 12 };
        insta::assert_snapshot!(render(&savings), @r"
        /opt\u{1b}[31m: 47,000 of 48,348 requests would be saved
          46,200 look-ups, 41,000 of them misses: the share would answer 320 and list 21 directories
          2,148 opens of 203 files: 98 MB read once instead of 882 MB
          1 open of files that the run changed would use the original
          2 files no longer found: the bytes of an open count as the size
          1 file no longer found: not in the numbers of bytes
          most saved:
             1.0 MB instead of  9.0 MB  /opt/libx.so
        not cached: 12 requests
        ");
    }

    #[test]
    fn without_a_share_nothing_is_cached() {
        let savings = Savings { recordings: Vec::new(), shares: Vec::new(), outside: 7 };
        insta::assert_snapshot!(render(&savings), @"
        nothing would be cached: no network file system is mounted here
        not cached: 7 requests
        ");
    }
}
