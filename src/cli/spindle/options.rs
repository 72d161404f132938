//! The options of the cache, for a run and for a session.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use compat_mirror::enter::{ExternalPlace, Mirrored, Share, Task};
use compat_mirror::spindle::store::StoreOptions;
use compat_mirror::spindle::{Coherence, Options};

use crate::app::Failure;
use crate::app::spindle::{preload, share, space};
use crate::cli::Context;
use crate::cli::in_mirror::globs;
use crate::cli::progress::Display;
use crate::cli::quantity::{SizeOrShare, parse_duration, parse_size_or_share};

/// The cache and the directories that it serves.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Cache options")]
pub(super) struct CacheArguments {
    /// Cache the directory PATH too (can be repeated)
    ///
    /// File systems of the network and of FUSE are cached by default. / stands for all file systems except for those of
    /// the kernel and those in memory.
    #[arg(long, value_name = "PATH")]
    pub share: Vec<PathBuf>,

    /// Do not cache paths that match GLOB (can be repeated)
    ///
    /// "*" matches within a directory, "**" across directories.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Set when changes of other nodes are seen: never, after the revalidation time, or at each use
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    coherence: CoherenceMode,

    /// Confirm facts again after this time, in the mode close-to-open: a number with ms, s, m or h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    revalidate: Duration,

    /// Put the cache into DIR, a private directory of this user [default: compat-spindle-UID in $TMPDIR or /tmp]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Use at most SIZE of the disk: bytes, a number with K, M, G or T, or percent of the free space [default: 10%]
    #[arg(long, value_name = "SIZE", value_parser = parse_size_or_share)]
    cache_size: Option<SizeOrShare>,

    /// Keep the cache for the next run
    #[arg(long)]
    keep: bool,

    /// Read files ahead: a path, a glob, or @FILE for a list or a recording (can be repeated)
    ///
    /// A recording lists the files of its run in the order of their first opens.
    #[arg(long, value_name = "LIST")]
    preload: Vec<OsString>,

    /// Mount the cached directories read-only
    #[arg(long)]
    read_only: bool,

    /// Also mount the mirror at DIR, for other processes
    ///
    /// DIR must be empty, or must not exist.
    #[arg(long, value_name = "DIR")]
    pub mount_path: Option<PathBuf>,
}

/// The value of `--coherence`, see [`Coherence`].
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CoherenceMode {
    /// The share looks as it did at the first use
    Session,
    /// A change is seen after --revalidate
    #[default]
    CloseToOpen,
    /// A change is seen at once: only contents are kept
    Strict,
}

impl CacheArguments {
    /// The parts of the file system that are cached. Called by its old name, the program caches everything if nothing
    /// else is to be cached.
    ///
    /// # Errors
    ///
    /// If a directory of `--share` does not exist.
    pub(super) fn shares(&self, context: &Context) -> Result<(Mirrored, Vec<Share>), Failure> {
        let wanted = |further: &[PathBuf]| Mirrored::Shares { network: true, further: further.to_vec() };
        let (mut mirrored, mut shares) = share::of_this_host(&wanted(&self.share))?;
        if shares.is_empty() && context.old_name {
            (mirrored, shares) = share::of_this_host(&wanted(&["/".into()]))?;
        }
        Ok((mirrored, shares))
    }

    /// The options of the engine. `directory` is the working directory of the command.
    ///
    /// # Errors
    ///
    /// If an option is invalid, or a list cannot be read.
    pub(super) fn options(
        &self,
        task: Task,
        directory: Option<PathBuf>,
        mirrored: Mirrored,
        place: ExternalPlace,
        context: &Context,
    ) -> Result<Options, Failure> {
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let wanted = preload::read(&self.preload, &here, &Display::new(context))?;
        Ok(Options {
            task,
            shares: mirrored,
            directory,
            read_only: self.read_only,
            place,
            coherence: match self.coherence {
                CoherenceMode::Session => Coherence::Session,
                CoherenceMode::CloseToOpen => Coherence::CloseToOpen(self.revalidate),
                CoherenceMode::Strict => Coherence::Strict,
            },
            exclude: Some(globs(&self.exclude)?).filter(|globs| !globs.is_empty()),
            store: self.store()?,
            preload: preload::files(wanted).collect(),
            log: None,
            rank: None,
        })
    }

    fn store(&self) -> Result<StoreOptions, Failure> {
        let limit = match self.cache_size {
            None => None,
            Some(SizeOrShare::Bytes(bytes)) => Some(bytes),
            Some(SizeOrShare::Percent(percent)) => {
                Some(space::percent_of_free(self.cache_dir.as_deref(), percent)?)
            }
        };
        let directory = self.cache_dir.as_deref().map(std::path::absolute).transpose();
        let directory = directory.map_err(|error| Failure::undecided(&error))?;
        Ok(StoreOptions { directory, limit, keep: self.keep })
    }
}
