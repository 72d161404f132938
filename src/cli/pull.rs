//! `compat pull`: writes the specification of an artifact or image to a file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::source::SourceOptions;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::pull::{PullOptions, PullReport, pull};
use crate::app::target::of_short_name;
use compat_oci::{Error, Platform};

/// Fetch the specification of an artifact or an image
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # write compat.json
  compat pull ghcr.io/org/app-compat:1.0
  # print the specification that is attached to an image
  compat pull ghcr.io/org/app:1.0 -o -
  compat pull oci:artifacts:app -o app.json
  # with the recordings of the artifact
  compat pull --recordings runs ghcr.io/org/app:1.0

An existing file is replaced in one step, so readers never see a partial file. A recording keeps the name that its \
publisher gave it (NAME.jsonl.zst), and never replaces another file.")]
pub struct PullArguments {
    /// The artifact or image: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// Write the specification to this file (- for standard output)
    #[arg(long, short, value_name = "FILE", default_value = "compat.json")]
    output: PathBuf,

    /// Fetch the recordings of the artifact too, into DIR
    #[arg(long, value_name = "DIR", conflicts_with = "offline")]
    recordings: Option<PathBuf>,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    source: SourceOptions,
}

/// Runs `compat pull`.
///
/// # Errors
///
/// If the artifact does not exist or cannot be fetched, or the file cannot be written.
pub(super) fn run(arguments: &PullArguments, context: &Context) -> Result<Exit, Failure> {
    let location = arguments.source.target.location(&arguments.reference)?;
    let session = arguments.source.session(context);
    let options = PullOptions {
        find: arguments.source.find_options(Platform::host),
        output: Some(arguments.output.clone()).filter(|output| output != Path::new("-")),
        recordings: arguments.recordings.clone(),
    };
    let report = pull(&location, &options, &session)
        .map_err(|failure| of_short_name(&arguments.reference, &location, false, failure))?;
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
        let noun = if count == 1 { "recording" } else { "recordings" };
        let _ = writeln!(text, "the artifact contains {count} {noun}: fetch with --recordings DIR");
    }
    text
}

/// Writes bytes to standard output unchanged. A closed pipe is not an error.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::from(&Error::io("write", "standard output")(error)))
        }
        _ => Ok(()),
    }
}
