//! `compat attach`: attaches a specification to an image as a referrer.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::annotation::parse_annotation;
use super::image::{self, DeriveOptions};
use super::registry_options::RegistryOptions;
use super::source::{parse_location, parse_platform};
use super::{Context, Exit, OutputFormat, failure};
use crate::app::Failure;
use crate::app::attach::{AttachOptions, Attachment, attach};
use crate::app::target::of_short_name;
use compat_oci::{Location, Platform};

/// Attach a specification to an image
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # derive the specification from the image (one per platform of an index)
  compat attach --generate ghcr.io/org/app:1.0
  # attach compat.json, which `compat gen` wrote
  compat attach ghcr.io/org/app:1.0
  compat attach --platform linux/arm64 ghcr.io/org/app:1.0 arm64.json
  compat gen ./app | compat attach oci:images:app -

If the image is an index, the specification is attached to the index itself unless --platform names one of \
its manifests. The image does not change. The command succeeds only after the registry lists the attached \
artifact. Attaching the same specification again sends nothing. A different specification gets a later date \
than those already attached, and checks use it from then on.")]
pub struct AttachArguments {
    /// The image: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The specification (- for standard input)
    #[arg(value_name = "FILE", default_value = "compat.json", conflicts_with = "generate")]
    file: PathBuf,

    /// Derive the specification from the image (for an index, one per platform)
    #[arg(long)]
    generate: bool,

    /// Attach to the manifest of this platform in an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    platform: Option<Platform>,

    /// Add an annotation to the artifact (can be repeated)
    #[arg(long, short = 'a', value_name = "KEY=VALUE", value_parser = parse_annotation)]
    annotation: Vec<(String, String)>,

    /// Include this recording in compressed form (- for standard input, can be repeated)
    #[arg(long, value_name = "RUN", conflicts_with = "generate")]
    recording: Vec<PathBuf>,

    /// Remove the compatibility artifacts already attached to the same manifest
    #[arg(long)]
    replace: bool,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    derive: DeriveOptions,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat attach`.
///
/// # Errors
///
/// If the document is not a specification, the image does not exist, or the registry does not list the
/// attached artifact.
pub(super) fn run(arguments: &AttachArguments, context: &Context) -> Result<Exit, Failure> {
    let location = parse_location(&arguments.image)?;
    let session = arguments.registry.session(context);
    let options = AttachOptions {
        file: arguments.file.clone(),
        recordings: arguments.recording.clone(),
        generate: arguments.generate,
        image: image::options(&arguments.derive, [], false),
        platform: arguments.platform.clone(),
        annotations: arguments.annotation.clone(),
        replace: arguments.replace,
    };
    let is_text = arguments.format == OutputFormat::Text;
    let report = attach(&location, &options, &session, |attachment| {
        if is_text { context.print(&render(&location, attachment)) } else { Ok(()) }
    })
    .map_err(|failure| of_short_name(&arguments.image, &location, false, failure))?;
    if is_text {
        return report.failure.map_or(Ok(Exit::Success), Err);
    }
    let exit = match &report.failure {
        Some(failure) => {
            failure::print(failure);
            Exit::from(failure.cause)
        }
        None => Exit::Success,
    };
    context.print_json(&report).map(|()| exit)
}

fn render(location: &Location, attachment: &Attachment) -> String {
    let note = if attachment.sent { "" } else { " (already attached, nothing was sent)" };
    let (artifact, subject) =
        (location.with_digest(&attachment.digest), location.with_digest(&attachment.subject));
    let mut text = format!("attached {artifact}\nto {subject}{note}\n");
    for digest in &attachment.replaced {
        let _ = writeln!(text, "removed {digest}");
    }
    text
}
