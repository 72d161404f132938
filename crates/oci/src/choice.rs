//! The choice among several compatibility artifacts of one manifest. All readers use it: `check`, `select`,
//! `pull`, the cache and `discover`.
//!
//! The order is total and the same on every machine. It does not depend on a clock:
//!
//! 1. A later `org.opencontainers.image.created` (RFC 3339) comes first.
//! 2. Any date comes before no date. An invalid date counts as no date.
//! 3. If dates are equal, the digest that sorts last comes first.
//!
//! An old artifact with a date in the future must not win for ever. Therefore an attach dates its artifact
//! after all that it sees (`date_after`).

use std::cmp::Ordering;

use jiff::{Timestamp, ToSpan as _};

use crate::format::manifest::{CREATED, Descriptor};
use crate::format::media_type;
use crate::format::text::shown;

/// The maximum number of manifests that are read for their dates if the list has none.
pub(crate) const ASKED: usize = 32;

/// Why an artifact was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the only one.
    Only,
    /// It has the latest date.
    Newest,
    /// No other has a later date, and its digest sorts last.
    Digest,
}

/// The chosen artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The artifact.
    pub taken: Descriptor,
    /// Why it was chosen.
    pub reason: Reason,
    /// The number of artifacts to choose from.
    pub candidates: usize,
}

/// Returns the creation date of an artifact from its annotation, or `None` if the annotation is missing or
/// invalid.
pub fn created(entry: &Descriptor) -> Option<Timestamp> {
    entry.annotations.get(CREATED)?.trim().parse().ok()
}

/// The order: the chosen artifact is the greatest.
fn order(one: &Descriptor, other: &Descriptor) -> Ordering {
    created(one).cmp(&created(other)).then_with(|| one.digest.cmp(&other.digest))
}

/// Returns the chosen artifact, or `None` if there are no candidates.
pub fn choose(candidates: &[Descriptor]) -> Option<Choice> {
    let taken = candidates.iter().max_by(|one, other| order(one, other))?.clone();
    let date = created(&taken);
    let is_tied = candidates.iter().any(|other| other.digest != taken.digest && created(other) == date);
    let reason = match (candidates.len(), is_tied) {
        (1, _) => Reason::Only,
        (_, true) => Reason::Digest,
        (_, false) => Reason::Newest,
    };
    Some(Choice { taken, reason, candidates: candidates.len() })
}

/// Returns whether a list has no annotations, so that the manifests must be read for their dates. Some
/// registries omit annotations.
pub(crate) fn lacks_dates(candidates: &[Descriptor]) -> bool {
    candidates.len() > 1 && candidates.iter().all(|entry| entry.annotations.is_empty())
}

/// Returns the compatibility artifacts among referrers.
pub fn compatibility(referrers: &[Descriptor]) -> Vec<Descriptor> {
    let is_ours = |entry: &&Descriptor| entry.artifact_type.as_deref() == Some(media_type::ARTIFACT_TYPE);
    referrers.iter().filter(is_ours).cloned().collect()
}

/// Returns the date of an artifact that takes effect at `now`: one second after the latest date of the
/// others, if that is not in the past.
pub(crate) fn date_after(others: &[Descriptor], now: Timestamp) -> Timestamp {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    match others.iter().filter_map(created).max() {
        Some(latest) if latest >= now => {
            let whole = Timestamp::from_second(latest.as_second()).unwrap_or(latest);
            whole.checked_add(1.second()).unwrap_or(latest)
        }
        _ => now,
    }
}

/// Returns warnings about the dates of several candidates: those in the future, and invalid ones.
pub fn doubts(candidates: &[Descriptor], now: Timestamp) -> Vec<String> {
    if candidates.len() < 2 {
        return Vec::new();
    }
    let tomorrow = now.checked_add(24.hours()).unwrap_or(now);
    let doubt = |entry: &Descriptor| {
        let text = entry.annotations.get(CREATED)?;
        let name = entry.digest.short();
        match created(entry) {
            None => {
                Some(format!("the date of {name} is invalid ({}): it counts as the oldest", shown(text, 40)))
            }
            Some(date) if date > tomorrow => Some(format!("{name} is dated in the future ({date})")),
            Some(_) => None,
        }
    };
    candidates.iter().filter_map(doubt).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(content: &str, created: Option<&str>) -> Descriptor {
        let mut entry = Descriptor::of("x", content.as_bytes());
        entry.annotations.extend(created.map(|time| (CREATED.to_owned(), time.to_owned())));
        entry
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_newest_artifact_is_taken_and_ties_are_broken_the_same_way_everywhere() {
        let old = entry("a", Some("2024-01-01T00:00:00Z"));
        let new = entry("b", Some("2024-06-01T01:00:00+02:00"));
        let newer = entry("c", Some("2024-05-31T23:30:00Z"));
        let none = entry("d", None);
        let unreadable = entry("e", Some("yesterday"));
        let mut all = vec![newer.clone(), none, old, new, unreadable];
        for _ in 0..all.len() {
            all.rotate_left(1);
            let choice = choose(&all).unwrap();
            assert_eq!((choice.taken, choice.reason, choice.candidates), (newer.clone(), Reason::Newest, 5));
        }
        let (a, b) = (entry("a", None), entry("b", None));
        let tied = choose(&[a.clone(), b.clone()]).unwrap();
        assert_eq!(tied.reason, Reason::Digest);
        assert_eq!(choose(&[b, a.clone()]).unwrap(), tied);
        assert_eq!(choose(&[a]).unwrap().reason, Reason::Only);
        assert_eq!(choose(&[]), None);
        for wrong in ["2024", "é024-01-01T00:00:00Z", "", "20240101", "2024-13-01T00:00:00Z"] {
            assert_eq!(created(&entry("x", Some(wrong))), None, "{wrong}");
        }
    }

    #[test]
    fn a_new_date_is_after_all_others() {
        let now = time("2024-06-01T12:00:00.7Z");
        let after = |dates: &[&str]| {
            let others: Vec<Descriptor> = dates.iter().map(|date| entry(date, Some(date))).collect();
            date_after(&others, now).to_string()
        };
        assert_eq!(after(&[]), "2024-06-01T12:00:00Z");
        assert_eq!(after(&["2024-05-01T00:00:00Z", "x"]), "2024-06-01T12:00:00Z");
        assert_eq!(after(&["2024-06-01T12:00:00Z"]), "2024-06-01T12:00:01Z");
        assert_eq!(after(&["2024-06-01T12:00:00.9Z"]), "2024-06-01T12:00:01Z");
        assert_eq!(after(&["2099-01-01T00:00:00.5+01:00"]), "2098-12-31T23:00:01Z");
        // No later date exists: the dates are equal, and the attach reports it.
        assert_eq!(after(&["9999-12-30T22:00:00.999999999Z"]), "9999-12-30T22:00:00.999999999Z");
    }

    #[test]
    fn dates_that_mislead_are_told() {
        let now = time("2024-06-01T12:00:00Z");
        let dated =
            [entry("a", Some("2099-01-01T00:00:00Z")), entry("b", Some("a\u{1b}[2K")), entry("c", None)];
        assert!(doubts(&dated[..1], now).is_empty());
        insta::assert_snapshot!(doubts(&dated, now).join("\n"), @r"
        sha256:ca978112ca1b is dated in the future (2099-01-01T00:00:00Z)
        the date of sha256:3e23e8160039 is invalid (a\u{1b}[2K): it counts as the oldest
        ");
    }
}
