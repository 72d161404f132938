//! `compat trace summary`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::text;
use crate::app::{Failure, recording};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit, OutputFormat};
use compat_trace::{FirstTouch, Name, ReadError, Reader, RunFacts, Summary, Survey};

/// Summarise recordings: files opened, created and missed, by directory, program and time
///
/// Several recordings are merged.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Recordings to read
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// Show at most N rows of each list
    #[arg(long, value_name = "N", default_value_t = ROWS)]
    top: usize,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If a recording cannot be read or the result cannot be written.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let survey = recording::survey(&arguments.runs, &Display::new(context))?;
    let summary = compat_trace::summary(&survey, arguments.top);
    match arguments.format {
        OutputFormat::Json => context.print_json(&summary)?,
        OutputFormat::Text => context.print(&render(&summary))?,
    }
    Ok(Exit::Success)
}

/// The default number of rows of each list.
const ROWS: usize = 10;

/// Prints the summary of a finished run on standard error. A failure does not change the exit code of the run. The log
/// is read through its descriptor, because others may have put another file at its path.
pub(crate) fn print(path: &Path, log: &File, context: &Context) {
    match survey_of(path, log, context) {
        Ok(survey) => {
            let text = render(&compat_trace::summary(&survey, ROWS));
            let _ = anstream::stderr().write_all(text.as_bytes());
        }
        Err(failure) => context.warn(&format!("cannot print the summary: {}", failure.message)),
    }
}

fn survey_of(path: &Path, mut log: &File, context: &Context) -> Result<Survey, Failure> {
    if !log.metadata().is_ok_and(|log| log.is_file()) {
        return Err(Failure::usage(format!("{} is not a regular file", path.display())));
    }
    let failed = |source| recording::failure(&ReadError::Read { file: recording::name(path), source });
    log.seek(SeekFrom::Start(0)).map_err(failed)?;
    let reader = Reader::new(recording::name(path), BufReader::new(log));
    let mut survey = Survey::default();
    recording::add(
        &mut survey,
        path,
        reader.map_err(|error| recording::failure(&error))?,
        &Display::new(context),
    )?;
    Ok(survey)
}

/// Formats the summary as text.
fn render(summary: &Summary) -> String {
    let mut text = String::new();
    summary.runs.iter().for_each(|run| render_run(run, &mut text));
    render_counts(summary, &mut text);
    render_lists(summary, &mut text);
    text
}

fn render_run(run: &RunFacts, text: &mut String) {
    let words: Vec<String> = run.command.iter().map(word).collect();
    let image = run.image.as_ref().map(|image| format!(" in {image}")).unwrap_or_default();
    let started = i64::try_from(run.started / 1_000_000_000).ok();
    let started = started.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()).unwrap_or_default();
    let end = match (&run.end, run.code) {
        (Some(end), Some(code)) => format!("{end} with {code}"),
        (Some(end), None) => end.clone(),
        (None, _) => "cut off".to_owned(),
    };
    let _ = writeln!(text, "{}: {}", run.file, words.join(" "));
    let _ =
        writeln!(text, "  on {}{image}, Linux {}, in {}", run.host, run.kernel, text::path(&run.directory));
    let _ = writeln!(text, "  started {started}, {end} after {} s", text::seconds(run.duration));
}

/// Quotes an argument for a shell.
fn word(argument: &Name) -> String {
    let shown = text::path(argument);
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !shown.is_empty() && shown.chars().all(is_plain) {
        return shown;
    }
    format!("'{}'", shown.replace('\'', r"'\''"))
}

fn render_counts(summary: &Summary, text: &mut String) {
    let paths = &summary.paths;
    let events: u64 = summary.events.values().sum();
    let kinds: Vec<String> = summary.events.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let _ = writeln!(text, "\n{}: {}", text::count(events, "event"), kinds.join(", "));
    let _ = writeln!(
        text,
        "paths: {} opened, {} executed, {} listed, {} created, {} written, {} removed, {} missed",
        paths.opened, paths.executed, paths.listed, paths.created, paths.written, paths.removed, paths.missed
    );
    if let Some(touched) = &summary.touched {
        let times = [touched.first, touched.half, touched.last].map(text::seconds);
        let _ = writeln!(
            text,
            "first opens: the first after {} s, half after {} s, the last after {} s",
            times[0], times[1], times[2]
        );
    }
}

fn render_lists(summary: &Summary, text: &mut String) {
    let several = summary.runs.len() > 1;
    heading(text, "misses by directory", summary.misses_by_directory.is_empty());
    for row in &summary.misses_by_directory {
        let names = text::count(row.names, "name");
        let _ = writeln!(text, "  {:>8}  {:<12} {}", row.misses, names, text::path(&row.directory));
    }
    heading(text, "opens by directory", summary.directories.is_empty());
    for row in &summary.directories {
        let files = text::count(row.files, "file");
        let _ = writeln!(text, "  {:>8}  {files:<12} {}", row.opened, text::path(&row.directory));
    }
    heading(text, "programs", summary.programs.is_empty());
    for row in &summary.programs {
        let runs =
            if several { format!(", in {}", text::count(row.runs as u64, "run")) } else { String::new() };
        let did = text::activity(row.processes, &row.activity);
        let _ = writeln!(text, "  {}: {did}{runs}", text::path(&row.program));
    }
    heading(text, "ranks", summary.ranks.is_empty());
    for row in &summary.ranks {
        let _ = writeln!(text, "  {}: {}", row.rank, text::activity(row.processes, &row.activity));
    }
    touches(text, "opened first", &summary.earliest);
    touches(text, "opened last", &summary.latest);
    heading(text, "never closed", summary.never_closed.is_empty());
    for path in &summary.never_closed {
        let _ = writeln!(text, "  {}", text::path(path));
    }
}

fn touches(text: &mut String, title: &str, rows: &[FirstTouch]) {
    heading(text, title, rows.is_empty());
    for row in rows {
        let _ = writeln!(text, "  {:>12} s  {}", text::seconds(row.first), text::path(&row.path));
    }
}

fn heading(text: &mut String, title: &str, is_empty: bool) {
    if !is_empty {
        let _ = writeln!(text, "\n{title}:");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::trace::made::survey;

    #[test]
    fn a_summary_shows_places_programs_and_times() {
        let first: &[&str] = &[
            "lookup /s/libz.so.1 error=ENOENT",
            "open /l/libz.so.1 open=1",
            "create /tmp/new open=2 flags=1 exe=/bin/b pid=2 tid=2",
            "close /l/libz.so.1 open=1 read=2048 written=0",
            "rename /tmp/new other=/tmp/it\u{1b}s exe=/bin/b pid=2 tid=2",
        ];
        let text = render(&compat_trace::summary(&survey(&[first, &["open /l/libz.so.1 open=1"]]), 2));
        insta::assert_snapshot!(text, @r"
        run1.jsonl: app
          on node1, Linux 6.12, in /
          started 1970-01-01T00:00:00Z, exited with 0 after 0.000005 s
        run2.jsonl: app
          on node1, Linux 6.12, in /
          started 1970-01-01T00:00:00Z, exited with 0 after 0.000001 s

        6 events: close 1, create 1, lookup 1, open 2, rename 1
        paths: 2 opened, 0 executed, 0 listed, 2 created, 1 written, 1 removed, 1 missed
        first opens: the first after 0.000000 s, half after 0.000000 s, the last after 0.000002 s

        misses by directory:
                 1  1 name       /s

        opens by directory:
                 2  1 file       /l
                 1  1 file       /tmp

        programs:
          /bin/app: 2 processes, 2 opened, 0 created, 1 missed, bytes read 2.00 KiB, written 0 B, in 2 runs
          /bin/b: 1 process, 1 opened, 1 created, 0 missed, bytes read unknown, written unknown, in 1 run

        opened first:
              0.000000 s  /l/libz.so.1
              0.000002 s  /tmp/new

        opened last:
              0.000002 s  /tmp/new
              0.000000 s  /l/libz.so.1

        never closed:
          /l/libz.so.1
          /tmp/new
        ");
    }

    #[test]
    fn an_argument_is_quoted_where_a_shell_would_split_it() {
        let shown = |text: &str| word(&Name::from(text.as_bytes()));
        assert_eq!(
            [shown("a-b=c"), shown("a b"), shown(""), shown("it's")],
            ["a-b=c", "'a b'", "''", r"'it'\''s'"]
        );
    }
}
