//! `compat delete`: takes a manifest out of a registry or layout.

use serde::Serialize;

use super::registry_options::RegistryOptions;
use super::source::parse_location;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use compat_oci::{Access, Store, delete};

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

/// What a deletion did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DeleteReport {
    /// The reference as it was understood.
    pub reference: String,
    /// The digest of the manifest that is gone.
    pub digest: String,
    /// Whether it was taken out of the list under its subject's fallback tag.
    pub unlisted: bool,
}

/// Runs `compat delete`.
///
/// # Errors
///
/// Where nothing is there, or the registry does not allow it.
pub fn run(arguments: &DeleteArguments, context: &Context) -> Result<Exit, Failure> {
    let location = parse_location(&arguments.reference)?;
    let session = arguments.registry.session(context);
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Delete);
    let deletion = connection.run(delete::delete(&store, &location.selector))?;
    let report = DeleteReport {
        reference: location.to_string(),
        digest: deletion.digest.to_string(),
        unlisted: deletion.unlisted,
    };
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => {
            context.print(&format!("deleted {}\n", location.with_digest(&deletion.digest)))?;
        }
    }
    Ok(Exit::Success)
}
