//! `compat copy`: from one registry or layout to another, the same digests on both sides.

use serde::Serialize;

use super::registry_options::RegistryOptions;
use super::source::parse_location;
use super::wording::count;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use compat_oci::{Access, Location, Selector, Store, copy};

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

/// What a copy did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CopyReport {
    /// The source as it was understood.
    pub source: String,
    /// The target as it was understood.
    pub target: String,
    /// The manifest's digest, the same on both sides.
    pub digest: String,
    /// How many manifests were written.
    pub manifests: usize,
    /// How many blobs were sent.
    pub blobs: usize,
    /// How many bytes of blobs were sent.
    pub bytes: u64,
    /// How many blobs the registry took over from the other repository, without a transfer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mounted: usize,
    /// How many attached artifacts were looked at.
    pub referrers: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Runs `compat copy`.
///
/// # Errors
///
/// Where either side fails.
pub fn run(arguments: &CopyArguments, context: &Context) -> Result<Exit, Failure> {
    let source = parse_location(&arguments.source)?;
    let target = parse_target(&arguments.target, &source)?;
    let session = arguments.registry.session(context);
    let connection = session.connect(target.host().or(source.host()))?;
    let from = Store::new(&connection.client, &source.place, Access::Pull);
    let to = Store::new(&connection.client, &target.place, Access::Push).mounting_from(&from);
    let task = copy::copy(
        &from,
        &source.selector,
        &to,
        target.tag(),
        arguments.recursive,
        connection.client.observer(),
    );
    let copied = connection.run(task)?;
    let report = CopyReport {
        source: source.to_string(),
        target: target.to_string(),
        digest: copied.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        manifests: copied.manifests,
        blobs: copied.blobs,
        bytes: copied.bytes,
        mounted: copied.mounted,
        referrers: copied.referrers,
    };
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

/// A target without a tag takes the source's, as far as it was typed.
fn parse_target(text: &str, source: &Location) -> Result<Location, Failure> {
    let mut target = parse_location(text)?;
    if let Selector::Digest(digest) = &target.selector
        && source.selector != target.selector
    {
        return Err(Failure::usage(format!(
            "{target}: a copy keeps its digest, name a tag instead of {digest}"
        )));
    }
    if target.selector == Selector::Only
        && let Some(tag) = source.tag()
    {
        target.selector = Selector::Tag(tag.to_owned());
    }
    Ok(target)
}
