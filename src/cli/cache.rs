//! `compat cache`: what is kept, and letting go of it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::progress::Display;
use super::wording::count;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use compat_oci::Cache;
use compat_oci::cache::default_folder;

/// Show or empty the cache of artifacts
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat cache ls
  # what is older than 30 days
  compat cache prune
  compat cache prune --older-than 12h
  # the oldest, until the rest fits
  compat cache prune --max-size 64M
  compat cache prune --all")]
pub struct CacheArguments {
    #[command(subcommand)]
    command: CacheCommand,

    /// The cache's directory instead of $XDG_CACHE_HOME/compat
    #[arg(long, value_name = "DIR", env = "COMPAT_CACHE_DIR", global = true)]
    cache_dir: Option<PathBuf>,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", global = true)]
    format: OutputFormat,
}

#[derive(clap::Subcommand, Debug)]
enum CacheCommand {
    /// List what is kept
    #[command(visible_alias = "list")]
    Ls,
    /// Remove what has not been written for a while
    Prune {
        /// Remove everything
        #[arg(long, conflicts_with = "older_than")]
        all: bool,

        /// Remove what is older than this: a number with s, m, h, d or w
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = parse_age)]
        older_than: Duration,

        /// Remove what was written longest ago until the rest takes no more than this: bytes, or a number
        /// with K, M or G
        #[arg(long, conflicts_with_all = ["all", "older_than"], value_name = "SIZE",
              value_parser = super::registry_options::parse_size)]
        max_size: Option<u64>,
    },
}

/// What is kept.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CacheList {
    /// The cache's folder.
    pub folder: String,
    /// The entries.
    pub entries: Vec<CacheEntry>,
    /// Their size in bytes.
    pub bytes: u64,
}

/// One entry of the cache.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CacheEntry {
    /// What it is: `content`, `tag` or `list` (of what is attached).
    pub kind: String,
    /// A digest or a reference.
    pub name: String,
    /// The digest behind a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, in seconds since 1970.
    pub modified: u64,
}

/// What a pruning did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CachePruned {
    /// The cache's folder.
    pub folder: String,
    /// How many entries were removed.
    pub entries: usize,
    /// How many bytes.
    pub bytes: u64,
}

/// Runs `compat cache`.
///
/// # Errors
///
/// Where the cache cannot be read or changed.
pub fn run(arguments: &CacheArguments, context: &Context) -> Result<Exit, Failure> {
    let root = arguments.cache_dir.clone().or_else(default_folder);
    let root = root.ok_or_else(|| {
        Failure::usage("there is no cache directory: neither XDG_CACHE_HOME nor HOME is set")
            .with_hint("name one with --cache-dir DIR".to_owned())
    })?;
    let folder = root.display().to_string();
    let cache = Cache::new(Some(root), Arc::new(Display::new(context)));
    match &arguments.command {
        CacheCommand::Ls => list(&cache, folder, arguments.format, context)?,
        CacheCommand::Prune { all, older_than, max_size } => {
            let age = (!all).then_some(*older_than);
            let pruned = max_size.map_or_else(|| cache.prune(age), |limit| cache.shrink(limit));
            let pruned = pruned.map_err(|error| Failure::from(&error))?;
            let report = CachePruned { folder, entries: pruned.entries, bytes: pruned.bytes };
            match arguments.format {
                OutputFormat::Json => context.print_json(&report)?,
                OutputFormat::Text => {
                    let CachePruned { folder, entries, bytes } = &report;
                    context.print(&format!(
                        "removed {} ({bytes} bytes) from {folder}\n",
                        count(*entries as u64, "entry")
                    ))?;
                }
            }
        }
    }
    Ok(Exit::Success)
}

fn list(cache: &Cache, folder: String, format: OutputFormat, context: &Context) -> Result<(), Failure> {
    let entries = cache.entries().map_err(|error| Failure::from(&error))?;
    let bytes = entries.iter().map(|entry| entry.size).sum();
    let seconds =
        |time: SystemTime| time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    let entries: Vec<CacheEntry> = entries
        .into_iter()
        .map(|entry| CacheEntry {
            kind: entry.kind.to_owned(),
            name: entry.name,
            digest: entry.digest.map(|digest| digest.to_string()),
            size: entry.size,
            modified: seconds(entry.modified),
        })
        .collect();
    let report = CacheList { folder, entries, bytes };
    if format == OutputFormat::Json {
        return context.print_json(&report);
    }
    let mut text = String::new();
    for entry in &report.entries {
        let behind = entry.digest.as_ref().map(|digest| format!(" -> {digest}")).unwrap_or_default();
        let _ = writeln!(text, "{:<8}{:>9}  {}{behind}", entry.kind, entry.size, entry.name);
    }
    let _ = writeln!(
        text,
        "{}, {} bytes in {}",
        count(report.entries.len() as u64, "entry"),
        report.bytes,
        report.folder
    );
    context.print(&text)
}

/// A duration as typed: `30d`, `12h`, `90m`, `45s`, `2w`.
fn parse_age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30d, 12h, 90m, 45s or 2w");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).unwrap_or_default();
    let factor: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(parse_age("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_age("0s"), Ok(Duration::ZERO));
        for text in ["", "30", "d", "-1d", "1é", "99999999999999999999d", "9999999999999999999w"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }
}
