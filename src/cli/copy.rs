//! `compat copy`: from one registry or layout to another, the same digests on both sides.

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
  # with all that is attached
  compat copy -r ghcr.io/org/app:1.0 registry.site:5000/app:1.0
  compat copy oci:artifacts:app localhost:5000/app-compat:1.0

Digests stay the same; an index takes all its manifests along. What is there already is not sent again. \
--username is for the target where it is a registry, else for the source; credentials of both come from \
the files of podman and docker.")]
pub struct CopyArguments {
    /// Copy all that is attached too, and what is attached to that
    #[arg(long, short)]
    recursive: bool,

    /// What to copy: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Where to
    #[arg(value_name = "TARGET")]
    target: String,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat copy`.
///
/// # Errors
///
/// If either side fails.
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
