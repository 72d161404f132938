//! The summary of recordings.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use super::activity::Activity;
use super::asking::directory;
use super::name::Name;
use super::processes::{RankFacts, ranks};
use super::read::Ending;
use super::survey::{Run, Survey, Touched};

/// A summary of one or several recordings. Times are nanoseconds since the start of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The recordings, in the given order.
    pub runs: Vec<RunFacts>,
    /// The number of events of each kind.
    pub events: BTreeMap<String, u64>,
    /// The number of distinct paths.
    pub paths: PathCounts,
    /// The directories with the most misses, in descending order.
    #[serde(rename = "missesByFolder")]
    pub misses_by_directory: Vec<DirectoryMisses>,
    /// The directories with the most opens, in descending order.
    #[serde(rename = "folders")]
    pub directories: Vec<DirectoryOpens>,
    /// The programs, by the number of their events in descending order.
    pub programs: Vec<ProgramFacts>,
    /// The ranks of a parallel job in ascending order. Absent if no recording belongs to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<RankFacts>,
    /// The times at which the first, half and all of the opened files had been opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub touched: Option<TouchTimes>,
    /// The files that were opened first.
    pub earliest: Vec<FirstTouch>,
    /// The files whose first open came last.
    pub latest: Vec<FirstTouch>,
    /// The files with opens that were never closed.
    pub never_closed: Vec<Name>,
}

/// The origin and the end of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunFacts {
    /// The name of the recording.
    pub file: String,
    /// The program and its arguments.
    pub command: Vec<Name>,
    /// The working directory of the command.
    #[serde(rename = "folder")]
    pub directory: Name,
    /// The name of the host.
    pub host: String,
    /// The kernel release.
    pub kernel: String,
    /// The image, if the environment of the container names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The start of the command, in nanoseconds since 1970.
    pub started: u64,
    /// The time until the last line, in nanoseconds.
    pub duration: u64,
    /// The kind of the end (`exited`, or the party that was killed). Absent if the recording is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// The command's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The number of events in the recording.
    pub events: u64,
    /// The number of events of unknown kinds, which are not counted.
    pub unknown: u64,
    /// The number of events with a name that is cut. Absent if no name is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
}

/// The numbers of distinct paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathCounts {
    /// Opened as files.
    pub opened: u64,
    /// Opened for execution.
    pub executed: u64,
    /// Opened as directories.
    pub listed: u64,
    /// Created, or the target of a rename.
    pub created: u64,
    /// Removed or renamed.
    pub removed: u64,
    /// Written to. If the number of bytes is unknown: opened for writing.
    pub written: u64,
    /// Looked up but did not exist.
    pub missed: u64,
    /// With opens that were never closed.
    pub never_closed: u64,
}

/// The misses in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "FolderMisses")]
pub struct DirectoryMisses {
    /// The directory.
    #[serde(rename = "folder")]
    pub directory: Name,
    /// The number of failed lookups.
    pub misses: u64,
    /// The number of distinct names that were looked up.
    pub names: u64,
}

/// The opens in a directory, not including its subdirectories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "FolderOpens")]
pub struct DirectoryOpens {
    /// The directory.
    #[serde(rename = "folder")]
    pub directory: Name,
    /// The number of distinct files.
    pub files: u64,
    /// The number of opens of these files.
    pub opened: u64,
}

/// The activity of the processes of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProgramFacts {
    /// The path of the program.
    pub program: Name,
    /// The number of processes that executed it.
    pub processes: u64,
    /// The counts of their actions.
    #[serde(flatten)]
    pub activity: Activity,
    /// The number of runs in which it was seen.
    pub runs: usize,
}

/// The times at which files were first opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TouchTimes {
    /// The time at which the first file was opened, in nanoseconds since the start.
    pub first: u64,
    /// The time at which half of the files had been opened.
    pub half: u64,
    /// The time at which all files had been opened.
    pub last: u64,
}

/// The first open of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FirstTouch {
    /// The path of the file.
    pub path: Name,
    /// The time of the first open, in nanoseconds since the start.
    pub first: u64,
}

/// Returns the summary, with at most `most` rows in each list.
pub fn summary(survey: &Survey, most: usize) -> Summary {
    let mut first: Vec<(u64, &Name)> = opened(survey).filter_map(|(p, t)| Some((t.first?, p))).collect();
    first.sort_unstable();
    let touch = |(first, path): &(u64, &Name)| FirstTouch { path: (*path).clone(), first: *first };
    let touched = first.first().zip(first.last()).map(|(start, end)| TouchTimes {
        first: start.0,
        half: first[(first.len() - 1) / 2].0,
        last: end.0,
    });
    let mut never_closed: Vec<&Name> =
        survey.paths.iter().filter(|(_, touched)| touched.never_closed > 0).map(|(path, _)| path).collect();
    never_closed.sort_unstable();
    Summary {
        runs: survey.runs.iter().map(run).collect(),
        events: survey.counts.iter().map(|(kind, count)| (kind.word().to_owned(), *count)).collect(),
        paths: path_counts(survey),
        misses_by_directory: misses_by_directory(survey, most),
        directories: directories(survey, most),
        programs: programs(survey, most),
        ranks: ranks(survey).into_iter().take(most).collect(),
        touched,
        earliest: first.iter().take(most).map(touch).collect(),
        latest: first.iter().rev().take(most).map(touch).collect(),
        never_closed: never_closed.into_iter().take(most).cloned().collect(),
    }
}

fn opened(survey: &Survey) -> impl Iterator<Item = (&Name, &Touched)> {
    survey.paths.iter().filter(|(_, touched)| touched.opened > 0)
}

fn run(run: &Run) -> RunFacts {
    let end = if let Ending::Whole(end) = &run.ending { Some(end) } else { None };
    RunFacts {
        file: run.file.clone(),
        command: run.header.command.clone(),
        directory: run.header.directory.clone(),
        host: run.header.host.clone(),
        kernel: run.header.kernel.clone(),
        image: run.header.image.clone(),
        started: run.header.started,
        duration: run.last,
        end: end.map(|end| end.end.clone()),
        code: end.and_then(|end| end.code),
        events: run.events,
        unknown: run.unknown,
        cut: Some(run.cut).filter(|count| *count > 0),
    }
}

fn path_counts(survey: &Survey) -> PathCounts {
    let mut counts = PathCounts::default();
    for touched in survey.paths.values() {
        counts.opened += u64::from(touched.opened > 0);
        counts.executed += u64::from(touched.executed > 0);
        counts.listed += u64::from(touched.listed > 0);
        counts.created += u64::from(touched.created > 0);
        counts.removed += u64::from(touched.removed > 0);
        let written = touched.written.map_or(touched.opened_to_write > 0, |bytes| bytes > 0);
        counts.written += u64::from(written);
        counts.missed += u64::from(touched.missed > 0);
        counts.never_closed += u64::from(touched.never_closed > 0);
    }
    counts
}

fn misses_by_directory(survey: &Survey, most: usize) -> Vec<DirectoryMisses> {
    let mut directories: HashMap<&[u8], (u64, u64)> = HashMap::new();
    for (path, touched) in survey.paths.iter().filter(|(_, touched)| touched.missed > 0) {
        let (misses, names) = directories.entry(directory(&path.0)).or_default();
        *misses += touched.missed;
        *names += 1;
    }
    let row = |(directory, misses, names)| DirectoryMisses { directory, misses, names };
    largest(directories, most).into_iter().map(row).collect()
}

fn directories(survey: &Survey, most: usize) -> Vec<DirectoryOpens> {
    let mut directories: HashMap<&[u8], (u64, u64)> = HashMap::new();
    for (path, touched) in opened(survey) {
        let (opened, files) = directories.entry(directory(&path.0)).or_default();
        *files += 1;
        *opened += touched.opened;
    }
    let row = |(directory, opened, files)| DirectoryOpens { directory, files, opened };
    largest(directories, most).into_iter().map(row).collect()
}

/// Returns the rows with the largest counts in descending order. Equal rows are ordered by name.
fn largest(rows: HashMap<&[u8], (u64, u64)>, most: usize) -> Vec<(Name, u64, u64)> {
    let mut rows: Vec<(&[u8], u64, u64)> = rows.into_iter().map(|(name, (a, b))| (name, a, b)).collect();
    rows.sort_unstable_by(|one, other| (other.1, other.2, one.0).cmp(&(one.1, one.2, other.0)));
    rows.into_iter().take(most).map(|(name, a, b)| (Name::from(name), a, b)).collect()
}

fn programs(survey: &Survey, most: usize) -> Vec<ProgramFacts> {
    let mut programs: Vec<_> = survey.programs.iter().collect();
    programs
        .sort_by(|one, other| (other.activity.events, &one.path).cmp(&(one.activity.events, &other.path)));
    let row = |program: &super::survey::Program| ProgramFacts {
        program: program.path.clone(),
        processes: program.processes,
        activity: program.activity,
        runs: program.runs,
    };
    programs.into_iter().take(most).map(row).collect()
}
