//! A recording as it is named on the command line: a file, or `-` for standard input.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::cli::{Context, Failure};
use compat_trace::{ReadError, Reader};

/// How many bytes are read at once.
const BLOCK: usize = 1 << 17;

/// Opens a recording, compressed or not, and reads its header.
///
/// # Errors
///
/// Where it cannot be read or is no recording.
pub fn open(path: &Path) -> Result<Reader<'static>, Failure> {
    Reader::new(name(path), input(path)?).map_err(|error| failure(&error))
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

/// How it is called in messages.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Tells how many events of a recording were passed over, because only a newer program knows their kinds.
pub fn tell_unknown(path: &Path, count: u64, context: &Context) {
    if count > 0 {
        let what = "passed over, of kinds that only a newer compat knows";
        context.warn(&format!("{}: {} {what}", name(path), super::wording::count(count, "event")));
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
    let failure = Failure::undecided(error);
    match error {
        ReadError::Foreign { .. } => {
            failure.with_hint("`compat record -o run.jsonl -- COMMAND` makes one".to_owned())
        }
        _ => failure,
    }
}

/// The bytes of a file or of standard input.
///
/// # Errors
///
/// Where the file cannot be opened.
pub fn input(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::with_capacity(BLOCK, std::io::stdin())));
    }
    let failed = |source| ReadError::Read { file: name(path), source };
    let file = compat_sys::open_stream(path).map_err(|source| failure(&failed(source)))?;
    Ok(Box::new(BufReader::with_capacity(BLOCK, file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        let message = |path: &str| open(Path::new(path)).unwrap_err().message;
        insta::assert_snapshot!(message("/none"), @"could not read /none: No such file or directory (os error 2)");
        insta::assert_snapshot!(message("/"), @"could not read /: Is a directory (os error 21)");
        insta::assert_snapshot!(message("/dev/null"), @"/dev/null is not a recording: it is empty");
    }
}
