//! A mirror of the file system through FUSE, commands that run inside it, and recordings of the files they touch.
//!
//! - [`mirror`]: a FUSE view of a root file system, with hooks for observers and for providers of file
//!   content;
//! - [`enter`]: a command in a mount namespace whose root is a mirror;
//! - [`record`]: mirror + command -> recording;
//! - [`spindle`]: mirror + command + a cache of a slow file system.
//!
//! ```standalone_crate
//! use compat_mirror::enter::{Outcome, ExternalPlace, Task};
//! use compat_mirror::record::{Options, Selection, record};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let options = Options {
//!     task: Task::Command(vec!["/bin/true".into()]),
//!     directory: None,
//!     read_only: false,
//!     counts_bytes: false,
//!     place: ExternalPlace::Nowhere,
//!     rank: None,
//!     out: directory.path().join("run.jsonl"),
//!     format: compat_trace::Format::Jsonl,
//!     selection: Selection::default(),
//! };
//! match record(&options, None, &mut |_| {}) {
//!     Ok(run) => assert!(matches!(run.outcome, Outcome::Ended(0))),
//!     // Without /dev/fuse, or without the right to mount, the command does not start.
//!     Err(error) => eprintln!("{error}"),
//! }
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]
#![warn(unreachable_pub)]

pub mod enter;
pub mod mirror;
pub mod record;
pub mod spindle;
