//! `compat discover`: lists the artifacts attached to an image.

use std::fmt::Write as _;

use super::registry_options::RegistryOptions;
use super::source::{TargetOptions, parse_platform};
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::discover::{DiscoverReport, DiscoveredManifest, discover};
use crate::app::target::of_short_name;
use compat_oci::Platform;
use compat_oci::discover::DiscoverOptions;
use compat_oci::text::shown;

/// List the artifacts attached to an image and to its platforms
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat discover ghcr.io/org/app:1.0
  compat discover --platform linux/arm64 ghcr.io/org/app:1.0
  compat discover --format json oci:images:app \\
      --artifact-type application/vnd.compatlib.compatibility.v1

If nothing is attached, the list is empty and the exit code is 0.")]
pub struct DiscoverArguments {
    /// The image: HOST/NAME:TAG, HOST/NAME@DIGEST or oci:DIR:TAG
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Show only this platform of an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    platform: Option<Platform>,

    /// Show only artifacts of this type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    target: TargetOptions,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// Runs `compat discover`.
///
/// # Errors
///
/// If the image does not exist, or its referrers cannot be listed: a refusal is not an empty list.
pub(super) fn run(arguments: &DiscoverArguments, context: &Context) -> Result<Exit, Failure> {
    let location = arguments.target.location(&arguments.image)?;
    let session = arguments.registry.session(context);
    let options = DiscoverOptions {
        platform: arguments.platform.clone(),
        artifact_type: arguments.artifact_type.clone(),
    };
    let report = discover(&location, &options, &session)
        .map_err(|failure| of_short_name(&arguments.image, &location, false, failure))?;
    match arguments.format {
        OutputFormat::Json => context.print_json(&report)?,
        OutputFormat::Text => context.print(&render(&report))?,
    }
    Ok(Exit::Success)
}

fn render(report: &DiscoverReport) -> String {
    let mut text = format!("{}\n{}\n", report.image, label(&report.manifest));
    children(&report.manifest, "", &mut text);
    if count(&report.manifest) == 0 {
        text.push_str("nothing is attached\n");
    }
    text
}

fn count(manifest: &DiscoveredManifest) -> usize {
    manifest.referrers.len() + manifest.manifests.iter().map(count).sum::<usize>()
}

fn children(manifest: &DiscoveredManifest, indent: &str, text: &mut String) {
    let all: Vec<&DiscoveredManifest> = manifest.referrers.iter().chain(&manifest.manifests).collect();
    for (at, child) in all.iter().enumerate() {
        let last = at + 1 == all.len();
        let (branch, below) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let _ = writeln!(text, "{indent}{branch}{}", label(child));
        children(child, &format!("{indent}{below}"), text);
    }
}

fn label(manifest: &DiscoveredManifest) -> String {
    let kind = manifest.platform.as_ref().or(manifest.artifact_type.as_ref());
    let chosen = manifest.chosen.as_ref().map(|chosen| format!(" (counts: {chosen})")).unwrap_or_default();
    match kind {
        Some(kind) => format!("{} {}{chosen}", shown(kind, 120), manifest.digest),
        None => manifest.digest.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::source::of_several;
    use compat_oci::choice::Reason;
    use compat_oci::manifest::Annotations;

    fn manifest(digest: &str) -> DiscoveredManifest {
        DiscoveredManifest {
            digest: digest.into(),
            media_type: "m".into(),
            size: 1,
            artifact_type: None,
            platform: None,
            annotations: Annotations::new(),
            manifests: Vec::new(),
            referrers: Vec::new(),
            counts: None,
            chosen: None,
        }
    }

    #[test]
    fn the_tree_shows_the_index_its_platforms_and_what_is_attached() {
        let artifact =
            |digest| DiscoveredManifest { artifact_type: Some("a/b\n".into()), ..manifest(digest) };
        let platform = |digest, name: &str| DiscoveredManifest {
            platform: Some(name.into()),
            referrers: vec![artifact("sha256:3")],
            ..manifest(digest)
        };
        let root = DiscoveredManifest {
            manifests: vec![platform("sha256:1", "linux/amd64"), platform("sha256:2", "linux/arm64")],
            referrers: vec![artifact("sha256:4")],
            ..manifest("sha256:0")
        };
        let mut root = root;
        root.referrers.push(DiscoveredManifest {
            counts: Some(true),
            chosen: of_several(2, Reason::Newest),
            ..artifact("sha256:5")
        });
        let report = DiscoverReport { image: "h/a:1".into(), manifest: root };
        insta::assert_snapshot!(render(&report), @r"
        h/a:1
        sha256:0
        ├── a/b  sha256:4
        ├── a/b  sha256:5 (counts: the newest of 2)
        ├── linux/amd64 sha256:1
        │   └── a/b  sha256:3
        └── linux/arm64 sha256:2
            └── a/b  sha256:3
        ");
    }
}
