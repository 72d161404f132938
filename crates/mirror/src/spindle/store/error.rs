//! The errors of the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::enter::private_directory::NotPrivate;

/// The reason that a directory cannot be used for the cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Other users could read or change the cache. The user must choose another directory.
    #[error("cannot use {} for the cache: {fault}", path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// The fault, as the rest of a sentence.
        fault: String,
    },
    /// The directory is missing, read-only, full or not accessible. A run without a cache is possible.
    #[error("cannot use {} for the cache", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl StoreError {
    pub(super) fn of(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let fault = source.get_ref().and_then(|inner| inner.downcast_ref::<NotPrivate>());
        match fault {
            Some(fault) => Self::NotPrivate { path, fault: fault.to_string() },
            None => Self::Unusable { path, source },
        }
    }

    /// Whether a run may go on without a cache. It may not if the directory is unsafe.
    pub fn allows_run(&self) -> bool {
        matches!(self, Self::Unusable { .. })
    }

    /// Returns a hint for the user.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotPrivate { .. } => {
                "use --cache-dir with a directory that does not exist yet; it is created for this user alone"
                    .to_owned()
            }
            Self::Unusable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "create its parent directory, or use --cache-dir with a directory on a disk of this node"
                    .to_owned()
            }
            Self::Unusable { .. } => {
                "use --cache-dir with a directory on a writable disk of this node that has free space"
                    .to_owned()
            }
        })
    }
}

/// The reason that a content is not stored. The original is read instead.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The content does not fit in the limit beside the objects that are in use.
    #[error("the cache is full")]
    Full,
    /// The file could not be created, or an unused object could not be removed.
    #[error("cannot write to the cache")]
    Failed(#[source] io::Error),
}
