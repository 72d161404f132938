//! The cache of artifacts: the work of `compat cache`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Failure, Observer};
use compat_oci::Cache;
use compat_oci::cache::default_directory;

/// The entries to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruning {
    /// All entries.
    All,
    /// Entries that were written longer ago than this.
    OlderThan(Duration),
    /// The oldest entries, until the rest takes at most this many bytes.
    ToSize(u64),
}

/// The contents of the cache.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CacheList {
    /// The directory of the cache.
    #[serde(rename = "folder")]
    pub directory: String,
    /// The entries of the cache.
    pub entries: Vec<CacheEntry>,
    /// The size of all entries in bytes.
    pub bytes: u64,
}

/// One entry of the cache.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CacheEntry {
    /// The kind of entry: `content`, `tag`, or `list` (the referrers of a manifest).
    pub kind: String,
    /// The digest or reference of the entry.
    pub name: String,
    /// The digest that a tag points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The size of the entry in bytes.
    pub size: u64,
    /// The time of the last write, in seconds since 1970.
    pub modified: u64,
}

/// The result of a pruning.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CachePruned {
    /// The directory of the cache.
    #[serde(rename = "folder")]
    pub directory: String,
    /// The number of removed entries.
    pub entries: usize,
    /// The number of removed bytes.
    pub bytes: u64,
}

/// Returns the directory of the cache: the given one, or else the user's.
///
/// # Errors
///
/// If no directory is given and the environment defines none (wrong usage).
pub fn directory(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    named.or_else(default_directory).ok_or_else(|| {
        Failure::usage("no cache directory: neither XDG_CACHE_HOME nor HOME is set")
            .with_hint("name one with --cache-dir DIR".to_owned())
    })
}

/// Lists the entries in a cache directory. The list is empty if the directory does not exist.
///
/// # Errors
///
/// If it cannot be read.
pub fn list(directory: &Path, observer: Arc<dyn Observer>) -> Result<CacheList, Failure> {
    let found = open(directory, observer).entries().map_err(|error| Failure::from(&error))?;
    let bytes = found.iter().map(|entry| entry.size).sum();
    let seconds =
        |time: SystemTime| time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    let mut entries = Vec::new();
    for entry in found {
        entries.push(CacheEntry {
            kind: entry.kind.to_owned(),
            name: entry.name,
            digest: entry.digest.map(|digest| digest.to_string()),
            size: entry.size,
            modified: seconds(entry.modified),
        });
    }
    Ok(CacheList { directory: directory.display().to_string(), entries, bytes })
}

/// Removes entries from a cache directory.
///
/// # Errors
///
/// If it cannot be read or changed.
pub fn prune(
    directory: &Path,
    pruning: Pruning,
    observer: Arc<dyn Observer>,
) -> Result<CachePruned, Failure> {
    let cache = open(directory, observer);
    let pruned = match pruning {
        Pruning::All => cache.prune(None),
        Pruning::OlderThan(age) => cache.prune(Some(age)),
        Pruning::ToSize(bytes) => cache.shrink(bytes),
    };
    let pruned = pruned.map_err(|error| Failure::from(&error))?;
    let directory = directory.display().to_string();
    Ok(CachePruned { directory, entries: pruned.entries, bytes: pruned.bytes })
}

fn open(directory: &Path, observer: Arc<dyn Observer>) -> Cache {
    Cache::new(Some(directory.to_owned()), observer)
}
