//! `compat trace processes`.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::text;
use crate::app::{Failure, recording};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit, OutputFormat};
use compat_trace::{ProcessFacts, ProcessOrder};

/// List what each process did: its parent, rank and programs, opens, misses and bytes
///
/// If the kernel reused a process ID during a run, all processes with that ID share a line.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Recordings to read
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// Sort by ORDER: first event, or a count in descending order
    #[arg(long, value_name = "ORDER", default_value = "first")]
    sort: Sort,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Sort {
    First,
    Events,
    Opened,
    Missed,
    Read,
    Written,
}

impl From<Sort> for ProcessOrder {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::First => Self::First,
            Sort::Events => Self::Events,
            Sort::Opened => Self::Opened,
            Sort::Missed => Self::Missed,
            Sort::Read => Self::Read,
            Sort::Written => Self::Written,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
///
/// If a recording cannot be read or the result cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let survey = recording::survey(&arguments.runs, &Display::new(context))?;
    let processes = compat_trace::processes(&survey, arguments.sort.into());
    match arguments.format {
        OutputFormat::Json => context.print_json(&processes)?,
        OutputFormat::Text => context.print(&render(&processes, survey.runs.len()))?,
    }
    Ok(Exit::Success)
}

/// Formats one line per process, with its programs last.
fn render(processes: &[ProcessFacts], runs: usize) -> String {
    let mut text = String::new();
    let has_ranks = processes.iter().any(|process| process.rank.is_some());
    let rank_title = if has_ranks { format!("{:>6} ", "RANK") } else { String::new() };
    let run_title = if runs > 1 { "  RUN" } else { "" };
    let _ = writeln!(
        text,
        "{:>8} {:>8} {rank_title}{:>12} {:>12} {:>8} {:>8} {:>7} {:>7} {:>11} {:>11} PROGRAMS{run_title}",
        "PID", "PPID", "FIRST", "LAST", "EVENTS", "OPENED", "CREATED", "MISSED", "READ", "WRITTEN"
    );
    let known = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    for process in processes {
        let did = &process.activity;
        let rank =
            if has_ranks { format!("{:>6} ", known(process.rank.map(u64::from))) } else { String::new() };
        let run = if runs > 1 {
            format!("  {}", crate::cli::report::printable(&process.file))
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "{:>8} {:>8} {rank}{:>12} {:>12} {:>8} {:>8} {:>7} {:>7} {:>11} {:>11} {}{run}",
            process.pid,
            process.ppid,
            text::seconds(process.first),
            text::seconds(process.last),
            did.events,
            did.opened,
            did.created,
            did.missed,
            known(did.read),
            known(did.written),
            text::programs(&process.programs)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::trace::made::survey;

    #[test]
    fn each_process_is_a_line() {
        let survey = survey(&[&[
            "open /a open=1 rank=1",
            "create /b open=2 pid=7 tid=7 ppid=1 exe=/bin/b rank=0",
            "close /b open=2 pid=7 tid=7 ppid=1 exe=/bin/b rank=0 read=0 written=9",
            "lookup /c error=ENOENT rank=1 exe=/bin/d",
        ]]);
        insta::assert_snapshot!(render(&compat_trace::processes(&survey, ProcessOrder::Written), 1), @r"
        PID     PPID   RANK        FIRST         LAST   EVENTS   OPENED CREATED  MISSED        READ     WRITTEN PROGRAMS
          7        1      0     0.000001     0.000002        2        1       1       0           0           9 b
          1        0      1     0.000000     0.000003        2        1       0       1           -           - app,d
        ");
    }
}
