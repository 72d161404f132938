//! `compat copy`: copies between registries and layouts. Digests stay the same.

use super::registry_options::RegistryOptions;
use super::source::parse_location;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::copy::{CopyOptions, CopyReport, copy, target};
use crate::app::wording::count;

/// Copy an artifact or image between registries and image layouts
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # for a site without a network
  compat copy ghcr.io/org/app-compat:1.0 oci:artifacts:app
  # with all attached artifacts
  compat copy -r ghcr.io/org/app:1.0 registry.site:5000/app:1.0
  compat copy oci:artifacts:app localhost:5000/app-compat:1.0

Digests stay the same, and an index is copied with all its manifests. Content that the target already has \
is not sent again. --username is used for the target if it is a registry, otherwise for the source. \
Credentials for both can come from the files of podman and docker.")]
pub struct CopyArguments {
    /// Copy attached artifacts too, and the artifacts attached to those
    #[arg(long, short)]
    recursive: bool,

    /// The source: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "SOURCE")]
    source: String,

    /// The target: HOST/NAME:TAG or oci:DIR:TAG (the default tag is that of the source)
    #[arg(value_name = "TARGET")]
    target: String,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat copy`.
///
/// # Errors
///
/// If the source or the target fails.
pub(super) fn run(arguments: &CopyArguments, context: &Context) -> Result<Exit, Failure> {
    let source = parse_location(&arguments.source)?;
    let target = target(&source, parse_location(&arguments.target)?)?;
    let session = arguments.registry.session(context);
    let report = copy(&source, &target, CopyOptions { recursive: arguments.recursive }, &session)?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => {
            let CopyReport { source, target, digest, bytes, .. } = &report;
            let manifests = count(report.manifests as u64, "manifest");
            let blobs = count(report.blobs as u64, "blob");
            context.print(&format!(
                "copied {source} to {target}\n{digest}: {manifests} and {blobs} ({bytes} bytes) sent\n"
            ))?;
        }
    }
    Ok(Exit::Success)
}
