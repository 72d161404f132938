//! The figures of a run as text.

use std::fmt::Write as _;
use std::time::Duration;

use compat_mirror::spindle::figures::{Answered, Asked, Figures, Originals};

use super::text::{count, number, size};
use crate::cli::report::printable;

/// The figures in one line, for the end of a run.
pub(super) fn line(figures: &Figures) -> String {
    let mut text = format!(
        "{} served from {}; share read {} once, saved {} and {}",
        count(figures.opens, "open"),
        count(figures.files, "file"),
        size(figures.bytes.read),
        size(figures.bytes_saved()),
        count(figures.look_ups_saved(), "look-up")
    );
    let unplanned = Originals { excluded: 0, written: 0, ..figures.originals };
    if unplanned.total() > 0 {
        let opens = count(unplanned.total(), "open");
        let _ = write!(text, "; {opens} read from the share instead ({})", reasons(&unplanned));
    }
    if figures.waits.stalls > 0 {
        let _ =
            write!(text, "; the share did not answer {} in time", count(figures.waits.stalls, "question"));
    }
    text
}

/// The figures in several lines, for `session stats`.
pub(super) fn render(title: &str, figures: &Figures) -> String {
    let mut text = format!("{}: {}\n", printable(title), line(figures));
    let _ = writeln!(text, "  answered by the cache: {}", answered(&figures.answered));
    let _ = writeln!(text, "  asked of the share: {}", asked(&figures.asked));
    let fills = &figures.fills;
    let _ = writeln!(
        text,
        "  fills: {}, {} of them ahead, {} joined, {} repeated, {} too young to keep, {} discarded",
        number(fills.completed),
        number(fills.ahead),
        number(fills.joined),
        number(fills.torn),
        number(fills.young),
        number(fills.discarded)
    );
    if figures.originals.total() > 0 {
        let _ = writeln!(text, "  originals: {}", reasons(&figures.originals));
    }
    let waits = &figures.waits;
    let _ = writeln!(
        text,
        "  waits: {} for {}, the longest {}",
        count(waits.requests, "request"),
        duration(figures.waited()),
        duration(Duration::from_nanos(waits.longest))
    );
    let cache = &figures.cache;
    let _ = writeln!(
        text,
        "  cache: {} of {} in {}, {} evicted",
        size(cache.bytes),
        size(cache.limit),
        count(cache.objects, "object"),
        number(figures.evictions)
    );
    for path in &figures.top_by_bytes {
        let shown = printable(&path.path.text());
        let _ = writeln!(text, "  {:>8} {:>10}  {shown}", size(path.bytes), count(path.opens, "open"));
    }
    text
}

fn answered(answered: &Answered) -> String {
    kinds(&[
        (answered.look_ups, "look-up"),
        (answered.misses, "miss"),
        (answered.attributes, "question for attributes"),
        (answered.listings, "listing"),
        (answered.link_targets, "link target"),
        (answered.extended_attributes, "extended attribute"),
    ])
}

fn asked(asked: &Asked) -> String {
    kinds(&[
        (asked.look_ups, "look-up"),
        (asked.attributes, "question for attributes"),
        (asked.revalidations, "revalidation"),
        (asked.listings, "listing"),
        (asked.link_targets, "link target"),
        (asked.extended_attributes, "extended attribute"),
        (asked.opens, "open"),
        (asked.reads, "read"),
    ])
}

/// The kinds that occurred.
fn kinds(kinds: &[(u64, &str)]) -> String {
    let shown = kinds.iter().filter(|(number, _)| *number > 0).map(|(number, kind)| match *kind {
        "question for attributes" if *number != 1 => {
            format!("{} questions for attributes", self::number(*number))
        }
        kind => count(*number, kind),
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

/// The reasons for which originals were read, without those that did not occur.
fn reasons(originals: &Originals) -> String {
    let all = [
        (originals.full, "the cache is full"),
        (originals.failed, "the cache failed"),
        (originals.corrupt, "the cached file was damaged"),
        (originals.unsteady, "the file kept changing"),
        (originals.written, "the file was open for writing"),
        (originals.excluded, "excluded"),
    ];
    let shown =
        all.iter().filter(|(number, _)| *number > 0).map(|(opens, why)| format!("{why}: {}", number(*opens)));
    shown.collect::<Vec<_>>().join(", ")
}

/// A time with three digits: `3.21 s`, `45.0 ms`.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 1.0 { format!("{seconds:.2} s") } else { format!("{:.1} ms", seconds * 1000.0) }
}

#[cfg(test)]
mod tests {
    use compat_mirror::spindle::figures::{Count, Counters, Usage};

    use super::*;

    fn figures() -> Figures {
        let counters = Counters::default();
        for number in 0..2148_u64 {
            counters.opened(format!("/opt/lib{}.so", number % 203).as_bytes(), 410_615, number < 203);
        }
        counters.add(Count::ReadBytes, 98_000_000);
        counters.add(Count::LookUps, 912);
        counters.add(Count::Misses, 41_000);
        counters.add(Count::AskedListings, 20);
        counters.waited(Duration::from_millis(1500));
        counters.snapshot(Usage { bytes: 98_000_000, limit: 2_000_000_000, objects: 203 })
    }

    #[test]
    fn the_end_of_a_run_is_one_line() {
        let mut figures = figures();
        let expected =
            "2,148 opens served from 203 files; share read 98 MB once, saved 784 MB and 41,912 look-ups";
        assert_eq!(line(&figures), expected);
        figures.originals = Originals { full: 3, corrupt: 1, excluded: 7, ..Originals::default() };
        figures.waits.stalls = 1;
        insta::assert_snapshot!(line(&figures), @"2,148 opens served from 203 files; share read 98 MB once, saved 784 MB and 41,912 look-ups; 4 opens read from the share instead (the cache is full: 3, the cached file was damaged: 1); the share did not answer 1 question in time");
    }

    #[test]
    fn statistics_have_all_figures() {
        let mut figures = figures();
        figures.top_by_bytes.truncate(2);
        figures.originals.written = 4;
        insta::assert_snapshot!(render("ab\u{1b}12", &figures), @r"
        ab\u{1b}12: 2,148 opens served from 203 files; share read 98 MB once, saved 784 MB and 41,912 look-ups
          answered by the cache: 912 look-ups, 41,000 misses
          asked of the share: 20 listings
          fills: 0, 0 of them ahead, 0 joined, 0 repeated, 0 too young to keep, 0 discarded
          originals: the file was open for writing: 4
          waits: 1 request for 1.50 s, the longest 1.50 s
          cache: 98 MB of 2.0 GB in 203 objects, 0 evicted
            4.5 MB   11 opens  /opt/lib0.so
            4.5 MB   11 opens  /opt/lib1.so
        ");
    }
}
