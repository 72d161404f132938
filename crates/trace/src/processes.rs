//! The processes of recordings, one by one, and the ranks of a parallel job.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::activity::Activity;
use super::name::Name;
use super::survey::{Process, Survey};

/// What one process did. Times are nanoseconds since the start of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessFacts {
    /// The recording, as its file is called.
    pub file: String,
    /// Its number (PID), which the kernel may give to several processes of a run, one after the other.
    pub pid: u32,
    /// Its parent, when it was seen first.
    pub ppid: u32,
    /// Its rank in a parallel job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// The programs that it executed, in order.
    pub programs: Vec<Name>,
    /// When it did something for the first time.
    pub first: u64,
    /// When it did something for the last time.
    pub last: u64,
    /// What it did.
    #[serde(flatten)]
    pub activity: Activity,
}

/// What the processes of one rank did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RankFacts {
    /// The rank's number.
    pub rank: u32,
    /// How many processes it had.
    pub processes: u64,
    /// What they did.
    #[serde(flatten)]
    pub activity: Activity,
}

/// The order of the processes; equal ones are in that of their first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessOrder {
    /// By their first event.
    #[default]
    First,
    /// The most events first.
    Events,
    /// The most opens first.
    Opened,
    /// The most misses first.
    Missed,
    /// The most bytes read first.
    Read,
    /// The most bytes written first.
    Written,
}

/// All processes, in this order.
pub fn processes(survey: &Survey, order: ProcessOrder) -> Vec<ProcessFacts> {
    let mut processes: Vec<&Process> = survey.processes.iter().collect();
    processes.sort_by_key(|process| u64::MAX - most(order, &process.activity));
    processes.into_iter().map(|process| facts(survey, process)).collect()
}

fn most(order: ProcessOrder, activity: &Activity) -> u64 {
    match order {
        ProcessOrder::First => 0,
        ProcessOrder::Events => activity.events,
        ProcessOrder::Opened => activity.opened,
        ProcessOrder::Missed => activity.missed,
        ProcessOrder::Read => activity.read.unwrap_or(0),
        ProcessOrder::Written => activity.written.unwrap_or(0),
    }
}

fn facts(survey: &Survey, process: &Process) -> ProcessFacts {
    ProcessFacts {
        file: survey.runs.get(process.run).map(|run| run.file.clone()).unwrap_or_default(),
        pid: process.pid,
        ppid: process.ppid,
        rank: process.rank,
        programs: process.programs.iter().map(|place| survey.program(*place).path.clone()).collect(),
        first: process.first,
        last: process.last,
        activity: process.activity,
    }
}

/// The ranks in the order of their numbers; none if no recording is of a parallel job.
pub(crate) fn ranks(survey: &Survey) -> Vec<RankFacts> {
    let mut ranks: BTreeMap<u32, RankFacts> = BTreeMap::new();
    for process in &survey.processes {
        let Some(rank) = process.rank else { continue };
        let empty = RankFacts { rank, processes: 0, activity: Activity::default() };
        let facts = ranks.entry(rank).or_insert(empty);
        facts.processes += 1;
        facts.activity.add(&process.activity);
    }
    ranks.into_values().collect()
}
