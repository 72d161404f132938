//! The paths that recordings touched, one by one.

use schemars::JsonSchema;
use serde::Serialize;

use super::name::Name;
use super::survey::{Survey, Touched};

/// The facts about a path. Times are nanoseconds since the start, the earliest of all runs. Counts are totals of all
/// runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TouchedFile {
    /// The path.
    pub path: Name,
    /// The number of bytes omitted from the path, if it is cut. Other paths with the same ends and length are counted
    /// with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
    /// How often it was opened, including creations.
    pub opened: u64,
    /// How often it was opened for execution.
    pub executed: u64,
    /// How often it was opened as a directory.
    pub listed: u64,
    /// How often it was created, or was the target of a rename.
    pub created: u64,
    /// How often it was removed or renamed.
    pub removed: u64,
    /// How often it was looked up and did not exist.
    pub missed: u64,
    /// How often an access was refused for lack of permission.
    pub refused: u64,
    /// Opens that were never closed.
    pub never_closed: u64,
    /// Bytes read. Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes written. Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// The time of the first open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The programs that opened, missed, created or removed it, or were refused.
    pub programs: Vec<Name>,
    /// The ranks of the processes that did so, in a parallel job.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<u32>,
    /// The number of runs in which it was touched.
    pub runs: usize,
}

/// The order of the paths. Equal paths are ordered by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By first open, earliest first. Paths that were never opened come last.
    #[default]
    First,
    /// By name, byte by byte.
    Path,
    /// By the number of opens, descending.
    Opened,
    /// By the number of misses, descending.
    Missed,
    /// By the bytes read, descending.
    Read,
    /// By the bytes written, descending.
    Written,
}

/// Returns the paths for which `wanted` returns true, in this order.
pub fn files(survey: &Survey, order: Order, wanted: impl Fn(&Name, &Touched) -> bool) -> Vec<TouchedFile> {
    let mut taken: Vec<(&Name, &Touched)> =
        survey.paths.iter().filter(|(path, touched)| wanted(path, touched)).collect();
    taken
        .sort_by(|one, other| rank(order, one.1).cmp(&rank(order, other.1)).then_with(|| one.0.cmp(other.0)));
    taken.into_iter().map(|(path, touched)| file(survey, path, touched)).collect()
}

/// The sort key. A smaller key comes first.
fn rank(order: Order, touched: &Touched) -> u64 {
    let most = |count: u64| u64::MAX - count;
    match order {
        Order::First => touched.first.unwrap_or(u64::MAX),
        Order::Path => 0,
        Order::Opened => most(touched.opened + touched.listed),
        Order::Missed => most(touched.missed),
        Order::Read => most(touched.read.unwrap_or(0)),
        Order::Written => most(touched.written.unwrap_or(0)),
    }
}

fn file(survey: &Survey, path: &Name, touched: &Touched) -> TouchedFile {
    TouchedFile {
        path: path.clone(),
        cut: touched.cut,
        opened: touched.opened,
        executed: touched.executed,
        listed: touched.listed,
        created: touched.created,
        removed: touched.removed,
        missed: touched.missed,
        refused: touched.refused,
        never_closed: touched.never_closed,
        read: touched.read,
        written: touched.written,
        first: touched.first,
        programs: touched.by.iter().map(|place| survey.program(*place).path.clone()).collect(),
        ranks: touched.ranks.iter().copied().collect(),
        runs: touched.runs,
    }
}
