//! `compat delete`: takes a manifest out of a registry or layout.

use super::registry_options::RegistryOptions;
use super::source::parse_location;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::delete::delete;

/// Delete a manifest, with every tag it has
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat delete localhost:5000/app-compat:1.0
  # an attached artifact; its image stays
  compat delete localhost:5000/app@sha256:…
  compat delete oci:artifacts:app

A tag is resolved first: the manifest goes, and with it every other tag it has. Many registries do not \
allow deletion, or only the account's owner.")]
pub struct DeleteArguments {
    /// What to delete: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat delete`.
///
/// # Errors
///
/// If nothing is there, or the registry does not allow it.
pub(super) fn run(arguments: &DeleteArguments, context: &Context) -> Result<Exit, Failure> {
    let location = parse_location(&arguments.reference)?;
    let session = arguments.registry.session(context);
    let report = delete(&location, &session)?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => {
            context.print(&format!("deleted {}\n", location.with_digest(&report.digest)))?;
        }
    }
    Ok(Exit::Success)
}
