//! A recording as it is named: a file, or `-` for standard input.

use std::io::{BufRead, BufReader};
use std::path::Path;

use super::Failure;
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

/// How it is called in messages.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
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
