//! A slow shared file system for tests: a FUSE loopback of a directory. Each request waits for a delay, a limit
//! of requests a second applies to all, and every request is counted by kind and path.
//!
//! It models the client of a network file system as its users see it. The kernel keeps names and attributes
//! according to a [`Profile`]. It keeps the pages of a file between opens while size and times stay the same, as
//! NFS and Lustre do. Negative entries are not kept. The attributes are those of the source, with inode
//! numbers and nanoseconds. Permissions are checked by the kernel (`default_permissions`), for all users.
//!
//! The crate is built on `fuser` and shares no code with the mirror, so that a fault of one of them shows.
//!
//! # Use in a suite
//!
//! A share is a process, so that a test can stop or kill it. [`SlowShare::start`] starts the calling program
//! again. Its `main` must therefore begin with [`serve_if_asked`].
//!
//! # Limits
//!
//! The share does not cross mounts below its source. It asks the kernel for no locks, so locks are local.

#![warn(missing_docs)]
#![warn(unreachable_pub)]

mod attribute;
mod change;
mod control;
mod counters;
mod file_system;
mod handle;
mod node;
mod operation;
mod pace;
mod serve;
mod share;
pub mod workload;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use control::ask;
pub use counters::{Counts, PathCounts};
pub use operation::Operation;
pub use serve::{Error, serve, serve_if_asked};
pub use share::{SlowShare, StartError};

/// The options of a share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The directory that is shown again.
    pub source: PathBuf,
    /// The directory in which it is shown.
    pub mountpoint: PathBuf,
    /// The wait before each request. It does not apply to closing and forgetting.
    pub delay: Duration,
    /// The requests a second over all callers, at most. 0 means without limit.
    pub limit: f64,
    /// The time for which the kernel keeps names and attributes.
    pub profile: Profile,
    /// Whether writing fails with `EROFS`.
    pub read_only: bool,
    /// Whether the kernel checks access control lists. It asks for them with `GETXATTR`, which counts.
    pub acl: bool,
    /// Whether nobody checks permissions. The kernel then asks for no attributes before an open or a look-up, like a
    /// client that holds locks on them. Only root may use such a share.
    pub unchecked: bool,
    /// The number of requests that are served at once. Further ones wait.
    pub threads: usize,
    /// The file that gets the counters on `SIGUSR1` and at the end.
    pub counters: Option<PathBuf>,
    /// The socket for commands: see [`ask`].
    pub control: Option<PathBuf>,
}

impl Options {
    /// Returns the options of a share without delay and limit, in the profile of Lustre.
    pub fn new(source: impl Into<PathBuf>, mountpoint: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            mountpoint: mountpoint.into(),
            delay: Duration::ZERO,
            limit: 0.0,
            profile: Profile::Lustre,
            read_only: false,
            acl: false,
            unchecked: false,
            threads: 64,
            counters: None,
            control: None,
        }
    }
}

/// The caching of a network file system's client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// Neither names nor attributes are kept.
    #[default]
    Lustre,
    /// Names and attributes are kept for 3 s, the least time of NFS (`acregmin` of nfs(5)).
    Nfs,
}

impl Profile {
    pub(crate) fn lifetime(self) -> Duration {
        match self {
            Self::Lustre => Duration::ZERO,
            Self::Nfs => Duration::from_secs(3),
        }
    }
}
