//! `compat push`: a specification becomes an artifact under a name of its own.

use std::path::PathBuf;

use super::annotation::parse_annotation;
use super::registry_options::RegistryOptions;
use super::source::parse_location;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::push::{PushOptions, push};

/// Push a specification to a registry or an image layout
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # push compat.json
  compat push ghcr.io/org/app-compat:1.0
  compat gen ./app | compat push ghcr.io/org/app-compat:1.0 -
  # into an image layout, no registry needed
  compat push oci:artifacts:app compat.json

The same document pushed twice has the same digest, and nothing is sent again. Another one takes the tag \
over from a compatibility artifact, and from nothing else without --replace. SOURCE_DATE_EPOCH, where \
it is set, becomes the artifact's creation time.")]
pub struct PushArguments {
    /// Where to: HOST/NAME:TAG or oci:DIR:TAG (without a tag: found by its digest only)
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// The specification; - is standard input
    #[arg(value_name = "FILE", default_value = "compat.json")]
    file: PathBuf,

    /// Add an annotation to the artifact; may be given more than once
    #[arg(long, short = 'a', value_name = "KEY=VALUE", value_parser = parse_annotation)]
    annotation: Vec<(String, String)>,

    /// Let a recording (`compat record`) travel with it, compressed; - is standard input; may be given more than once
    #[arg(long, value_name = "RUN")]
    recording: Vec<PathBuf>,

    /// Push also if the tag names something else than a compatibility artifact, such as an image, and take the tag away
    /// from it
    #[arg(long)]
    replace: bool,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat push`.
///
/// # Errors
///
/// If the document is not a specification, or the store does not take it.
pub(super) fn run(arguments: &PushArguments, context: &Context) -> Result<Exit, Failure> {
    let location = parse_location(&arguments.reference)?;
    let session = arguments.registry.session(context);
    let options = PushOptions {
        file: arguments.file.clone(),
        annotations: arguments.annotation.clone(),
        recordings: arguments.recording.clone(),
        replace: arguments.replace,
    };
    let report = push(&location, &options, &session)?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => {
            let note = if report.sent { "" } else { " (it was there already: nothing was sent)" };
            let shown = location.with_digest(&report.digest);
            let name = location.tag().map(|_| format!(" as {location}")).unwrap_or_default();
            context.print(&format!("pushed {shown}{name}{note}\n"))?;
        }
    }
    Ok(Exit::Success)
}
