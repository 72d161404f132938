//! Compares two sets of runs of the same application. Processes, times and the order of events do not matter.
//! Successful lookups do not matter either, because the kernel caches some of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::document::EventKind;
use super::libraries::libraries;
use super::name::Name;
use super::read::Ending;
use super::survey::{Run, Survey, Touched};

/// The outcome of the accesses to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was opened, but not for execution.
    Opened,
    /// It was opened for execution.
    Executed,
    /// It was opened as a directory.
    Listed,
    /// It was created, or was the target of a rename.
    Created,
    /// It was removed or renamed.
    Removed,
    /// It was looked up and did not exist.
    Missed,
    /// An access was refused for lack of permission.
    Refused,
}

/// The difference between two recordings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Whether the recordings are the same. Differences in `totals` alone do not count.
    pub same: bool,
    /// The ends of the command, if they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<[String; 2]>,
    /// Paths that only the first recording touched.
    pub only_first: Vec<PathOutcome>,
    /// Paths that only the second recording touched.
    pub only_second: Vec<PathOutcome>,
    /// Paths that both recordings touched with different outcomes: missed in one, found in the other.
    pub changed: Vec<Change>,
    /// Libraries and programs that were found at different paths.
    pub elsewhere: Vec<Elsewhere>,
    /// Paths that were opened, created or missed more often in one recording. Empty unless counts are compared.
    pub counts: Vec<CountChange>,
    /// The number of events of each kind in both recordings.
    pub totals: BTreeMap<String, [u64; 2]>,
}

/// A path and its outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PathOutcome {
    /// The path.
    pub path: Name,
    /// All outcomes of the path.
    pub outcomes: Vec<Outcome>,
}

/// A path with different outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// The path.
    pub path: Name,
    /// The outcomes in the first recording.
    pub first: Vec<Outcome>,
    /// The outcomes in the second recording.
    pub second: Vec<Outcome>,
}

/// A library that was found at a different path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Elsewhere {
    /// The name that was searched for.
    pub name: Name,
    /// The paths at which it was found in the first recording.
    pub first: Vec<Name>,
    /// The paths at which it was found in the second recording.
    pub second: Vec<Name>,
}

/// A path with different counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CountChange {
    /// The path.
    pub path: Name,
    /// The counts in the first recording.
    pub first: Counts,
    /// The counts in the second recording.
    pub second: Counts,
}

/// The counts of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// How often it was opened, including creations.
    pub opened: u64,
    /// How often it was created, or was the target of a rename.
    pub created: u64,
    /// How often it was looked up and did not exist.
    pub missed: u64,
}

/// Compares two recordings in the paths for which `wanted` returns true. `counts` also compares how often.
pub fn difference(
    first: &Survey,
    second: &Survey,
    counts: bool,
    wanted: impl Fn(&Name) -> bool,
) -> Difference {
    let mut found = Difference {
        same: false,
        ends: ends(first, second),
        only_first: only(first, second, &wanted),
        only_second: only(second, first, &wanted),
        changed: Vec::new(),
        elsewhere: elsewhere(first, second, &wanted),
        counts: Vec::new(),
        totals: totals(first, second),
    };
    for (path, [one, other]) in common(first, second, &wanted) {
        let (before, after) = (outcomes(one), outcomes(other));
        let (often, often_after) = (Counts::of(one), Counts::of(other));
        if before != after {
            found.changed.push(Change { path: path.clone(), first: before, second: after });
        } else if counts && often != often_after {
            found.counts.push(CountChange { path: path.clone(), first: often, second: often_after });
        }
    }
    found.changed.sort_by(|one, other| one.path.cmp(&other.path));
    found.counts.sort_by(|one, other| one.path.cmp(&other.path));
    found.same = found.ends.is_none()
        && found.only_first.is_empty()
        && found.only_second.is_empty()
        && found.changed.is_empty()
        && found.elsewhere.is_empty()
        && found.counts.is_empty();
    found
}

impl Counts {
    fn of(touched: &Touched) -> Self {
        Self { opened: touched.opened, created: touched.created, missed: touched.missed }
    }
}

fn outcomes(touched: &Touched) -> Vec<Outcome> {
    let all = [
        (touched.opened, Outcome::Opened),
        (touched.executed, Outcome::Executed),
        (touched.listed, Outcome::Listed),
        (touched.created, Outcome::Created),
        (touched.removed, Outcome::Removed),
        (touched.missed, Outcome::Missed),
        (touched.refused, Outcome::Refused),
    ];
    all.into_iter().filter(|(count, _)| *count > 0).map(|(_, outcome)| outcome).collect()
}

/// The paths with an outcome in the first recording, but none in the second.
fn only(first: &Survey, second: &Survey, wanted: &impl Fn(&Name) -> bool) -> Vec<PathOutcome> {
    let untouched = |path: &Name| second.paths.get(path).is_none_or(|touched| outcomes(touched).is_empty());
    let mut only: Vec<PathOutcome> = first
        .paths
        .iter()
        .map(|(path, touched)| PathOutcome { path: path.clone(), outcomes: outcomes(touched) })
        .filter(|row| !row.outcomes.is_empty() && wanted(&row.path) && untouched(&row.path))
        .collect();
    only.sort_by(|one, other| one.path.cmp(&other.path));
    only
}

/// The paths with an outcome in both recordings.
fn common<'a>(
    first: &'a Survey,
    second: &'a Survey,
    wanted: &impl Fn(&Name) -> bool,
) -> impl Iterator<Item = (&'a Name, [&'a Touched; 2])> {
    let pair = |(path, touched): (&'a Name, &'a Touched)| Some((path, [touched, second.paths.get(path)?]));
    let both = |[one, other]: [&Touched; 2]| !outcomes(one).is_empty() && !outcomes(other).is_empty();
    first.paths.iter().filter_map(pair).filter(move |(path, pair)| wanted(path) && both(*pair))
}

fn elsewhere(first: &Survey, second: &Survey, wanted: &impl Fn(&Name) -> bool) -> Vec<Elsewhere> {
    let places = |survey: &Survey| -> BTreeMap<Name, Vec<Name>> {
        let rows = libraries(survey).into_iter();
        let sorted = |mut places: Vec<Name>| {
            places.sort();
            places
        };
        let taken =
            |row: Vec<super::libraries::LoadedFile>| row.into_iter().map(|place| place.path).filter(wanted);
        let rows = rows.map(|row| (row.name, sorted(taken(row.places).collect())));
        rows.filter(|(_, places)| !places.is_empty()).collect()
    };
    let mut others = places(second);
    let row = |(name, first): (Name, Vec<Name>)| {
        let second = others.remove(&name)?;
        (first != second).then_some(Elsewhere { name, first, second })
    };
    places(first).into_iter().filter_map(row).collect()
}

fn ends(first: &Survey, second: &Survey) -> Option<[String; 2]> {
    let of = |survey: &Survey| survey.runs.iter().map(end).collect::<Vec<_>>().join(", ");
    let ends = [of(first), of(second)];
    (ends[0] != ends[1]).then_some(ends)
}

fn end(run: &Run) -> String {
    match &run.ending {
        Ending::Cut => "cut off".to_owned(),
        Ending::Whole(end) => match end.code {
            Some(code) => format!("{} with {code}", end.end),
            None => end.end.clone(),
        },
    }
}

fn totals(first: &Survey, second: &Survey) -> BTreeMap<String, [u64; 2]> {
    let count = |survey: &Survey, kind: EventKind| survey.counts.get(&kind).copied().unwrap_or(0);
    let row = |kind: EventKind| (kind.word().to_owned(), [count(first, kind), count(second, kind)]);
    EventKind::ALL.into_iter().map(row).filter(|(_, counts)| *counts != [0, 0]).collect()
}

#[cfg(test)]
mod tests;
