//! The paths that recordings touched, one by one.

use schemars::JsonSchema;
use serde::Serialize;

use super::name::Name;
use super::survey::{Survey, Touched};

/// What is told of a path. Times are nanoseconds since the start, the earliest of all runs; counts are of all runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TouchedFile {
    /// The path.
    pub path: Name,
    /// How many bytes of the path are left out, where it is not whole; other paths of the same ends and length are
    /// counted with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
    /// How often it was opened, creations included.
    pub opened: u64,
    /// How often it was opened to be executed.
    pub executed: u64,
    /// How often it was opened as a directory.
    pub listed: u64,
    /// How often it was made, or something renamed to it.
    pub created: u64,
    /// How often it was removed, or renamed to something else.
    pub removed: u64,
    /// How often it was looked for and not there.
    pub missed: u64,
    /// How often something was refused for want of rights.
    pub refused: u64,
    /// Opens that were never closed.
    pub never_closed: u64,
    /// Bytes read; absent if none are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes written; absent if none are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
    /// When it was first opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The programs that opened or missed it, made or removed it, or were refused.
    pub programs: Vec<Name>,
    /// The ranks of a parallel job whose processes did so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<u32>,
    /// In how many runs it was touched.
    pub runs: usize,
}

/// The order of the paths; equal ones are in that of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The first opened first; what was never opened last.
    #[default]
    First,
    /// By the bytes of their names.
    Path,
    /// The most opens first.
    Opened,
    /// The most misses first.
    Missed,
    /// The most bytes read first.
    Read,
    /// The most bytes written first.
    Written,
}

/// The paths that `wanted` takes, in this order.
pub fn files(survey: &Survey, order: Order, wanted: impl Fn(&Name, &Touched) -> bool) -> Vec<TouchedFile> {
    let mut taken: Vec<(&Name, &Touched)> =
        survey.paths.iter().filter(|(path, touched)| wanted(path, touched)).collect();
    taken
        .sort_by(|one, other| rank(order, one.1).cmp(&rank(order, other.1)).then_with(|| one.0.cmp(other.0)));
    taken.into_iter().map(|(path, touched)| file(survey, path, touched)).collect()
}

/// The sort key: a smaller one comes first.
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
