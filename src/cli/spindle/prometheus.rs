//! Figures in the text format of Prometheus, version 0.0.4 ("Exposition formats" in its documentation).

use std::fmt::Write as _;

use compat_mirror::spindle::figures::{Count, Figures};

/// A metric: its name, its description, and its series with their labels.
struct Metric {
    name: &'static str,
    help: &'static str,
    series: &'static [(Count, Option<(&'static str, &'static str)>)],
}

const fn metric(
    name: &'static str,
    help: &'static str,
    series: &'static [(Count, Option<(&'static str, &'static str)>)],
) -> Metric {
    Metric { name, help, series }
}

/// A value that may decrease: its name, its description, and the value.
type Gauge = (&'static str, &'static str, fn(&Figures) -> f64);

/// The counters.
const COUNTERS: &[Metric] = &[
    metric("opens_total", "Opens for reading that were served from the cache.", &[(Count::Opens, None)]),
    metric("files_total", "Different files that were served from the cache.", &[(Count::Files, None)]),
    metric(
        "bytes_total",
        "Bytes: served from the cache, read from the share into it, and read from originals without it.",
        &[
            (Count::ServedBytes, Some(("source", "cache"))),
            (Count::ReadBytes, Some(("source", "share"))),
            (Count::OriginalBytes, Some(("source", "original"))),
        ],
    ),
    metric(
        "answered_total",
        "Requests that were answered without asking the share.",
        &[
            (Count::LookUps, Some(("kind", "look-up"))),
            (Count::Misses, Some(("kind", "miss"))),
            (Count::Attributes, Some(("kind", "attributes"))),
            (Count::Listings, Some(("kind", "listing"))),
            (Count::LinkTargets, Some(("kind", "link-target"))),
            (Count::ExtendedAttributes, Some(("kind", "extended-attribute"))),
        ],
    ),
    metric(
        "asked_total",
        "Questions that were asked of the share.",
        &[
            (Count::AskedLookUps, Some(("kind", "look-up"))),
            (Count::AskedAttributes, Some(("kind", "attributes"))),
            (Count::AskedRevalidations, Some(("kind", "revalidation"))),
            (Count::AskedOpens, Some(("kind", "open"))),
            (Count::AskedReads, Some(("kind", "read"))),
            (Count::AskedListings, Some(("kind", "listing"))),
            (Count::AskedLinkTargets, Some(("kind", "link-target"))),
            (Count::AskedExtendedAttributes, Some(("kind", "extended-attribute"))),
        ],
    ),
    metric("fills_total", "Files and ranges that were read into the cache.", &[(Count::Fills, None)]),
    metric("fills_ahead_total", "Fills that no open caused.", &[(Count::FillsAhead, None)]),
    metric(
        "fills_joined_total",
        "Requests that waited for the fill of another.",
        &[(Count::FillsJoined, None)],
    ),
    metric(
        "fills_rejected_total",
        "Copies that were not kept, by reason.",
        &[
            (Count::FillsTorn, Some(("reason", "torn"))),
            (Count::FillsYoung, Some(("reason", "young"))),
            (Count::FillsDiscarded, Some(("reason", "written"))),
        ],
    ),
    metric(
        "originals_total",
        "Opens for which the original was read, by reason.",
        &[
            (Count::OriginalFull, Some(("reason", "full"))),
            (Count::OriginalFailed, Some(("reason", "failed"))),
            (Count::OriginalCorrupt, Some(("reason", "corrupt"))),
            (Count::OriginalExcluded, Some(("reason", "excluded"))),
            (Count::OriginalWritten, Some(("reason", "written"))),
            (Count::OriginalUnsteady, Some(("reason", "unsteady"))),
        ],
    ),
    metric("waits_total", "Requests that waited for the share.", &[(Count::Waits, None)]),
    metric(
        "wait_seconds_total",
        "The time that requests waited for the share.",
        &[(Count::WaitNanoseconds, None)],
    ),
    metric("stalls_total", "Revalidations that the share did not answer in time.", &[(Count::Stalls, None)]),
    metric("evictions_total", "Objects that were removed to make room.", &[(Count::Evictions, None)]),
    metric(
        "invalidations_total",
        "Files and directories whose facts were dropped.",
        &[(Count::Invalidations, None)],
    ),
    metric(
        "notifications_total",
        "Notifications to the kernel about dropped facts.",
        &[(Count::Notifications, None)],
    ),
];

/// The values that may decrease.
const GAUGES: &[Gauge] = &[
    ("longest_wait_seconds", "The longest wait for the share.", |figures| seconds(figures.waits.longest)),
    ("cache_bytes", "The size of the cache.", |figures| figures.cache.bytes as f64),
    ("cache_limit_bytes", "The limit of its size.", |figures| figures.cache.limit as f64),
    ("cache_objects", "The number of its objects.", |figures| figures.cache.objects as f64),
];

/// Returns the figures of sessions, each with its identifier.
pub(super) fn render(sessions: &[(String, Figures)]) -> String {
    let mut text = String::new();
    let values: Vec<(&str, Vec<(Count, u64)>)> =
        sessions.iter().map(|(session, figures)| (session.as_str(), figures.values())).collect();
    for Metric { name, help, series } in COUNTERS {
        heading(&mut text, name, help, "counter");
        for (session, values) in &values {
            for (count, label) in *series {
                let value = values.iter().find(|(other, _)| other == count).map_or(0, |(_, value)| *value);
                let label = label.map(|(key, value)| format!(",{key}=\"{value}\"")).unwrap_or_default();
                let _ = write!(text, "compat_spindle_{name}{{session=\"{}\"{label}}} ", escaped(session));
                let _ = match count {
                    Count::WaitNanoseconds => writeln!(text, "{}", seconds(value)),
                    _ => writeln!(text, "{value}"),
                };
            }
        }
    }
    for (name, help, value) in GAUGES {
        heading(&mut text, name, help, "gauge");
        for (session, figures) in sessions {
            let _ = writeln!(
                text,
                "compat_spindle_{name}{{session=\"{}\"}} {}",
                escaped(session),
                value(figures)
            );
        }
    }
    text
}

fn heading(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP compat_spindle_{name} {help}\n# TYPE compat_spindle_{name} {kind}");
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use compat_mirror::spindle::figures::{Counters, Usage};

    use super::*;

    /// Parses the format as its documentation describes it, and returns the kinds of the metrics and the values of the
    /// series.
    fn parse(text: &str) -> (HashMap<String, String>, HashMap<String, f64>) {
        let (mut kinds, mut helped, mut series) = (HashMap::new(), HashSet::new(), HashMap::new());
        let mut current = String::new();
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(helped.contains(name) && matches!(kind, "counter" | "gauge"), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
                current = name.to_owned();
            } else {
                let (id, value) = sample(line);
                assert_eq!(id.split('{').next(), Some(current.as_str()), "{line}");
                assert!(series.insert(id, value).is_none(), "twice: {line}");
            }
        }
        (kinds, series)
    }

    fn sample(line: &str) -> (String, f64) {
        let name_end =
            line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').expect("an end");
        assert!(!line.starts_with(|c: char| c.is_ascii_digit()) && name_end > 0, "{line}");
        let mut rest = line[name_end..].strip_prefix('{').expect("labels");
        loop {
            let (key, value) = rest.split_once("=\"").expect("a label");
            assert!(key.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !key.is_empty(), "{line}");
            let mut is_escaped = false;
            let end = value.find(|c| {
                let ends = c == '"' && !is_escaped;
                assert!(!is_escaped || matches!(c, '\\' | '"' | 'n'), "{line}");
                is_escaped = c == '\\' && !is_escaped;
                ends
            });
            rest = &value[end.expect("a closing quote") + 1..];
            match rest.strip_prefix(',') {
                Some(further) => rest = further,
                None => break,
            }
        }
        let value = rest.strip_prefix("} ").expect("a value");
        (line[..line.len() - value.len() - 1].to_owned(), value.parse().expect("a number"))
    }

    #[test]
    fn every_counter_is_a_series_in_the_format() {
        let counters = Counters::default();
        let all: Vec<Count> = Figures::default().values().into_iter().map(|(count, _)| count).collect();
        for (number, count) in all.iter().enumerate() {
            counters.add(*count, number as u64 + 1);
        }
        let figures = counters.snapshot(Usage { bytes: 900, limit: 1000, objects: 3 });
        let sessions = [("a1".to_owned(), figures), ("b\"\\\n".to_owned(), Figures::default())];
        let (kinds, series) = parse(&render(&sessions));
        assert_eq!(kinds.len(), COUNTERS.len() + GAUGES.len());
        assert_eq!(series.len(), 2 * (Count::NUMBER + GAUGES.len()));
        let own: HashSet<Count> =
            COUNTERS.iter().flat_map(|metric| metric.series).map(|(count, _)| *count).collect();
        assert_eq!(own, all.iter().copied().collect());
        let value = |id: &str| series.get(id).copied();
        let opens = all.iter().position(|count| *count == Count::Opens).expect("opens") + 1;
        assert_eq!(value("compat_spindle_opens_total{session=\"a1\"}"), Some(opens as f64));
        assert_eq!(value("compat_spindle_cache_limit_bytes{session=\"a1\"}"), Some(1000.0));
        assert_eq!(value("compat_spindle_bytes_total{session=\"b\\\"\\\\\\n\",source=\"share\"}"), Some(0.0));
    }

    #[test]
    fn without_sessions_there_are_no_series() {
        let (kinds, series) = parse(&render(&[]));
        assert_eq!((kinds.len(), series.len()), (COUNTERS.len() + GAUGES.len(), 0));
    }
}
