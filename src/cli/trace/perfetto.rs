//! `compat trace perfetto`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::sink::{Fault, Sink};
use crate::app::{Failure, recording};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit};
use compat_trace::{Ending, MOST_SPACES, ReadError, Spaces, Tracks};

/// Write a trace for Perfetto's viewer from one or several recordings
///
/// Each open is a slice from open to close. It is on the track of its thread, or on an additional track if several
/// files are open at once. Misses and changes are instants. All recordings start at 0. From the second recording on,
/// process numbers are raised by multiples of 4194304 to keep them distinct.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat trace perfetto -o trace.json run.jsonl
  compat trace perfetto monday.jsonl tuesday.jsonl.zst > trace.json

Open the trace in https://ui.perfetto.dev. It stays in the browser.")]
pub(super) struct Arguments {
    /// Recordings to read
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If a recording cannot be read or the trace cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let count = u32::try_from(arguments.runs.len()).ok().filter(|count| *count < MOST_SPACES);
    let Some(count) = count else {
        return Err(Failure::usage(format!("a trace can hold fewer than {MOST_SPACES} recordings")));
    };
    // Read all headers first, so that an error does not empty an existing file.
    recording::open_all(&arguments.runs)?;
    let sink = Sink::open(arguments.output.as_deref(), false, &arguments.runs)?;
    sink.fill(|sink| {
        let mut spaces = Spaces::new(count);
        for (place, path) in (0..).zip(&arguments.runs) {
            add(sink, &mut spaces, place, path, count > 1, context)?;
        }
        Ok(sink.write_all(b"\n]\n")?)
    })?;
    Ok(Exit::Success)
}

fn add(
    sink: &mut Sink,
    spaces: &mut Spaces,
    place: u32,
    path: &Path,
    several: bool,
    context: &Context,
) -> Result<(), Fault> {
    let unread = |error: ReadError| Fault::Other(recording::failure(&error));
    let mut reader = recording::open(path)?;
    let mut tracks = Tracks::new(place, several.then(|| recording::name(path)));
    tracks.begin(sink, reader.header())?;
    let mut last = 0;
    while let Some(event) = reader.read_event().map_err(unread)? {
        tracks.event(sink, spaces, &event)?;
        last = event.t;
    }
    match reader.ending() {
        Some(Ending::Whole(end)) => tracks.end(sink, spaces, end.t.unwrap_or(last), Some(end))?,
        _ => tracks.end(sink, spaces, last, None)?,
    }
    if let Some(ending) = reader.ending() {
        recording::warn_of_missing(path, ending, reader.unknown(), &Display::new(context));
    }
    Ok(())
}
