//! A recording as it is named on the command line: a file, or `-` for standard input.

use std::path::{Path, PathBuf};

use crate::app::{Failure, recording};
use crate::cli::Context;
use compat_trace::{ReadError, Reader};

pub use crate::app::recording::name;

/// Opens a recording, compressed or not, and reads its header.
///
/// # Errors
///
/// Where it cannot be read or is no recording.
pub fn open(path: &Path) -> Result<Reader<'static>, Failure> {
    recording::open(path)
}

/// Makes sure that all of these are recordings, before something is done with them. What is no file cannot
/// be read twice, and is not looked at.
///
/// # Errors
///
/// As [`open`].
pub fn open_all(paths: &[PathBuf]) -> Result<(), Failure> {
    let mut files = paths.iter().filter(|path| path.is_file() || !path.exists());
    files.try_for_each(|path| if *path == Path::new("-") { Ok(()) } else { open(path).map(drop) })
}

/// Tells how many events of a recording were passed over, because only a newer program knows their kinds.
pub fn tell_unknown(path: &Path, count: u64, context: &Context) {
    if count > 0 {
        let what = "passed over, of kinds that only a newer compat knows";
        context.warn(&format!("{}: {} {what}", name(path), crate::app::wording::count(count, "event")));
    }
}

/// Warns of names that are not whole: `consequence` says what follows.
pub fn warn_of_cut(path: &Path, count: u64, consequence: &str, context: &Context) {
    if count > 0 {
        let what = "events have a path or program that is too long to be recorded whole";
        context.warn(&format!("{}: {count} {what}: {consequence}", name(path)));
    }
}

/// What could not be read of a recording.
pub fn failure(error: &ReadError) -> Failure {
    recording::failure(error)
}
