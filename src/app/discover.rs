//! Lists the artifacts attached to an image: the work of `compat discover`.

use serde::Serialize;

use super::source::of_several;
use super::{Failure, Session};
use compat_oci::discover::{self as registry, DiscoverOptions, Node};
use compat_oci::manifest::Annotations;
use compat_oci::{Access, Location, Store, media_type};

/// The artifacts attached to an image.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DiscoverReport {
    /// The image, as it was understood.
    pub image: String,
    /// The manifest, with its referrers and platforms.
    #[serde(flatten)]
    pub manifest: DiscoveredManifest,
}

/// A manifest, with its referrers and platforms.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredManifest {
    /// The digest of the manifest.
    pub digest: String,
    /// The media type of the manifest.
    pub media_type: String,
    /// The size of the manifest in bytes.
    pub size: u64,
    /// The type of an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The platform, if an index states one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The annotations.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// The manifests of an index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<DiscoveredManifest>,
    /// The attached artifacts.
    pub referrers: Vec<DiscoveredManifest>,
    /// Whether checks use this artifact, if several compatibility artifacts are attached to one manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<bool>,
    /// Why checks use it.
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

/// Lists the artifacts attached to an image, to its platforms, and to those artifacts.
///
/// # Errors
///
/// If the image does not exist, or its referrers cannot be listed: a refusal is not an empty list.
pub fn discover(
    location: &Location,
    options: &DiscoverOptions,
    session: &Session,
) -> Result<DiscoverReport, Failure> {
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Pull);
    let root = connection.run(registry::discover(&store, location, options))?;
    Ok(DiscoverReport { image: location.to_string(), manifest: root.into() })
}
