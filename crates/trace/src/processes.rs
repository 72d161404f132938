//! The processes of recordings, one by one, and the ranks of a parallel job.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::activity::Activity;
use super::name::Name;
use super::survey::{Process, Survey};

/// The activity of one process. Times are nanoseconds since the start of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessFacts {
    /// The name of the recording.
    pub file: String,
    /// The process number (PID). The kernel may assign it to several processes of a run in turn.
    pub pid: u32,
    /// The parent at the first event.
    pub ppid: u32,
    /// The rank in a parallel job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// The programs that it executed, in order.
    pub programs: Vec<Name>,
    /// The time of its first event.
    pub first: u64,
    /// The time of its last event.
    pub last: u64,
    /// The counts of its actions.
    #[serde(flatten)]
    pub activity: Activity,
}

/// The activity of the processes of one rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RankFacts {
    /// The number of the rank.
    pub rank: u32,
    /// The number of processes.
    pub processes: u64,
    /// The counts of their actions.
    #[serde(flatten)]
    pub activity: Activity,
}

/// The order of the processes. Equal processes are ordered by their first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessOrder {
    /// By the first event.
    #[default]
    First,
    /// By the number of events, descending.
    Events,
    /// By the number of opens, descending.
    Opened,
    /// By the number of misses, descending.
    Missed,
    /// By the bytes read, descending.
    Read,
    /// By the bytes written, descending.
    Written,
}

/// Returns all processes in this order.
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

/// Returns the ranks in ascending order. Empty if no recording belongs to a parallel job.
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
