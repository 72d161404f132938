//! Shows the manifest under a reference: the work of `compat inspect`.

use serde::Serialize;

use super::{Failure, Session};
use compat_oci::artifact::{self, ArtifactKind, recognise};
use compat_oci::manifest::Annotations;
use compat_oci::{Access, Descriptor, Error, Location, Manifest, Resolved, Store, limit};

/// The manifest under a reference.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InspectReport {
    /// The reference, as it was understood.
    pub reference: String,
    /// The kind of manifest: `compatibility`, `image`, `index` or `other`.
    pub kind: String,
    /// The manifest's digest.
    pub digest: String,
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest's size in bytes.
    pub size: u64,
    /// The type of an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The digest of the manifest that this one is attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The annotations.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// The configuration and the layers of a manifest, or the manifests of an index.
    pub contents: Vec<Content>,
    /// A summary of the specification in a compatibility artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specification: Option<SpecificationSummary>,
}

/// An entry that a manifest refers to.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// The role of the entry: `config`, `layer`, `recording` or `manifest`.
    pub role: String,
    /// The digest of the entry.
    pub digest: String,
    /// The media type of the entry.
    pub media_type: String,
    /// The size of the entry in bytes.
    pub size: u64,
    /// The platform of a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The annotations of the entry.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

/// A summary of a specification.
#[derive(Debug, Default, Serialize, schemars::JsonSchema)]
pub struct SpecificationSummary {
    /// The version of the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The size of the specification in bytes.
    pub size: usize,
    /// The number of attributes.
    pub attributes: usize,
    /// The names of the other parts.
    pub parts: Vec<String>,
}

/// Reads a manifest and, for a compatibility artifact, its specification. Nothing else is fetched.
///
/// # Errors
///
/// If the manifest does not exist or cannot be read.
pub fn inspect(location: &Location, session: &Session) -> Result<InspectReport, Failure> {
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Pull);
    connection.run(async {
        let resolved = store.manifest(&location.selector).await?;
        report(&store, location.to_string(), &resolved).await
    })
}

async fn report(store: &Store, reference: String, resolved: &Resolved) -> Result<InspectReport, Error> {
    let manifest = resolved.parse()?;
    let mut specification = None;
    let kind = match recognise(resolved)? {
        ArtifactKind::Compatibility(artifact) => {
            let layer = &artifact.specification;
            let content = store.blob(layer, limit::SPECIFICATION).await?;
            specification = Some(summary(&artifact::document(layer, content)?));
            "compatibility"
        }
        ArtifactKind::Image => "image",
        ArtifactKind::Index(_) => "index",
        ArtifactKind::Other(_) => "other",
    };
    Ok(InspectReport {
        reference,
        kind: kind.to_owned(),
        digest: resolved.descriptor.digest.to_string(),
        media_type: resolved.descriptor.media_type.clone(),
        size: resolved.descriptor.size,
        artifact_type: manifest.kind().filter(|_| kind != "image").map(str::to_owned),
        subject: manifest.subject().map(|subject| subject.digest.to_string()),
        annotations: manifest.annotations().clone(),
        contents: contents(&manifest),
        specification,
    })
}

fn contents(manifest: &Manifest) -> Vec<Content> {
    let content = |role: &str, descriptor: &Descriptor| Content {
        role: role.to_owned(),
        digest: descriptor.digest.to_string(),
        media_type: descriptor.media_type.clone(),
        size: descriptor.size,
        platform: descriptor.platform.as_ref().map(ToString::to_string),
        annotations: descriptor.annotations.clone(),
    };
    match manifest {
        Manifest::Image(image) => {
            let config = image.config.iter().map(|config| content("config", config));
            let role = |layer| if artifact::is_recording(layer) { "recording" } else { "layer" };
            config.chain(image.layers.iter().map(|layer| content(role(layer), layer))).collect()
        }
        Manifest::Index(index) => index.manifests.iter().map(|entry| content("manifest", entry)).collect(),
    }
}

fn summary(bytes: &[u8]) -> SpecificationSummary {
    let mut summary = SpecificationSummary { size: bytes.len(), ..SpecificationSummary::default() };
    let Ok(serde_json::Value::Object(document)) = serde_json::from_slice(bytes) else { return summary };
    for (name, value) in &document {
        match name.as_str() {
            "version" => summary.version = value.as_str().map(str::to_owned),
            "attributes" => summary.attributes = value.as_object().map_or(0, serde_json::Map::len),
            name if name.starts_with('$') => {}
            name => summary.parts.push(name.to_owned()),
        }
    }
    summary
}
