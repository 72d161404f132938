//! The compatibility artifact: a specification as an OCI manifest, and back.
//!
//! The manifest is an image manifest with our artifact type, the OCI empty descriptor as its
//! configuration, and the specification as its first layer (`docs/media-types.md`). It holds no time
//! of its own and its fields have a fixed order, so the same specification, annotations and subject
//! are the same bytes wherever they are packed; `SOURCE_DATE_EPOCH` adds a `created` annotation. A
//! small specification is embedded in its descriptor too, so that reading it costs no request.
//!
//! No I/O in here.

use base64::Engine as _;
use bytes::Bytes;

use super::error::{Error, Result};
use super::limit;
use super::manifest::{
    Annotations, CREATED, Descriptor, EMPTY_BYTES, IMAGE_MANIFEST, ImageManifest, Manifest, Resolved, TITLE,
};
use crate::spec::media_type;

/// Media types of configurations that say "this is an image".
const IMAGE_CONFIGS: &[&str] =
    &["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What goes into an artifact besides the specification.
#[derive(Clone, Debug, Default)]
pub struct PackOptions {
    /// The manifest that the artifact is attached to.
    pub subject: Option<Descriptor>,
    /// Annotations of the artifact.
    pub annotations: Annotations,
}

/// An artifact ready to be pushed.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The manifest's descriptor, with artifact type and annotations, as referrers are listed.
    pub descriptor: Descriptor,
    /// The manifest.
    pub bytes: Bytes,
    /// The blobs it refers to.
    pub blobs: Vec<(Descriptor, Bytes)>,
}

/// Packs a specification.
///
/// # Errors
///
/// [`Error::TooLarge`] beyond the stated bounds.
pub fn pack(specification: &[u8], options: PackOptions) -> Result<Packed> {
    if specification.len() as u64 > limit::SPECIFICATION {
        return Err(Error::TooLarge { what: "the specification".into(), limit: limit::SPECIFICATION });
    }
    let mut layer = Descriptor::of(media_type::SPEC, specification);
    layer.annotations.insert(TITLE.into(), media_type::SPEC_TITLE.into());
    if specification.len() <= limit::EMBEDDED {
        layer.data = Some(base64::engine::general_purpose::STANDARD.encode(specification));
    }
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(IMAGE_MANIFEST.into()),
        artifact_type: Some(media_type::ARTIFACT_TYPE.into()),
        config: Some(Descriptor::empty()),
        layers: vec![layer.clone()],
        subject: options.subject.as_ref().map(Descriptor::bare),
        annotations: options.annotations,
    };
    let bytes =
        serde_json::to_vec(&manifest).map_err(|error| Error::malformed("artifact", error.to_string()))?;
    if bytes.len() as u64 > limit::MANIFEST {
        return Err(Error::TooLarge { what: "the artifact's manifest".into(), limit: limit::MANIFEST });
    }
    let mut descriptor = Descriptor::of(IMAGE_MANIFEST, &bytes);
    descriptor.artifact_type = manifest.artifact_type;
    descriptor.annotations = manifest.annotations;
    let blobs = vec![
        (Descriptor::empty(), Bytes::from_static(EMPTY_BYTES)),
        (layer, Bytes::copy_from_slice(specification)),
    ];
    Ok(Packed { descriptor, bytes: bytes.into(), blobs })
}

/// The `created` annotation that `SOURCE_DATE_EPOCH` asks for, if it is set.
///
/// # Errors
///
/// [`Error::InvalidOption`] where the variable is no number of seconds.
pub fn created_of_environment() -> Result<Option<(String, String)>> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = value.to_str().and_then(|value| value.trim().parse::<u64>().ok());
    match seconds.filter(|seconds| *seconds < 253_402_300_800) {
        Some(seconds) => Ok(Some((CREATED.to_owned(), rfc3339(seconds)))),
        None => Err(Error::InvalidOption {
            option: "SOURCE_DATE_EPOCH",
            reason: format!("{:?} is not a number of seconds since 1970", value.to_string_lossy()),
        }),
    }
}

/// A time of the Gregorian calendar in UTC (Howard Hinnant's `civil_from_days`).
fn rfc3339(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What a manifest turned out to be.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A compatibility artifact, with the descriptor of its specification.
    Compatibility(Box<Artifact>),
    /// A container image.
    Image,
    /// An index of manifests.
    Index(Box<super::manifest::Index>),
    /// An artifact of another type.
    Other(String),
}

/// A compatibility artifact.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The manifest.
    pub descriptor: Descriptor,
    /// The layer with the specification.
    pub specification: Descriptor,
    /// What it is attached to.
    pub subject: Option<Descriptor>,
    /// Its annotations.
    pub annotations: Annotations,
}

/// Tells what a manifest is.
///
/// # Errors
///
/// [`Error::Malformed`], also for an artifact of our type without a specification.
pub fn recognise(resolved: &Resolved) -> Result<Kind> {
    let image = match resolved.parse()? {
        Manifest::Index(index) => return Ok(Kind::Index(index)),
        Manifest::Image(image) => image,
    };
    let kind = image.kind().unwrap_or_default().to_owned();
    if kind != media_type::ARTIFACT_TYPE {
        return Ok(if IMAGE_CONFIGS.contains(&kind.as_str()) { Kind::Image } else { Kind::Other(kind) });
    }
    let what = || format!("artifact {}", resolved.descriptor.digest);
    let mut layers = image.layers.iter();
    let specification = match layers.clone().find(|layer| layer.media_type == media_type::SPEC) {
        Some(layer) => layer,
        // Before the layer had a type of its own, the only layer was it.
        None if image.layers.len() == 1 => {
            layers.next().ok_or_else(|| Error::malformed(what(), "it has no layer"))?
        }
        None => {
            return Err(Error::malformed(what(), format!("it has no layer of type {}", media_type::SPEC)));
        }
    };
    Ok(Kind::Compatibility(Box::new(Artifact {
        descriptor: resolved.descriptor.clone(),
        specification: specification.clone(),
        subject: image.subject.clone(),
        annotations: image.annotations.clone(),
    })))
}

/// The refusal of an artifact of another type.
pub fn other(reference: &str, kind: &str) -> Error {
    let kind = if kind.is_empty() { "no type" } else { kind };
    let reason = format!("it is {}", kind.chars().take(200).collect::<String>());
    Error::OtherArtifact { reference: reference.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(packed: &Packed) -> Resolved {
        Resolved { descriptor: packed.descriptor.bare(), bytes: packed.bytes.clone() }
    }

    #[test]
    fn the_same_specification_is_the_same_artifact() {
        let pack = || pack(br#"{"version":"1.0.0"}"#, PackOptions::default()).unwrap();
        assert_eq!(pack().bytes, pack().bytes);
        insta::assert_snapshot!(String::from_utf8_lossy(&pack().bytes), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.compatlib.compatibility.v1","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="},"layers":[{"mediaType":"application/vnd.compatlib.compatibility.spec.v1+json","digest":"sha256:2afa0f3c420ac37f226ceed715865e390c67593793f413018af33d8a79f56b9f","size":19,"annotations":{"org.opencontainers.image.title":"compat.json"},"data":"eyJ2ZXJzaW9uIjoiMS4wLjAifQ=="}]}"#);
    }

    #[test]
    fn a_large_specification_is_not_embedded() {
        let packed = pack(&vec![b' '; limit::EMBEDDED + 1], PackOptions::default()).unwrap();
        assert!(packed.bytes.len() < 2000);
        assert_eq!(packed.blobs[1].1.len(), limit::EMBEDDED + 1);
    }

    #[test]
    fn an_artifact_is_recognised_by_its_type_or_its_configuration() {
        let packed = pack(b"{}", PackOptions::default()).unwrap();
        let Kind::Compatibility(artifact) = recognise(&resolved(&packed)).unwrap() else { panic!() };
        assert_eq!(artifact.specification.embedded().unwrap().unwrap(), &b"{}"[..]);
        let old = serde_json::json!({"schemaVersion": 2,
            "config": {"mediaType": media_type::ARTIFACT_TYPE, "digest": packed.blobs[0].0.digest, "size": 2},
            "layers": [{"mediaType": "application/json", "digest": packed.blobs[1].0.digest, "size": 2}]});
        let bytes = Bytes::from(old.to_string());
        let old = Resolved { descriptor: Descriptor::of(IMAGE_MANIFEST, &bytes), bytes };
        assert!(matches!(recognise(&old).unwrap(), Kind::Compatibility(_)));
    }

    #[test]
    fn another_artifact_is_refused_with_its_type() {
        insta::assert_snapshot!(other("h/a:1", "application/vnd.cncf.helm.config.v1+json"), @"h/a:1 is not a compatibility artifact: it is application/vnd.cncf.helm.config.v1+json");
    }

    #[test]
    fn times_are_written_as_rfc3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_767_225_599), "2025-12-31T23:59:59Z");
    }
}
