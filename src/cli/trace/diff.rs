//! `compat trace diff`.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::slice;

use super::text;
use crate::app::{Failure, recording};
use crate::cli::in_mirror::globs;
use crate::cli::progress::Display;
use crate::cli::{Context, Exit, OutputFormat};
use compat_trace::{CountChange, Difference, Name, Outcome, PathOutcome};

/// Compare two recordings of the same application
///
/// Shows paths that only one run touched, paths with different outcomes (missed in one, found in the other), libraries
/// found in different places, and a different exit status. Processes, times and the order of events are ignored. The exit code
/// is 0 if the recordings are the same, and 1 if they differ.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat trace diff monday.jsonl tuesday.jsonl
  compat trace diff --exclude '/tmp/**' --counts a.jsonl b.jsonl.zst
  compat trace diff --format json a.jsonl b.jsonl | jq .elsewhere")]
pub(super) struct Arguments {
    /// First recording
    #[arg(value_name = "A")]
    first: PathBuf,

    /// Second recording
    #[arg(value_name = "B")]
    second: PathBuf,

    /// Also compare how often each path was opened, created and missed
    #[arg(long)]
    counts: bool,

    /// Compare only paths that match GLOB (can be repeated)
    ///
    /// "*" matches within a directory, "**" across directories.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Do not compare paths that match GLOB (can be repeated)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If a pattern is invalid, a recording cannot be read, or the result cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let (include, exclude) = (globs(&arguments.include)?, globs(&arguments.exclude)?);
    let first = recording::survey(slice::from_ref(&arguments.first), &Display::new(context))?;
    let second = recording::survey(slice::from_ref(&arguments.second), &Display::new(context))?;
    let wanted = |path: &Name| {
        let path = std::ffi::OsStr::from_bytes(&path.0);
        (include.is_empty() || include.is_match(path)) && !exclude.is_match(path)
    };
    let difference = compat_trace::difference(&first, &second, arguments.counts, wanted);
    match arguments.format {
        OutputFormat::Json => context.print_json(&difference)?,
        OutputFormat::Text => {
            let names = [&first, &second].map(|survey| survey.runs[0].file.clone());
            context.print(&render(&difference, &names))?;
        }
    }
    Ok(if difference.same { Exit::Success } else { Exit::Incompatible })
}

fn render(difference: &Difference, names: &[String; 2]) -> String {
    let mut text = String::new();
    if let Some([first, second]) = &difference.ends {
        let _ = writeln!(text, "different end: {first} -> {second}");
    }
    only(&mut text, &names[0], &difference.only_first);
    only(&mut text, &names[1], &difference.only_second);
    if !difference.changed.is_empty() {
        text.push_str("different outcomes:\n");
    }
    for row in &difference.changed {
        let (first, second) = (outcomes(&row.first), outcomes(&row.second));
        let _ = writeln!(text, "  {}: {first} -> {second}", text::path(&row.path));
    }
    if !difference.elsewhere.is_empty() {
        text.push_str("found in different places:\n");
    }
    for row in &difference.elsewhere {
        let paths = |paths: &[Name]| paths.iter().map(text::path).collect::<Vec<_>>().join(", ");
        let (first, second) = (paths(&row.first), paths(&row.second));
        let _ = writeln!(text, "  {}: {first} -> {second}", text::path(&row.name));
    }
    counts(&mut text, &difference.counts);
    let totals: Vec<String> = difference
        .totals
        .iter()
        .filter(|(_, [first, second])| first != second)
        .map(|(kind, [first, second])| format!("{kind} {first} -> {second}"))
        .collect();
    if !totals.is_empty() {
        let _ = writeln!(text, "events: {}", totals.join(", "));
    }
    text.push_str(if difference.same { "the recordings are the same\n" } else { "the recordings differ\n" });
    text
}

fn only(text: &mut String, name: &str, rows: &[PathOutcome]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "only in {name}: {}", text::count(rows.len() as u64, "path"));
    for row in rows {
        let _ = writeln!(text, "  {}: {}", text::path(&row.path), outcomes(&row.outcomes));
    }
}

fn counts(text: &mut String, rows: &[CountChange]) {
    if !rows.is_empty() {
        text.push_str("different counts:\n");
    }
    for row in rows {
        let pair = |word: &str, first: u64, second: u64| {
            (first != second).then(|| format!("{word} {first} -> {second}"))
        };
        let pairs = [
            pair("opened", row.first.opened, row.second.opened),
            pair("created", row.first.created, row.second.created),
            pair("missed", row.first.missed, row.second.missed),
        ];
        let pairs: Vec<String> = pairs.into_iter().flatten().collect();
        let _ = writeln!(text, "  {}: {}", text::path(&row.path), pairs.join(", "));
    }
}

fn outcomes(outcomes: &[Outcome]) -> String {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Opened => "opened",
        Outcome::Executed => "executed",
        Outcome::Listed => "listed",
        Outcome::Created => "created",
        Outcome::Removed => "removed",
        Outcome::Missed => "missed",
        Outcome::Refused => "refused",
    };
    outcomes.iter().map(word).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::trace::made::survey;

    #[test]
    fn a_difference_is_reported_by_kind() {
        let first: &[&str] = &[
            "lookup /conf error=ENOENT",
            "open /l1/libz.so.1 open=1",
            "open /a open=2",
            "lookup /n error=ENOENT",
        ];
        let second: &[&str] =
            &["open /conf open=1", "open /l2/libz.so.1 open=2", "open /a open=3", "open /a open=4"];
        let found = compat_trace::difference(&survey(&[first]), &survey(&[second]), true, |_| true);
        let names = ["a.jsonl".to_owned(), "b.jsonl".to_owned()];
        insta::assert_snapshot!(render(&found, &names), @r"
        only in a.jsonl: 2 paths
          /l1/libz.so.1: opened
          /n: missed
        only in b.jsonl: 1 path
          /l2/libz.so.1: opened
        different outcomes:
          /conf: missed -> opened
        found in different places:
          libz.so.1: /l1/libz.so.1 -> /l2/libz.so.1
        different counts:
          /a: opened 1 -> 2
        events: lookup 2 -> 0, open 2 -> 4
        the recordings differ
        ");
        let same = compat_trace::difference(&survey(&[first]), &survey(&[first]), true, |_| true);
        assert_eq!(render(&same, &names), "the recordings are the same\n");
    }
}
