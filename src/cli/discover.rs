//! `compat discover`: what is attached to an image.

use std::fmt::Write as _;

use serde::Serialize;

use super::registry_options::RegistryOptions;
use super::source::{TargetOptions, parse_platform};
use super::{Context, Exit, OutputFormat};
use crate::app::Failure;
use crate::app::source::of_several;
use compat_oci::discover::{DiscoverOptions, Node, discover};
use compat_oci::manifest::Annotations;
use compat_oci::media_type;
use compat_oci::text::shown;
use compat_oci::{Access, Platform, Store};

/// List what is attached to an image: to its index, to each platform, and to what is attached
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  compat discover ghcr.io/org/app:1.0
  compat discover --platform linux/arm64 ghcr.io/org/app:1.0
  compat discover --format json oci:images:app \\
      --artifact-type application/vnd.compatlib.compatibility.v1

It exits 0 also where nothing is attached: the list is empty then.")]
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

    /// How the result is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[command(flatten)]
    target: TargetOptions,

    #[command(flatten)]
    registry: RegistryOptions,
}

/// What is attached to an image.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DiscoverReport {
    /// The image as it was understood.
    pub image: String,
    /// The manifest and what belongs to it.
    #[serde(flatten)]
    pub manifest: DiscoveredManifest,
}

/// One manifest with what belongs to it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredManifest {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// The type of an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The platform, where an index gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its annotations.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// The manifests of an index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<DiscoveredManifest>,
    /// What is attached.
    pub referrers: Vec<DiscoveredManifest>,
    /// Whether this artifact counts, if several compatibility artifacts are attached to one manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<bool>,
    /// Why it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
}

impl From<Node> for DiscoveredManifest {
    fn from(node: Node) -> Self {
        let mut referrers: Vec<Self> = node.referrers.into_iter().map(Into::into).collect();
        if let Some(choice) = node.taken.filter(|choice| choice.candidates > 1) {
            let ours =
                |referrer: &&mut Self| referrer.artifact_type.as_deref() == Some(media_type::ARTIFACT_TYPE);
            for referrer in referrers.iter_mut().filter(ours) {
                let counts = referrer.digest == choice.taken.digest.as_str();
                referrer.counts = Some(counts);
                referrer.chosen = of_several(choice.candidates, choice.reason).filter(|_| counts);
            }
        }
        Self {
            digest: node.descriptor.digest.to_string(),
            media_type: node.descriptor.media_type,
            size: node.descriptor.size,
            artifact_type: node.descriptor.artifact_type,
            platform: node.descriptor.platform.map(|platform| platform.to_string()),
            annotations: node.descriptor.annotations,
            manifests: node.manifests.into_iter().map(Into::into).collect(),
            referrers,
            counts: None,
            chosen: None,
        }
    }
}

/// Runs `compat discover`.
///
/// # Errors
///
/// Where the image is not there, or the list cannot be had: a refusal is not an empty list.
pub fn run(arguments: &DiscoverArguments, context: &Context) -> Result<Exit, Failure> {
    let location = arguments.target.location(&arguments.image)?;
    let session = arguments.registry.session(context);
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Pull);
    let options = DiscoverOptions {
        platform: arguments.platform.clone(),
        artifact_type: arguments.artifact_type.clone(),
    };
    let root = connection.run(discover(&store, &location, &options))?;
    let report = DiscoverReport { image: location.to_string(), manifest: root.into() };
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
    use compat_oci::choice::Reason;

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
