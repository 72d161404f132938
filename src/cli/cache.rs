//! `compat cache`: lists and removes cached artifacts.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::progress::Display;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::cache::{self, CacheList, CachePruned, Pruning};
use crate::app::wording::count;

/// List or remove cached artifacts
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat cache ls
  # remove entries older than 30 days
  compat cache prune
  compat cache prune --older-than 12h
  # remove the oldest entries until the rest fits
  compat cache prune --max-size 64M
  compat cache prune --all")]
pub struct CacheArguments {
    #[command(subcommand)]
    command: CacheCommand,

    /// Use this cache directory instead of $XDG_CACHE_HOME/compat
    #[arg(long, value_name = "DIR", env = "COMPAT_CACHE_DIR", global = true)]
    cache_dir: Option<PathBuf>,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", global = true)]
    format: OutputFormat,
}

#[derive(clap::Subcommand, Debug)]
enum CacheCommand {
    /// List the cached entries
    #[command(visible_alias = "list")]
    Ls,
    /// Remove old entries
    Prune {
        /// Remove all entries
        #[arg(long, conflicts_with = "older_than")]
        all: bool,

        /// Remove entries written longer ago than this: a number with s, m, h, d or w
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = super::quantity::parse_duration)]
        older_than: Duration,

        /// Remove the oldest entries until the rest fits: bytes, or a number with K, M or G
        #[arg(long, conflicts_with_all = ["all", "older_than"], value_name = "SIZE",
              value_parser = super::quantity::parse_size)]
        max_size: Option<u64>,
    },
}

/// Runs `compat cache`.
///
/// # Errors
///
/// If the cache cannot be read or changed.
pub(super) fn run(arguments: &CacheArguments, context: &Context) -> Result<Exit, Failure> {
    let directory = cache::directory(arguments.cache_dir.clone())?;
    let observer = Arc::new(Display::new(context));
    match &arguments.command {
        CacheCommand::Ls => {
            let report = cache::list(&directory, observer)?;
            match arguments.format {
                OutputFormat::Json => context.print_json(&report)?,
                OutputFormat::Text => context.print(&listing(&report))?,
            }
        }
        CacheCommand::Prune { all, older_than, max_size } => {
            let pruning = match max_size {
                Some(bytes) => Pruning::ToSize(*bytes),
                None if *all => Pruning::All,
                None => Pruning::OlderThan(*older_than),
            };
            let report = cache::prune(&directory, pruning, observer)?;
            match arguments.format {
                OutputFormat::Json => context.print_json(&report)?,
                OutputFormat::Text => context.print(&pruned(&report))?,
            }
        }
    }
    Ok(Exit::Success)
}

fn listing(report: &CacheList) -> String {
    let mut text = String::new();
    for entry in &report.entries {
        let behind = entry.digest.as_ref().map(|digest| format!(" -> {digest}")).unwrap_or_default();
        let _ = writeln!(text, "{:<8}{:>9}  {}{behind}", entry.kind, entry.size, entry.name);
    }
    let entries = count(report.entries.len() as u64, "entry");
    let _ = writeln!(text, "{entries}, {} bytes in {}", report.bytes, report.directory);
    text
}

fn pruned(report: &CachePruned) -> String {
    let CachePruned { directory, entries, bytes } = report;
    format!("removed {} ({bytes} bytes) from {directory}\n", count(*entries as u64, "entry"))
}
