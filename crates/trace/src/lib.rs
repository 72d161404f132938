//! The recording of a run: the files that it touched. Each line is a JSON object: a [`Header`], any number of
//! [`Event`]s, and an [`End`] (`docs/recording-format.md` describes them for users). This crate does not access the file
//! system.
//!
//! ```
//! use compat_trace::{Reader, Survey, summary};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = br#"{"compat_recording":1,"command":["app"],"folder":"/","host":"node1","kernel":"6.12","started":0}
//! {"t":1000,"event":"open","path":"/etc/app.conf","pid":7,"tid":7,"ppid":1,"exe":"/bin/app","uid":0,"open":1}
//! {"end":"exited","code":0,"t":2000,"events":1,"dropped":0}
//! "#;
//! let mut survey = Survey::default();
//! survey.add(Reader::new("run.jsonl", &log[..])?)?;
//! assert_eq!(summary(&survey, 10).programs.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Reader`] reads a recording, and a [`Writer`] writes it in one of three formats. A [`Survey`] collects the
//! accesses of one or several recordings. [`summary`], [`files`], [`libraries`], [`processes`] and [`difference`] are
//! made from it. [`Requests`] counts the requests of each path, from which [`savings`] are made.

#![warn(missing_docs)]
#![warn(unreachable_pub)]

// The tests share a helper with other crates, which refers to this crate by its name.
#[cfg(test)]
extern crate self as compat_trace;

mod activity;
mod asking;
mod compat_lib;
mod difference;
mod document;
mod files;
mod libraries;
#[cfg(test)]
mod made;
mod name;
mod perfetto;
mod processes;
mod read;
mod run;
mod run_set;
mod savings;
mod summary;
mod survey;
mod text;
mod write;

pub use activity::Activity;
pub use asking::is_library;
pub use difference::{Change, CountChange, Counts, Difference, Elsewhere, Outcome, PathOutcome, difference};
pub use document::{Cut, End, Event, EventKind, Header, VERSION};
pub use files::{Order, TouchedFile, files};
pub use libraries::{Loaded, LoadedFile, Role, libraries};
pub use name::Name;
pub use perfetto::{MOST_SPACES, Spaces, Tracks};
pub use processes::{ProcessFacts, ProcessOrder, RankFacts, processes};
pub use read::{Ending, Foreign, ReadError, Reader};
pub use run::{HWCAPS, Lookups, Opener, Runs, Seen};
pub use savings::{FileSavings, Requests, Savings, ShareSavings, SizeSources, savings};
pub use summary::{
    DirectoryMisses, DirectoryOpens, FirstTouch, PathCounts, ProgramFacts, RunFacts, Summary, TouchTimes,
    summary,
};
pub use survey::{Process, Program, Run, Survey, Touched};
pub use text::error_name;
pub use write::{Format, Writer};
