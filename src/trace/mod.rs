//! The recording: what a run touched. One JSON object a line: a [`Header`], any number of [`Event`]s, an
//! [`End`] (`docs/recording.md` describes them for readers). No file system is touched here.
//!
//! A [`Reader`] reads it, a [`Writer`] writes it in one of three formats; a [`Survey`] has what one or
//! several recordings touched, from which [`summary`], [`files`], [`libraries`], [`processes`] and [`difference`] are made.

mod activity;
mod asking;
mod compat_lib;
mod difference;
mod document;
mod files;
mod libraries;
#[cfg(test)]
pub mod made;
mod name;
mod perfetto;
mod processes;
mod read;
mod run;
mod run_set;
mod summary;
mod survey;
mod text;
mod write;

pub use activity::Activity;
pub use asking::is_library;
pub use difference::{Change, CountChange, Counts, Difference, Elsewhere, Outcome, PathOutcome, difference};
pub use document::{Cut, End, Event, Header, Kind, VERSION};
pub use files::{Order, TouchedFile, files};
pub use libraries::{Loaded, Place, Role, libraries};
pub use name::Name;
pub use perfetto::{MOST_SPACES, Spaces, Tracks};
pub use processes::{ProcessFacts, ProcessOrder, RankFacts, processes};
pub use read::{Ending, Foreign, ReadError, Reader};
pub use run::{HWCAPS, Lookups, Opener, Runs, Seen};
pub use summary::{
    FirstTouch, FolderMisses, FolderOpens, PathCounts, ProgramFacts, RunFacts, Summary, TouchTimes, summary,
};
pub use survey::{Process, Program, Run, Survey, Touched};
pub use text::error_name;
pub use write::{Format, Writer};
