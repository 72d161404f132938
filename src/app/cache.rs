//! The cache of artifacts: what `compat cache` does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Failure, Observer};
use compat_oci::Cache;
use compat_oci::cache::default_directory;

/// What is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruning {
    /// Everything.
    All,
    /// What was written longer ago.
    OlderThan(Duration),
    /// What was written longest ago, until the rest takes no more bytes.
    ToSize(u64),
}

/// What is kept.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CacheList {
    /// The cache's folder.
    #[serde(rename = "folder")]
    pub directory: String,
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
    #[serde(rename = "folder")]
    pub directory: String,
    /// How many entries were removed.
    pub entries: usize,
    /// How many bytes.
    pub bytes: u64,
}

/// The directory of the cache: the one that is named, else the user's own.
///
/// # Errors
///
/// Wrong usage where none is named and the environment gives none.
pub fn directory(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    named.or_else(default_directory).ok_or_else(|| {
        Failure::usage("there is no cache directory: neither XDG_CACHE_HOME nor HOME is set")
            .with_hint("name one with --cache-dir DIR".to_owned())
    })
}

/// Lists what is kept in a directory; nothing where it does not exist.
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

/// Removes entries of the cache in a directory.
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
