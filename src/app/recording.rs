//! Recordings by name: a file, or `-` for standard input.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::wording::count;
use super::{Failure, Observer};
use compat_trace::{Ending, ReadError, Reader, Runs, Survey};

/// The number of bytes that are read at once.
const BLOCK: usize = 1 << 17;

/// Opens a recording, compressed or not, and reads its header.
///
/// # Errors
///
/// If it cannot be read or is not a recording.
pub fn open(path: &Path) -> Result<Reader<'static>, Failure> {
    Reader::new(name(path), input(path)?).map_err(|error| failure(&error))
}

/// Checks that all inputs are recordings before they are used. Inputs that are not files cannot be read twice, so
/// they are skipped.
///
/// # Errors
///
/// As [`open`].
pub fn open_all(paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        if *path != Path::new("-") && (path.is_file() || !path.exists()) {
            open(path)?;
        }
    }
    Ok(())
}

/// Reads and merges recordings of runs. Returns `None` if there are no recordings.
///
/// # Errors
///
/// If one cannot be read or is not a recording.
pub fn read_runs(recordings: &[PathBuf], observer: &dyn Observer) -> Result<Option<Runs>, Failure> {
    let mut runs = Runs::default();
    for path in recordings {
        let mut reader = open(path)?;
        let cut = runs.cut;
        runs.add(&mut reader).map_err(|error| failure(&error))?;
        if reader.ending() == Some(&Ending::Cut) {
            let name = name(path);
            observer.warn(&format!(
                "{name} has no last line: the run was cut off and may have loaded more files"
            ));
        }
        warn_of_unknown(path, reader.unknown(), observer);
        let consequence = "the files that they loaded are not in the specification";
        warn_of_cut_names(path, runs.cut - cut, consequence, observer);
    }
    Ok((!recordings.is_empty()).then_some(runs))
}

/// Returns the merged facts of all recordings.
///
/// # Errors
///
/// If one cannot be read or is not a recording.
pub fn survey(recordings: &[PathBuf], observer: &dyn Observer) -> Result<Survey, Failure> {
    let mut survey = Survey::default();
    for path in recordings {
        add(&mut survey, path, open(path)?, observer)?;
    }
    Ok(survey)
}

/// Adds the facts of one recording.
///
/// # Errors
///
/// If it cannot be read.
pub fn add(
    survey: &mut Survey,
    path: &Path,
    reader: Reader<'_>,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    survey.add(reader).map_err(|error| failure(&error))?;
    if let Some(run) = survey.runs.last() {
        warn_of_missing(path, &run.ending, run.unknown, observer);
        let consequence = "paths with the same ends and length count as one";
        warn_of_cut_names(path, run.cut, consequence, observer);
    }
    Ok(())
}

/// Warns about the missing parts of a recording: the events after it was cut off, and the `unknown` events of
/// kinds that only a newer program understands.
pub fn warn_of_missing(path: &Path, ending: &Ending, unknown: u64, observer: &dyn Observer) {
    if *ending == Ending::Cut {
        let name = name(path);
        observer.warn(&format!("{name} is cut off: it has no last line, so later events are missing"));
    }
    warn_of_unknown(path, unknown, observer);
}

fn warn_of_unknown(path: &Path, number: u64, observer: &dyn Observer) {
    if number > 0 {
        let what = "ignored, of kinds that only a newer compat understands";
        observer.warn(&format!("{}: {} {what}", name(path), count(number, "event")));
    }
}

/// Warns about names that are cut. `consequence` is the effect on the result.
fn warn_of_cut_names(path: &Path, number: u64, consequence: &str, observer: &dyn Observer) {
    if number > 0 {
        let have = if number == 1 { "has" } else { "have" };
        let events = count(number, "event");
        let what = "a path or program that was too long to be recorded completely";
        observer.warn(&format!("{}: {events} {have} {what}: {consequence}", name(path)));
    }
}

/// Returns whether a document begins like a recording, plain or compressed.
pub fn is_recording(bytes: &[u8]) -> bool {
    // The beginning of a compressed recording is enough.
    Reader::new("", bytes).is_ok()
}

/// Returns the name of an input in messages.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Converts the error of a recording that could not be read.
pub fn failure(error: &ReadError) -> Failure {
    let failure = Failure::undecided(error);
    match error {
        ReadError::Foreign { .. } => {
            failure.with_hint("to make a recording, run `compat record -o run.jsonl -- COMMAND`".to_owned())
        }
        ReadError::Line { .. } | ReadError::LongLine { .. } | ReadError::AfterEnd { .. } => {
            failure.with_hint("the file was damaged or edited: record the run again".to_owned())
        }
        _ => failure,
    }
}

/// Opens a file or standard input.
///
/// # Errors
///
/// If the file cannot be opened.
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
        insta::assert_snapshot!(message("/none"), @"could not read /none: No such file or directory");
        insta::assert_snapshot!(message("/"), @"could not read /: Is a directory");
        insta::assert_snapshot!(message("/dev/null"), @"/dev/null is not a recording: it is empty");
    }
}
