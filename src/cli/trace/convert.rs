//! `compat trace convert`.

use std::path::PathBuf;

use super::sink::{Fault, Sink};
use crate::app::{Failure, recording};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit};
use compat_trace::{Ending, Format, ReadError, Reader, Writer};

/// Write a recording in another format, or compress it
///
/// A text log of compat-lib cannot be converted to a recording: it lacks the process and user of each event, whether a
/// lookup failed, and the flags of an open.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat trace convert --to jsonl --compress -o run.jsonl.zst run.jsonl
  compat trace convert --to jsonl run.jsonl.zst | jq .
  compat trace convert --to compat-lib -o run.log run.jsonl")]
pub(super) struct Arguments {
    /// Recording to convert
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Write in FORMAT
    #[arg(long, value_name = "FORMAT")]
    to: To,

    /// Compress with zstd
    #[arg(long)]
    compress: bool,

    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum To {
    Jsonl,
    CompatLib,
    Perfetto,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the recording cannot be read or the result cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let mut reader = recording::open(&arguments.run)?;
    let inputs = std::slice::from_ref(&arguments.run);
    let sink = Sink::open(arguments.output.as_deref(), arguments.compress, inputs)?;
    let format = match arguments.to {
        To::Jsonl => Format::Jsonl,
        To::CompatLib => Format::CompatLib,
        To::Perfetto => Format::Perfetto,
    };
    sink.fill(|sink| write(&mut reader, sink, format))?;
    if let Some(ending) = reader.ending() {
        recording::warn_of_missing(&arguments.run, ending, reader.unknown(), &Display::new(context));
    }
    Ok(Exit::Success)
}

fn write(reader: &mut Reader<'_>, sink: &mut Sink, format: Format) -> Result<(), Fault> {
    let unread = |error: ReadError| Fault::Other(recording::failure(&error));
    let mut writer = Writer::new(sink, format, reader.header())?;
    let mut last = 0;
    while let Some(event) = reader.read_event().map_err(unread)? {
        writer.event(&event)?;
        last = event.t;
    }
    match reader.ending() {
        Some(Ending::Whole(end)) => writer.end_as(end, last)?,
        _ => writer.cut(last)?,
    }
    Ok(())
}
