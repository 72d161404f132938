//! `compat inspect`: shows the manifest under a reference.

use std::fmt::Write as _;

use super::registry_options::RegistryOptions;
use super::source::TargetOptions;
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::inspect::{InspectReport, inspect};
use crate::app::target::of_short_name;
use compat_oci::manifest::TITLE;
use compat_oci::text::shown;

/// Show a manifest, and the specification of an artifact
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat inspect ghcr.io/org/app-compat:1.0
  compat inspect --format json oci:images:app

For an image, only the manifest is fetched.")]
pub struct InspectArguments {
    /// The manifest: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "REFERENCE")]
    reference: String,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    target: TargetOptions,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat inspect`.
///
/// # Errors
///
/// If the manifest does not exist or cannot be read.
pub(super) fn run(arguments: &InspectArguments, context: &Context) -> Result<Exit, Failure> {
    let location = arguments.target.location(&arguments.reference)?;
    let session = arguments.registry.session(context);
    let report = inspect(&location, &session)
        .map_err(|failure| of_short_name(&arguments.reference, &location, false, failure))?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => context.print(&render(&report))?,
    }
    Ok(Exit::Success)
}

fn render(report: &InspectReport) -> String {
    let mut text = format!("{}\n", report.reference);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14} {}", shown(value, 500));
    };
    line("kind", &report.kind);
    line("digest", &report.digest);
    line("media type", &report.media_type);
    line("size", &format!("{} bytes", report.size));
    if let Some(kind) = &report.artifact_type {
        line("artifact type", kind);
    }
    if let Some(subject) = &report.subject {
        line("attached to", subject);
    }
    for (key, value) in &report.annotations {
        line("annotation", &format!("{key}={value}"));
    }
    for content in &report.contents {
        let what = content.platform.as_deref().unwrap_or(&content.media_type);
        let title = content.annotations.get(TITLE).map(|title| format!(" {title}")).unwrap_or_default();
        line(&content.role, &format!("{} {what}{title} ({} bytes)", content.digest, content.size));
    }
    if let Some(specification) = &report.specification {
        let version = specification.version.as_deref().unwrap_or("(none)");
        let mut parts = specification.parts.join(", ");
        if parts.is_empty() {
            parts = "attributes only".into();
        }
        line(
            "specification",
            &format!("version {version}, {} attributes, {parts}", specification.attributes),
        );
    }
    text
}
