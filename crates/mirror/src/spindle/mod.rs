//! Serves a slow file system from a cache on the node: each file is read once, and known names are answered without
//! asking.
//!
//! A command runs in a mirror of the slow volumes, the *shares* ([`run`]). Names, attributes, links and listings are
//! kept in memory (`mirror::cache`), contents on the node's disk ([`store`]).
//!
//! - [`figures`]: the counters of a run, and the document that reports them;
//! - [`foresee`]: files that are read ahead;
//! - [`index`]: facts about files, kept for the next run;
//! - [`store`]: the contents on the node's disk, named by their SHA-256 digest.

mod ahead;
mod contents;
pub mod figures;
pub mod foresee;
pub mod index;
mod service;
mod session;
mod share_cache;
pub mod store;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock};

use globset::GlobSet;

use crate::enter::{self, LeadSocket, Mirrored, Outcome, Ready, Task};
pub use crate::mirror::Coherence;
use crate::record;
use contents::Contents;
use figures::{Counters, Figures};
use foresee::Foresee;
use index::Index;
use service::CachingService;
pub use session::start;
use share_cache::SharedParts;
use store::{Store, StoreError, StoreOptions};

/// Options of a run with a cache.
#[derive(Debug)]
pub struct Options {
    /// The program and its arguments, or waiting for others to enter.
    pub task: Task,
    /// The shares.
    pub shares: Mirrored,
    /// The working directory. The default is the current directory.
    pub directory: Option<PathBuf>,
    /// Whether the shares are mounted read-only.
    pub read_only: bool,
    /// The place at which other processes reach the mirror.
    pub place: enter::ExternalPlace,
    /// How long facts stay valid.
    pub coherence: Coherence,
    /// The paths that are always requested from the share.
    pub exclude: Option<GlobSet>,
    /// The cache on the node's disk.
    pub store: StoreOptions,
    /// The files that are read ahead, in order.
    pub preload: Vec<PathBuf>,
    /// The log of events, if one is written.
    pub log: Option<Log>,
    /// The rank of the command in a parallel job.
    pub rank: Option<u32>,
}

/// A log of events, as `compat record` writes it.
#[derive(Debug)]
pub struct Log {
    /// The path of the log.
    pub out: PathBuf,
    /// The format of the log.
    pub format: compat_trace::Format,
}

/// The result of a run.
#[derive(Debug)]
pub struct Run {
    /// The end of the command.
    pub outcome: Outcome,
    /// The figures, unless the server was killed.
    pub figures: Option<Figures>,
    /// The log, if one was written.
    pub log: Option<File>,
    /// The error that left the log incomplete, if any.
    pub unwritten: Option<io::Error>,
}

/// The reason for not running the command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Other users could read or change the cache.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be opened, or the mirror could not be created.
    #[error(transparent)]
    Record(#[from] record::Error),
}

impl Error {
    /// Returns a hint for the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Record(error) => error.hint(),
        }
    }
}

/// Messages during a run.
#[derive(Debug)]
pub enum News<'a> {
    /// The mirror can be entered.
    Ready(&'a Ready<'a>),
    /// These processes came from outside and are still in the mirror. They receive SIGTERM.
    StillInside(&'a [u32]),
    /// Some ranks of the node did not come.
    RanksMissing {
        /// The number of ranks that came, including the lead.
        came: u32,
        /// The number of ranks of the node.
        expected: u32,
    },
    /// The cache was opened.
    Cache {
        /// Its directory.
        directory: &'a std::path::Path,
        /// The most bytes on the disk.
        limit: u64,
    },
    /// Something made the cache less useful.
    Warning(&'a Warning),
}

/// Something that made a run slower, but not wrong.
#[derive(Debug)]
pub enum Warning {
    /// There is no cache, so contents are read from the share.
    NoCache(StoreError),
    /// Another run uses the kept objects, so this run has a cache of its own, which is removed at its end.
    KeptInUse,
    /// The facts of the last run cannot be used.
    Index(index::Warning),
    /// The cache had no room for this number of files and ranges.
    Full(u64),
    /// The cache could not be read or written this number of times.
    Failed(u64),
    /// This number of objects did not have their digest.
    Corrupt(u64),
    /// The share did not answer in time this number of times. The last known facts were served.
    Stalled(u64),
}

impl Warning {
    /// Returns the warnings that follow from the figures of a run.
    fn of(figures: &Figures) -> Vec<Self> {
        let originals = &figures.originals;
        let all = [
            (originals.full, Self::Full as fn(u64) -> Self),
            (originals.failed, Self::Failed),
            (originals.corrupt, Self::Corrupt),
            (figures.waits.stalls, Self::Stalled),
        ];
        all.into_iter().filter(|(number, _)| *number > 0).map(|(number, warning)| warning(number)).collect()
    }
}

/// Runs the command in a mirror of the shares, which is served from the cache. Ranks and members that connect to the
/// socket share the mirror. `tell` is called in this process.
///
/// # Errors
///
/// If the cache is unsafe, or the log or the mirror cannot be created. In this case no command was run.
pub fn run(
    options: &Options,
    socket: Option<LeadSocket>,
    foresee: Option<Arc<dyn Foresee>>,
    tell: &mut dyn FnMut(&News<'_>),
) -> Result<Run, Error> {
    let (parts, depth) = parts(options, foresee, tell)?;
    let recorded = options.log.as_ref().map(|log| recorded(options, log));
    let opened = recorded.as_ref().map(record::OpenLog::new).transpose()?;
    let mut ignored = |_: &record::News<'_>| {};
    let recording = opened.as_ref().map(|opened| opened.service(&mut ignored)).transpose()?;
    let mut service = CachingService::new(parts, options.preload.clone(), recording, depth, tell);
    let entering = enter::Options {
        task: options.task.clone(),
        mirrored: options.shares.clone(),
        directory: options.directory.clone(),
        read_only: options.read_only,
        place: options.place.clone(),
    };
    let outcome = enter::run(&entering, socket, &mut service);
    let figures = service.figures.take();
    drop(service);
    let (log, unwritten, outcome) = match opened {
        Some(opened) => {
            let recorded = opened.finish(outcome)?;
            (Some(recorded.log), recorded.unwritten, recorded.outcome)
        }
        None => (None, None, outcome.map_err(record::Error::from)?),
    };
    Ok(Run { outcome, figures, log, unwritten })
}

/// Returns the options of the recorder.
fn recorded(options: &Options, log: &Log) -> record::Options {
    record::Options {
        task: options.task.clone(),
        directory: options.directory.clone(),
        read_only: options.read_only,
        counts_bytes: false,
        place: options.place.clone(),
        rank: options.rank,
        out: log.out.clone(),
        format: log.format,
        selection: record::Selection::default(),
    }
}

/// Opens the cache, and the facts of earlier runs. Returns the stacking depth of the cache's file system, too.
fn parts(
    options: &Options,
    foresee: Option<Arc<dyn Foresee>>,
    tell: &mut dyn FnMut(&News<'_>),
) -> Result<(Arc<SharedParts>, u32), Error> {
    let counters = Arc::new(Counters::default());
    let store = match Store::open(&options.store) {
        Ok(store) => Some(store),
        Err(error) if error.allows_run() => {
            tell(&News::Warning(&Warning::NoCache(error)));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let mut index = None;
    let mut depth = 0;
    if let Some(store) = &store {
        tell(&News::Cache { directory: store.path(), limit: store.usage().limit });
        depth = store.depth();
        match store.kept() {
            Some(directory) => {
                let (loaded, warning) = Index::load(directory);
                warning.into_iter().for_each(|warning| tell(&News::Warning(&Warning::Index(warning))));
                index = Some(RwLock::new(loaded));
            }
            None if options.store.keep => tell(&News::Warning(&Warning::KeptInUse)),
            None => {}
        }
    }
    let contents = Contents::new(store, options.coherence, Arc::clone(&counters));
    let parts = SharedParts {
        contents,
        counters,
        coherence: options.coherence,
        exclude: options.exclude.clone(),
        index,
        foresee,
        ahead: OnceLock::new(),
    };
    Ok((Arc::new(parts), depth))
}
