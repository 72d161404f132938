//! The recording: what a run touched. One JSON object a line: a [`Header`], any number of [`Event`]s, an
//! [`End`] (`docs/recording.md` describes them for readers). No file system is touched here.

mod document;
mod name;
mod read;
mod run;
mod text;
mod write;

pub use document::{End, Event, Header, Kind, VERSION};
pub use name::Name;
pub use read::{Ending, Foreign, ReadError, Reader};
pub use run::{Opener, Runs, Seen};
pub use text::error_name;
pub use write::{Format, Writer};
