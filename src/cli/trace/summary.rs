//! `compat trace summary`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::text;
use crate::cli::{Context, Exit, Failure, OutputFormat};
use crate::trace::{self, FirstTouch, Name, RunFacts, Summary};

/// Summarise recordings: what was opened, created and missed, where, by whom and when
///
/// Several recordings are merged.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The recordings
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// Show at most N rows of each list
    #[arg(long, value_name = "N", default_value_t = ROWS)]
    top: usize,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where a recording cannot be read or the result not be written.
pub fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let survey = super::survey(&arguments.runs, context)?;
    let summary = trace::summary(&survey, arguments.top);
    match arguments.format {
        OutputFormat::Json => context.print_json(&summary)?,
        OutputFormat::Text => context.print(&render(&summary))?,
    }
    Ok(Exit::Success)
}

/// How many rows each list has where nobody says.
const ROWS: usize = 10;

/// Tells on standard error what a run touched that has just ended. It does not matter to how the run ended
/// whether that can be told.
pub fn tell(log: &Path, context: &Context) {
    match super::survey(&[log.to_owned()], context) {
        Ok(survey) => {
            let text = render(&trace::summary(&survey, ROWS));
            let _ = anstream::stderr().write_all(text.as_bytes());
        }
        Err(failure) => context.warn(&format!("no summary: {}", failure.message)),
    }
}

/// The summary as text.
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
    let _ = writeln!(text, "  on {}{image}, Linux {}, in {}", run.host, run.kernel, text::path(&run.folder));
    let _ = writeln!(text, "  started {started}, {end} after {} s", text::seconds(run.duration));
}

/// An argument as a shell would want it.
fn word(argument: &Name) -> String {
    let shown = text::path(argument);
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    match !shown.is_empty() && shown.chars().all(is_plain) {
        true => shown,
        false => format!("'{}'", shown.replace('\'', r"'\''")),
    }
}

fn render_counts(summary: &Summary, text: &mut String) {
    let paths = &summary.paths;
    let events: u64 = summary.events.values().sum();
    let kinds: Vec<String> = summary.events.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let _ = writeln!(text, "\n{events} events: {}", kinds.join(", "));
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
    heading(text, "misses by folder", summary.misses_by_folder.is_empty());
    for row in &summary.misses_by_folder {
        let names = text::count(row.names, "name");
        let _ = writeln!(text, "  {:>8}  {:<12} {}", row.misses, names, text::path(&row.folder));
    }
    heading(text, "opens by folder", summary.folders.is_empty());
    for row in &summary.folders {
        let files = text::count(row.files, "file");
        let _ = writeln!(text, "  {:>8}  {files:<12} {}", row.opened, text::path(&row.folder));
    }
    heading(text, "programs", summary.programs.is_empty());
    for row in &summary.programs {
        let runs = if several { format!(", in {} runs", row.runs) } else { String::new() };
        let _ = writeln!(
            text,
            "  {}: {}, {} opened, {} created, {} missed, {} read, {} written{runs}",
            text::path(&row.program),
            if row.processes == 1 { "1 process".to_owned() } else { format!("{} processes", row.processes) },
            row.opened,
            row.created,
            row.missed,
            text::size(row.read),
            text::size(row.written)
        );
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
