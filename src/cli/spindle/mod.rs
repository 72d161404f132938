//! `compat spindle`: runs commands with a cache of slow file systems.

mod savings;
mod text;

use std::path::{Path, PathBuf};

use crate::app::Failure;
use crate::app::spindle::savings::{SavingsOptions, saved_by_cache};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit, OutputFormat};

const EXAMPLES: &str = "\
Examples:
  compat record -o run.jsonl -- ./app
  compat spindle --dry-run run.jsonl --share /software";

/// Report the requests and reads that a cache on the node would save
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Run nothing, and report from a recording of `compat record` what the cache would save (can be repeated)
    #[arg(long, required = true, value_name = "RUN")]
    dry_run: Vec<PathBuf>,

    /// Cache the directory PATH (can be repeated)
    #[arg(long, value_name = "PATH")]
    share: Vec<PathBuf>,

    /// Do not cache paths that match GLOB (can be repeated)
    ///
    /// "*" matches within a directory, "**" across directories.
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
/// If a recording cannot be read or the result cannot be written.
pub(super) fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let options = SavingsOptions {
        recordings: arguments.dry_run,
        shares: arguments.share.iter().map(|share| resolved(share)).collect(),
        exclude: super::in_mirror::globs(&arguments.exclude)?,
    };
    let report = saved_by_cache(&options, &Display::new(context))?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => context.print(&savings::render(&report))?,
    }
    Ok(Exit::Success)
}

/// The path of a share without links. A share of another machine stays as it is.
fn resolved(share: &Path) -> PathBuf {
    share.canonicalize().or_else(|_| std::path::absolute(share)).unwrap_or_else(|_| share.to_owned())
}
