//! `compat pull`: the specification of an artifact or an image, as a file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::source::SourceOptions;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::pull::{PullOptions, PullReport, pull};
use compat_oci::{Error, Platform};

/// Fetch the specification of an artifact, or the one attached to an image
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # into compat.json
  compat pull ghcr.io/org/app-compat:1.0
  # what is attached to an image, to standard output
  compat pull ghcr.io/org/app:1.0 -o -
  compat pull oci:artifacts:app -o app.json
  # with the recordings that travel with it
  compat pull --recordings runs ghcr.io/org/app:1.0

An existing file is replaced at once: nobody ever sees a part of it. A recording has the name that its publisher gave \
it (NAME.jsonl.zst), and replaces no other file.")]
pub struct PullArguments {
    /// An artifact, or an image with one attached: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// Where the specification goes; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "compat.json")]
    output: PathBuf,

    /// Fetch the recordings that travel with the artifact, too, into DIR
    #[arg(long, value_name = "DIR", conflicts_with = "offline")]
    recordings: Option<PathBuf>,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    source: SourceOptions,
}

/// Runs `compat pull`.
///
/// # Errors
///
/// If nothing is there, it cannot be fetched, or the file cannot be written.
pub(super) fn run(arguments: &PullArguments, context: &Context) -> Result<Exit, Failure> {
    let location = arguments.source.target.location(&arguments.reference)?;
    let session = arguments.source.session(context);
    let options = PullOptions {
        find: arguments.source.find_options(Platform::host),
        output: Some(arguments.output.clone()).filter(|output| output != Path::new("-")),
        recordings: arguments.recordings.clone(),
    };
    let report = pull(&location, &options, &session)?;
    if options.output.is_none() {
        print_bytes(&report.bytes)?;
        return Ok(Exit::Success);
    }
    match arguments.format {
        OutputFormat::Text => context.print(&render(&report, &options))?,
        OutputFormat::Json => context.print_json(&report)?,
    }
    Ok(Exit::Success)
}

fn render(report: &PullReport, options: &PullOptions) -> String {
    let mut text = format!("pulled {} into {}\n", report.origin, report.file);
    for path in &report.recordings {
        let _ = writeln!(text, "pulled a recording into {path}");
    }
    let count = report.carried;
    if options.recordings.is_none() && count > 0 {
        let noun = if count == 1 { "recording travels" } else { "recordings travel" };
        let _ = writeln!(text, "{count} {noun} with it: --recordings DIR fetches");
    }
    text
}

/// Writes bytes to standard output as they are. A closed pipe is no fault.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::from(&Error::io("write", "standard output")(error)))
        }
        _ => Ok(()),
    }
}
