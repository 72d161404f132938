//! Manifests and indexes from others: parsed leniently and kept unchanged.
//!
//! The names of annotations are those of `oci-spec`. Its types are not used, because they refuse manifests
//! that exist in registries, and lose unknown fields (`docs/decisions.md`, and the tests in
//! `oci_spec_types.rs`).

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_spec::image::{ANNOTATION_CREATED, ANNOTATION_REF_NAME, ANNOTATION_TITLE};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::FormatError;
use super::digest::Digest;
use super::platform::Platform;

/// Annotations, in the order of their keys.
pub type Annotations = BTreeMap<String, String>;

/// The media type of the OCI image manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of the OCI image index.
pub const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The media type of docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The media type of the OCI artifact manifest, which was withdrawn before image-spec 1.1 but still exists in
/// registries.
pub const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// The media type of the OCI empty descriptor.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The content of the OCI empty descriptor.
pub const EMPTY_BYTES: &[u8] = b"{}";
/// The annotation that names a manifest in an image layout.
pub const REF_NAME: &str = ANNOTATION_REF_NAME;
/// The annotation with the time of creation.
pub const CREATED: &str = ANNOTATION_CREATED;
/// The annotation with a layer's file name.
pub const TITLE: &str = ANNOTATION_TITLE;

/// The accepted manifest types, as an `Accept` header.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json";

/// The media types of an image's configuration.
pub const IMAGE_CONFIGS: &[&str] =
    &["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// A descriptor of content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// The artifact type of the manifest described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The platform of the image described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The annotations.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// The content itself, as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Descriptor {
    /// Returns the descriptor of `bytes`.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            platform: None,
            annotations: Annotations::new(),
            data: None,
            other: Map::new(),
        }
    }

    /// Returns the OCI empty descriptor, with its content embedded.
    pub fn empty() -> Self {
        Self { data: Some("e30=".into()), ..Self::of(EMPTY, EMPTY_BYTES) }
    }

    /// Returns only the media type, digest and size, as recommended for a `subject`.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.size,
            artifact_type: None,
            platform: None,
            annotations: Annotations::new(),
            data: None,
            other: Map::new(),
        }
    }

    /// Returns whether the media type is that of a manifest or an index.
    pub fn is_manifest(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            IMAGE_MANIFEST | IMAGE_INDEX | DOCKER_MANIFEST | DOCKER_LIST | ARTIFACT_MANIFEST
        )
    }

    /// Returns whether an entry of an index may be an image. Build attestations have the platform
    /// `unknown/unknown` or an annotation, and artifacts have a type. Some tools (`crane index append`, `ko`)
    /// write a type for an image: that of its configuration (image-spec 1.1, "Guidelines for Artifact
    /// Usage").
    pub fn may_be_image(&self) -> bool {
        let unknown = self.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
        let attached = self.annotations.contains_key("vnd.docker.reference.type");
        let kind = self.artifact_type.as_deref().unwrap_or_default();
        let artifact = !kind.is_empty() && !IMAGE_CONFIGS.contains(&kind);
        !unknown && !attached && !artifact
    }

    /// Returns whether no registry stores the content (`urls`, as in Windows base layers).
    pub fn is_foreign(&self) -> bool {
        let urls = self.other.get("urls").and_then(Value::as_array);
        urls.is_some_and(|urls| !urls.is_empty())
    }

    /// Returns the embedded content, verified against digest and size, or `None` if the descriptor embeds nothing.
    ///
    /// # Errors
    ///
    /// If the data is not base64 ([`FormatError::Malformed`]), or does not match the descriptor
    /// ([`FormatError::SizeMismatch`], [`FormatError::DigestMismatch`]).
    pub fn embedded(&self) -> Result<Option<Bytes>, FormatError> {
        use base64::Engine as _;
        let Some(data) = &self.data else { return Ok(None) };
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).map_err(|error| {
            FormatError::malformed(format!("the data embedded for {}", self.digest), error.to_string())
        })?;
        self.verify(&bytes)?;
        Ok(Some(Bytes::from(bytes)))
    }

    /// Verifies content against size and digest.
    ///
    /// # Errors
    ///
    /// If the size or digest differs ([`FormatError::SizeMismatch`], [`FormatError::DigestMismatch`]).
    pub fn verify(&self, bytes: &[u8]) -> Result<(), FormatError> {
        if bytes.len() as u64 != self.size {
            return Err(FormatError::SizeMismatch {
                digest: self.digest.clone(),
                expected: self.size,
                actual: bytes.len() as u64,
            });
        }
        verify_digest(&self.digest, bytes)
    }
}

/// Verifies that `bytes` have this digest.
///
/// # Errors
///
/// If the digest differs ([`FormatError::DigestMismatch`]).
pub(crate) fn verify_digest(digest: &Digest, bytes: &[u8]) -> Result<(), FormatError> {
    let actual = digest.same_algorithm_of(bytes);
    if actual == *digest {
        Ok(())
    } else {
        Err(FormatError::DigestMismatch { expected: digest.clone(), actual })
    }
}

/// An image manifest (or docker's, or the withdrawn artifact manifest).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2. The artifact manifest has no version.
    #[serde(default)]
    pub schema_version: u32,
    /// The media type that the manifest states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    /// The layers.
    #[serde(default, alias = "blobs", deserialize_with = "null_is_empty")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// The annotations.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

impl ImageManifest {
    /// Returns the artifact type: the stated one, or else the media type of the configuration
    /// (distribution-spec, "listing referrers").
    pub fn kind(&self) -> Option<&str> {
        let stated = self.artifact_type.as_deref().filter(|kind| !kind.is_empty());
        stated.or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
    }
}

/// An index (or docker's manifest list).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// The media type that the index states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// The annotations.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(IMAGE_INDEX.into()),
            artifact_type: None,
            manifests: Vec::new(),
            subject: None,
            annotations: Annotations::new(),
            other: Map::new(),
        }
    }
}

impl Index {
    /// Returns the manifest that fits a platform best. Among equals, the first is returned.
    pub fn best_for(&self, wanted: &Platform) -> Option<&Descriptor> {
        let mut best: Option<(u32, &Descriptor)> = None;
        for descriptor in self.manifests.iter().filter(|descriptor| descriptor.may_be_image()) {
            let rank = descriptor.platform.as_ref().and_then(|platform| platform.suits(wanted));
            if let Some(rank) = rank
                && best.is_none_or(|(other, _)| rank > other)
            {
                best = Some((rank, descriptor));
            }
        }
        best.map(|(_, descriptor)| descriptor)
    }

    /// Returns the platforms of the index's images, as text.
    pub fn platforms(&self) -> Vec<String> {
        let images = self.manifests.iter().filter(|descriptor| descriptor.may_be_image());
        images.filter_map(|descriptor| descriptor.platform.as_ref()).map(ToString::to_string).collect()
    }
}

/// A parsed manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image or artifact.
    Image(Box<ImageManifest>),
    /// Several manifests.
    Index(Box<Index>),
}

impl Manifest {
    /// Parses a manifest. The `mediaType` in the body takes precedence over the stated one. Without either,
    /// the fields decide.
    ///
    /// # Errors
    ///
    /// If the bytes are not a manifest ([`FormatError::Malformed`] with `what`).
    pub fn parse(what: &str, media_type: Option<&str>, bytes: &[u8]) -> Result<Self, FormatError> {
        let malformed = |error: serde_json::Error| FormatError::malformed(what, error.to_string());
        let shape: ManifestShape = serde_json::from_slice(bytes).map_err(malformed)?;
        if shape.schema_version == Some(1) {
            return Err(FormatError::malformed(what, "docker's manifest of schema 1 is not supported"));
        }
        let media_type = shape.media_type.as_deref().or(media_type).unwrap_or_default();
        let index = match media_type {
            IMAGE_INDEX | DOCKER_LIST => true,
            IMAGE_MANIFEST | DOCKER_MANIFEST | ARTIFACT_MANIFEST => false,
            _ if shape.manifests.is_some() => true,
            _ if shape.config.is_some() || shape.layers.is_some() => false,
            other => {
                return Err(FormatError::malformed(
                    what,
                    format!("{other:?} is not the media type of a manifest"),
                ));
            }
        };
        if index {
            Ok(Self::Index(Box::new(serde_json::from_slice(bytes).map_err(malformed)?)))
        } else {
            Ok(Self::Image(Box::new(serde_json::from_slice(bytes).map_err(malformed)?)))
        }
    }

    /// Returns the manifest that this one is attached to.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }

    /// Returns the artifact type of this manifest in a list of referrers.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Image(image) => image.kind(),
            Self::Index(index) => index.artifact_type.as_deref(),
        }
    }

    /// Returns the annotations.
    pub fn annotations(&self) -> &Annotations {
        match self {
            Self::Image(image) => &image.annotations,
            Self::Index(index) => &index.annotations,
        }
    }
}

/// The part of a manifest that determines its kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestShape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

/// The bytes of a manifest with their descriptor. Digest and size have been verified.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes as stored.
    pub bytes: Bytes,
}

impl Resolved {
    /// Parses the bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are not a manifest ([`FormatError::Malformed`]).
    pub fn parse(&self) -> Result<Manifest, FormatError> {
        let what = format!("manifest {}", self.descriptor.digest);
        Manifest::parse(&what, Some(&self.descriptor.media_type), &self.bytes)
    }
}

/// Returns the media type of a manifest: the one in its body, or else the stated one, or else the one that
/// its fields suggest.
pub fn media_type_of(bytes: &[u8], stated: Option<&str>) -> String {
    let shape = serde_json::from_slice::<ManifestShape>(bytes).ok();
    let index = shape.as_ref().is_some_and(|shape| shape.manifests.is_some());
    let own = shape.and_then(|shape| shape.media_type);
    let stated = stated.and_then(|stated| stated.split(';').next()).map(str::trim);
    match (own, stated) {
        (Some(own), _) if !own.is_empty() => own,
        (_, Some(stated)) if !stated.is_empty() => stated.to_owned(),
        _ if index => IMAGE_INDEX.to_owned(),
        _ => IMAGE_MANIFEST.to_owned(),
    }
}

/// Reads `null`, which Go clients write for an empty list or map, as empty.
///
/// # Errors
///
/// The error of the deserializer.
pub fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn null_lists_and_unknown_fields_are_read() {
        let text = br#"{"schemaVersion":2,"manifests":null,"annotations":null,"surprise":{"a":[1]}}"#;
        let Manifest::Index(index) = Manifest::parse("x", Some(IMAGE_INDEX), text).unwrap() else { panic!() };
        assert_eq!(index.other["surprise"]["a"][0], 1);
        assert!(serde_json::to_string(&index).unwrap().contains("surprise"));
    }

    #[test]
    fn only_images_of_an_index_are_chosen() {
        let entry = |salt: &str, kind: Option<&str>| Descriptor {
            artifact_type: kind.map(str::to_owned),
            platform: Some(Platform::parse("linux/amd64").unwrap()),
            ..Descriptor::of(IMAGE_MANIFEST, salt.as_bytes())
        };
        let mut attestation = entry("a", Some(IMAGE_CONFIGS[0]));
        attestation.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        let image = entry("c", Some(IMAGE_CONFIGS[1]));
        let manifests = vec![attestation, entry("b", Some("application/spdx+json")), image.clone()];
        let text = serde_json::json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        let Manifest::Index(index) = Manifest::parse("x", None, text.as_bytes()).unwrap() else { panic!() };
        assert_eq!(index.best_for(&Platform::parse("linux/amd64").unwrap()), Some(&image));
        assert_eq!(index.platforms(), ["linux/amd64"]);
    }

    #[test]
    fn without_a_stated_type_the_fields_decide() {
        assert_eq!(media_type_of(br#"{"schemaVersion":2,"manifests":[]}"#, None), IMAGE_INDEX);
        assert_eq!(media_type_of(br#"{"schemaVersion":2,"layers":[]}"#, Some("")), IMAGE_MANIFEST);
        assert_eq!(media_type_of(br#"{"manifests":[]}"#, Some(DOCKER_LIST)), DOCKER_LIST);
    }

    #[test]
    fn what_is_no_manifest_is_an_error() {
        let shown = |text: &[u8]| Manifest::parse("manifest x", None, text).unwrap_err().to_string();
        insta::assert_snapshot!(shown(b"<html>"), @"manifest x is malformed: expected value at line 1 column 1");
        insta::assert_snapshot!(shown(b"{}"), @r#"manifest x is malformed: "" is not the media type of a manifest"#);
        insta::assert_snapshot!(shown(br#"{"schemaVersion":1}"#), @"manifest x is malformed: docker's manifest of schema 1 is not supported");
    }

    #[test]
    fn embedded_data_that_lies_is_refused() {
        let mut descriptor = Descriptor::empty();
        assert_eq!(descriptor.embedded().unwrap().unwrap(), EMPTY_BYTES);
        descriptor.data = Some("e31=".into());
        assert!(descriptor.embedded().is_err());
        descriptor.data = Some("W10=".into());
        assert!(matches!(descriptor.embedded(), Err(FormatError::DigestMismatch { .. })));
        descriptor.data = Some("e30K".into());
        assert!(matches!(descriptor.embedded(), Err(FormatError::SizeMismatch { .. })));
    }

    proptest! {
        #[test]
        fn hostile_manifests_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-z0-9]{0,80}") {
            let _ = Manifest::parse("x", None, &bytes);
            let _ = Manifest::parse("x", Some(IMAGE_INDEX), text.as_bytes());
            let _ = media_type_of(&bytes, None);
        }
    }
}
