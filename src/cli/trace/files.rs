//! `compat trace files`.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::{sink, text};
use crate::app::{Failure, recording};
use crate::cli::in_mirror::globs;
use crate::cli::progress::Display;
use crate::cli::{Context, Exit, OutputFormat};
use compat_trace::{Name, Order, Touched, TouchedFile};

/// List the files that recordings touched, one per line
///
/// By default, lists all files that were opened, listed, created, removed, missed or refused, but not those that were
/// only looked up. Several recordings are merged: counts are totals, and the time is the earliest.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat trace files run.jsonl
  compat trace files --missed --sort missed run.jsonl | head
  compat trace files --opened --glob '/usr/lib/**' --paths run.jsonl
  compat trace files --opened --paths -0 run.jsonl | xargs -0 ls -l")]
pub(super) struct Arguments {
    /// Recordings to read
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// List files and directories that were opened
    ///
    /// Selections can be combined. A path is listed if any of them matches.
    #[arg(long)]
    opened: bool,

    /// List files that were created
    #[arg(long)]
    created: bool,

    /// List files that were looked up but did not exist
    #[arg(long)]
    missed: bool,

    /// List files that were opened and never closed
    #[arg(long)]
    never_closed: bool,

    /// List all files, including those that were only looked up
    #[arg(long, conflicts_with_all = ["opened", "created", "missed", "never_closed"])]
    all: bool,

    /// List only paths that match GLOB (can be repeated)
    ///
    /// "*" matches within a directory, "**" across directories.
    #[arg(long, value_name = "GLOB")]
    glob: Vec<String>,

    /// Sort by ORDER: first open, path, or a count in descending order
    #[arg(long, value_name = "ORDER", default_value = "first")]
    sort: Sort,

    /// Print only paths, byte for byte
    #[arg(long, conflicts_with = "format")]
    paths: bool,

    /// End each path with a null byte instead of a newline
    #[arg(short = '0', long, requires = "paths")]
    null: bool,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Sort {
    First,
    Path,
    Opened,
    Missed,
    Read,
    Written,
}

impl Arguments {
    fn takes(&self, touched: &Touched) -> bool {
        let is_created = touched.created > 0;
        let picked = [
            (self.opened, touched.is_used()),
            (self.created, is_created),
            (self.missed, touched.missed > 0),
            (self.never_closed, touched.never_closed > 0),
        ];
        if picked.iter().any(|(wanted, _)| *wanted) {
            return picked.iter().any(|(wanted, is)| *wanted && *is);
        }
        self.all || touched.is_used() || is_created || touched.missed + touched.removed + touched.refused > 0
    }

    fn order(&self) -> Order {
        match self.sort {
            Sort::First => Order::First,
            Sort::Path => Order::Path,
            Sort::Opened => Order::Opened,
            Sort::Missed => Order::Missed,
            Sort::Read => Order::Read,
            Sort::Written => Order::Written,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
///
/// If a pattern is invalid, a recording cannot be read, or the result cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let globs = globs(&arguments.glob)?;
    let survey = recording::survey(&arguments.runs, &Display::new(context))?;
    let matches = |path: &Name| globs.is_empty() || globs.is_match(std::ffi::OsStr::from_bytes(&path.0));
    let wanted = |path: &Name, touched: &Touched| arguments.takes(touched) && matches(path);
    let files = compat_trace::files(&survey, arguments.order(), wanted);
    if arguments.paths {
        let end = if arguments.null { b"\0" } else { b"\n" };
        let mut bytes = Vec::new();
        files.iter().for_each(|file| bytes.extend(file.path.0.iter().chain(end)));
        sink::print_bytes(&bytes)?;
    } else if arguments.format == OutputFormat::Json {
        context.print_json(&files)?;
    } else {
        context.print(&render(&files, survey.runs.len()))?;
    }
    Ok(Exit::Success)
}

/// Formats one line per file, with the path last.
fn render(files: &[TouchedFile], runs: usize) -> String {
    let mut text = String::new();
    let has_ranks = files.iter().any(|file| !file.ranks.is_empty());
    let runs_title = if runs > 1 { format!("{:>5} ", "RUNS") } else { String::new() };
    let ranks_title = if has_ranks { format!("{:<9} ", "RANKS") } else { String::new() };
    let _ = writeln!(
        text,
        "{:>8} {:>7} {:>7} {:>5} {:>11} {:>11} {:>12} {runs_title}{ranks_title}{:<16} PATH",
        "OPENED", "CREATED", "MISSED", "OPEN", "READ", "WRITTEN", "FIRST", "PROGRAMS"
    );
    for file in files {
        let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
        let runs = if runs > 1 { format!("{:>5} ", file.runs) } else { String::new() };
        let ranks = match (has_ranks, text::ranges(&file.ranks)) {
            (false, _) => String::new(),
            (true, ranks) => format!("{:<9} ", if ranks.is_empty() { "-" } else { &ranks }),
        };
        let programs = text::programs(&file.programs);
        let _ = writeln!(
            text,
            "{:>8} {:>7} {:>7} {:>5} {:>11} {:>11} {:>12} {runs}{ranks}{:<16} {}",
            file.opened + file.listed,
            file.created,
            file.missed,
            file.never_closed,
            bytes(file.read),
            bytes(file.written),
            file.first.map_or("-".to_owned(), text::seconds),
            if programs.is_empty() { "-" } else { &programs },
            text::path(&file.path)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::trace::made::survey;

    #[test]
    fn each_file_is_a_line_with_its_path_last() {
        let survey = survey(&[&[
            "open /a open=1",
            "open /a open=2 exe=/bin/b",
            "close /a open=1 read=4096 written=0",
            "create /new open=3",
            "lookup /none error=ENOENT",
            "close /new open=3",
        ]]);
        let files = compat_trace::files(&survey, Order::First, |_, _| true);
        insta::assert_snapshot!(render(&files, 1), @r"
        OPENED CREATED  MISSED  OPEN        READ     WRITTEN        FIRST PROGRAMS         PATH
             2       0       0     1        4096           0     0.000000 app,b            /a
             1       1       0     0           -           -     0.000003 app              /new
             0       0       1     0           -           -            - app              /none
        ");
    }
}
