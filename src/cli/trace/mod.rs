//! `compat trace`: what recordings say.

mod convert;
mod diff;
mod files;
mod libraries;
mod perfetto;
mod processes;
mod sink;
pub(super) mod summary;
mod text;
// Recordings of tests, written as in the tests of the crate that reads them.
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
/// If a recording cannot be read or the result not be written.
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
