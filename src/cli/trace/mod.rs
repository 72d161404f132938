//! `compat trace`: what recordings say.

mod convert;
mod diff;
mod files;
mod libraries;
mod perfetto;
mod processes;
mod sink;
pub mod summary;
mod text;
// Recordings of tests, written as in the tests of the crate that reads them.
#[cfg(test)]
#[path = "../../../crates/trace/src/made.rs"]
mod made;

use std::path::{Path, PathBuf};

use crate::app::Failure;
use crate::cli::{Context, Exit, recording};
use compat_trace::{Ending, Reader, Survey};

const EXAMPLES: &str = "\
Examples:
  compat record -o run.jsonl -- ./app
  compat trace summary run.jsonl
  compat trace files --missed --sort missed run.jsonl | head
  compat trace diff monday.jsonl tuesday.jsonl
  # and open it in https://ui.perfetto.dev
  compat trace perfetto -o trace.json run.jsonl

RUN is what `compat record` wrote as JSON lines, compressed with zstd or not; - is standard input.";

/// Show what recordings say: files, libraries, differences, a trace for Perfetto's viewer
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(clap::Subcommand, Debug)]
enum TraceCommand {
    Summary(summary::Arguments),
    Files(files::Arguments),
    Libraries(libraries::Arguments),
    Processes(processes::Arguments),
    Diff(diff::Arguments),
    Perfetto(perfetto::Arguments),
    Convert(convert::Arguments),
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where a recording cannot be read or the result not be written.
pub fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    match &arguments.command {
        TraceCommand::Summary(arguments) => summary::run(arguments, context),
        TraceCommand::Files(arguments) => files::run(arguments, context),
        TraceCommand::Libraries(arguments) => libraries::run(arguments, context),
        TraceCommand::Processes(arguments) => processes::run(arguments, context),
        TraceCommand::Diff(arguments) => diff::run(arguments, context),
        TraceCommand::Perfetto(arguments) => perfetto::run(arguments, context),
        TraceCommand::Convert(arguments) => convert::run(arguments, context),
    }
}

/// The facts of all these recordings together. One that is cut is told.
fn survey(runs: &[PathBuf], context: &Context) -> Result<Survey, Failure> {
    let mut survey = Survey::default();
    for path in runs {
        add(&mut survey, path, recording::open(path)?, context)?;
    }
    Ok(survey)
}

/// Adds the facts of one.
fn add(survey: &mut Survey, path: &Path, reader: Reader<'_>, context: &Context) -> Result<(), Failure> {
    survey.add(reader).map_err(|error| recording::failure(&error))?;
    if let Some(run) = survey.runs.last() {
        tell(path, &run.ending, run.unknown, context);
        let consequence = "those of the same ends and length are taken for one";
        recording::warn_of_cut(path, run.cut, consequence, context);
    }
    Ok(())
}

/// Tells what of a recording is not there.
fn tell(path: &Path, ending: &Ending, unknown: u64, context: &Context) {
    let name = recording::name(path);
    if *ending == Ending::Cut {
        context.warn(&format!("{name} is cut off: it has no last line, and what came after is not in it"));
    }
    recording::tell_unknown(path, unknown, context);
}
