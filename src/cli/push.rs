//! `compat push`: stores a specification as an artifact under its own name.

use std::path::PathBuf;

use super::annotation::parse_annotation;
use super::registry_options::RegistryOptions;
use super::source::parse_location;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::push::{PushOptions, push};
use crate::app::target::of_short_name;

/// Push a specification to a registry or an image layout
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # push compat.json
  compat push ghcr.io/org/app-compat:1.0
  compat gen ./app | compat push ghcr.io/org/app-compat:1.0 -
  # into an image layout, without a registry
  compat push oci:artifacts:app compat.json

The same specification has the same digest, and pushing it again sends nothing. A different specification takes \
over the tag of a compatibility artifact. It takes over the tag of anything else only with --replace. If \
SOURCE_DATE_EPOCH is set, it becomes the creation time of the artifact.")]
pub struct PushArguments {
    /// The target: HOST/NAME:TAG or oci:DIR:TAG (without a tag, only the digest finds it)
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// The specification (- for standard input)
    #[arg(value_name = "FILE", default_value = "compat.json")]
    file: PathBuf,

    /// Add an annotation to the artifact (can be repeated)
    #[arg(long, short = 'a', value_name = "KEY=VALUE", value_parser = parse_annotation)]
    annotation: Vec<(String, String)>,

    /// Include this recording in compressed form (- for standard input, can be repeated)
    #[arg(long, value_name = "RUN")]
    recording: Vec<PathBuf>,

    /// Take over the tag even if it names something other than a compatibility artifact, such as an image
    #[arg(long)]
    replace: bool,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat push`.
///
/// # Errors
///
/// If the document is not a specification, or the registry or layout does not accept it.
pub(super) fn run(arguments: &PushArguments, context: &Context) -> Result<Exit, Failure> {
    let location = parse_location(&arguments.reference)?;
    let session = arguments.registry.session(context);
    let options = PushOptions {
        file: arguments.file.clone(),
        annotations: arguments.annotation.clone(),
        recordings: arguments.recording.clone(),
        replace: arguments.replace,
    };
    let report = push(&location, &options, &session)
        .map_err(|failure| of_short_name(&arguments.reference, &location, false, failure))?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => {
            let note = if report.sent { "" } else { " (already there, nothing was sent)" };
            let shown = location.with_digest(&report.digest);
            let name = location.tag().map(|_| format!(" as {location}")).unwrap_or_default();
            context.print(&format!("pushed {shown}{name}{note}\n"))?;
        }
    }
    Ok(Exit::Success)
}
