//! `compat delete`: removes a manifest from a registry or layout.

use super::registry_options::RegistryOptions;
use super::source::parse_location;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::delete::delete;
use crate::app::target::of_short_name;

/// Delete a manifest and all its tags
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat delete localhost:5000/app-compat:1.0
  # delete an attached artifact and keep its image
  compat delete localhost:5000/app@sha256:…
  compat delete oci:artifacts:app

A tag is resolved to its manifest. The manifest is deleted, and with it every other tag that names it. \
Many registries do not allow deletion, or allow it only to the owner of the account.")]
pub struct DeleteArguments {
    /// The manifest: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat delete`.
///
/// # Errors
///
/// If the manifest does not exist, or the registry does not allow deletion.
pub(super) fn run(arguments: &DeleteArguments, context: &Context) -> Result<Exit, Failure> {
    let location = parse_location(&arguments.reference)?;
    let session = arguments.registry.session(context);
    let report = delete(&location, &session)
        .map_err(|failure| of_short_name(&arguments.reference, &location, false, failure))?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => {
            context.print(&format!("deleted {}\n", location.with_digest(&report.digest)))?;
        }
    }
    Ok(Exit::Success)
}
