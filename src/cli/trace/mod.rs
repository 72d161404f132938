//! `compat trace`: reports about recordings.

mod convert;
mod diff;
mod files;
mod libraries;
mod perfetto;
mod processes;
mod sink;
pub(super) mod summary;
mod text;
// Recordings for tests, shared with the tests of `compat-trace`.
#[cfg(test)]
#[path = "../../../crates/trace/src/made.rs"]
mod made;

use crate::app::Failure;
use crate::cli::{Context, Exit};

const EXAMPLES: &str = "\
Examples:
  compat record -o run.jsonl -- ./app
  compat trace summary run.jsonl
  compat trace files --missed --sort missed run.jsonl | head
  compat trace diff monday.jsonl tuesday.jsonl
  # write a trace, to be opened in https://ui.perfetto.dev
  compat trace perfetto -o trace.json run.jsonl

RUN is a recording in JSON lines, written by `compat record`, optionally compressed with zstd. - is standard input.";

/// Report on recordings: files, libraries, processes, differences, a trace for Perfetto
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
/// If a recording cannot be read or the result cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
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
