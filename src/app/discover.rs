//! What is attached to an image: what `compat discover` does.

use serde::Serialize;

use super::source::of_several;
use super::{Failure, Session};
use compat_oci::discover::{self as registry, DiscoverOptions, Node};
use compat_oci::manifest::Annotations;
use compat_oci::{Access, Location, Store, media_type};

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

/// Lists what is attached to an image, its platforms, and what is attached to that.
///
/// # Errors
///
/// If the image is not there, or the list cannot be had: a refusal is not an empty list.
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
