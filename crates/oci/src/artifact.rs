//! The compatibility artifact: packs a specification into an OCI manifest and unpacks it.
//!
//! The manifest is an image manifest with our artifact type, the OCI empty descriptor as its configuration,
//! and the specification as its first layer (`docs/media-types.md`). It contains no current time and its
//! fields have a fixed order. The same specification, annotations and subject therefore produce the same
//! bytes on every machine. `SOURCE_DATE_EPOCH` adds a `created` annotation. A specification that is small, if
//! necessary after compression, is also embedded in its descriptor, so that reading it costs no request.
//!
//! This module does no I/O.

use std::io::Read as _;

use base64::Engine as _;
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::manifest::{
    Annotations, CREATED, Descriptor, EMPTY_BYTES, IMAGE_CONFIGS, IMAGE_MANIFEST, ImageManifest, Manifest,
    Resolved, TITLE,
};
use crate::format::media_type;
use crate::format::text::shown;
use crate::limit;

/// The content of an artifact besides the specification.
#[derive(Clone, Debug, Default)]
pub struct PackOptions {
    /// The manifest that the artifact is attached to.
    pub subject: Option<Descriptor>,
    /// Annotations of the artifact.
    pub annotations: Annotations,
    /// Recordings, each in its own layer.
    pub recordings: Vec<Recording>,
}

/// A recording as a layer, compressed with zstd.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The name of its file, its title.
    pub title: String,
    /// Its bytes.
    pub content: Bytes,
}

/// An artifact ready to be pushed.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The manifest's descriptor, with artifact type and annotations, as in a list of referrers.
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
/// If the specification or the manifest exceeds its limit ([`Error::TooLarge`]).
pub fn pack(specification: &[u8], options: PackOptions) -> Result<Packed> {
    if specification.len() as u64 > limit::SPECIFICATION {
        return Err(Error::TooLarge { what: "the specification".into(), limit: limit::SPECIFICATION });
    }
    let (mut layer, content) = layer(specification)?;
    layer.annotations.insert(TITLE.into(), media_type::SPEC_TITLE.into());
    if content.len() <= limit::EMBEDDED {
        layer.data = Some(base64::engine::general_purpose::STANDARD.encode(&content));
    }
    let mut blobs = vec![(Descriptor::empty(), Bytes::from_static(EMPTY_BYTES)), (layer.clone(), content)];
    for recording in options.recordings {
        let mut layer = Descriptor::of(media_type::RECORDING_COMPRESSED, &recording.content);
        layer.annotations.insert(TITLE.into(), recording.title);
        blobs.push((layer, recording.content));
    }
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(IMAGE_MANIFEST.into()),
        artifact_type: Some(media_type::ARTIFACT_TYPE.into()),
        config: Some(Descriptor::empty()),
        layers: blobs.iter().skip(1).map(|(layer, _)| layer.clone()).collect(),
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
    Ok(Packed { descriptor, bytes: bytes.into(), blobs })
}

/// The zstd level for large specifications.
const COMPRESSION_LEVEL: i32 = 19;

/// Returns the layer of the specification: uncompressed if it is small, otherwise compressed.
fn layer(specification: &[u8]) -> Result<(Descriptor, Bytes)> {
    if specification.len() <= limit::PLAIN {
        let content = Bytes::copy_from_slice(specification);
        return Ok((Descriptor::of(media_type::SPEC, specification), content));
    }
    let content = zstd::bulk::compress(specification, COMPRESSION_LEVEL)
        .map_err(|error| Error::malformed("specification", error.to_string()))?;
    Ok((Descriptor::of(media_type::SPEC_COMPRESSED, &content), content.into()))
}

/// Returns the document in a specification layer.
///
/// # Errors
///
/// [`FormatError::Malformed`](crate::FormatError::Malformed) if it cannot be decompressed,
/// [`Error::TooLarge`] if it is too large.
pub fn document(layer: &Descriptor, content: Bytes) -> Result<Bytes> {
    if layer.media_type != media_type::SPEC_COMPRESSED {
        return Ok(content);
    }
    let what = || format!("specification {}", layer.digest);
    let malformed = |error: std::io::Error| Error::malformed(what(), error.to_string());
    let decoder = zstd::stream::read::Decoder::new(&content[..]).map_err(malformed)?;
    let mut document = Vec::new();
    decoder.take(limit::SPECIFICATION + 1).read_to_end(&mut document).map_err(malformed)?;
    if document.len() as u64 > limit::SPECIFICATION {
        return Err(Error::TooLarge { what: what(), limit: limit::SPECIFICATION });
    }
    Ok(document.into())
}

/// Returns the `created` annotation for `SOURCE_DATE_EPOCH`, if the variable is set.
///
/// # Errors
///
/// If the variable is not a number of seconds ([`Error::InvalidOption`]).
pub fn created_of_environment() -> Result<Option<(String, String)>> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = value.to_str().and_then(|value| value.trim().parse::<u32>().ok().map(i64::from));
    match seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        Some(time) => Ok(Some((CREATED.to_owned(), time.to_string()))),
        None => Err(Error::InvalidOption {
            option: "SOURCE_DATE_EPOCH",
            reason: format!("{:?} is not a number of seconds since 1970", value.to_string_lossy()),
        }),
    }
}

/// The kind of a manifest.
#[derive(Clone, Debug)]
pub enum ArtifactKind {
    /// A compatibility artifact, with the descriptor of its specification.
    Compatibility(Box<Artifact>),
    /// A container image.
    Image,
    /// An index of manifests.
    Index(Box<crate::format::manifest::Index>),
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
    /// The layers with recordings.
    pub recordings: Vec<Descriptor>,
    /// The manifest that it is attached to.
    pub subject: Option<Descriptor>,
    /// Its annotations.
    pub annotations: Annotations,
}

/// Returns the kind of a manifest.
///
/// # Errors
///
/// [`FormatError::Malformed`](crate::FormatError::Malformed), also for an artifact of our type without a
/// specification.
pub fn recognise(resolved: &Resolved) -> Result<ArtifactKind> {
    let image = match resolved.parse()? {
        Manifest::Index(index) => return Ok(ArtifactKind::Index(index)),
        Manifest::Image(image) => image,
    };
    let kind = image.kind().unwrap_or_default().to_owned();
    if kind != media_type::ARTIFACT_TYPE {
        return Ok(if IMAGE_CONFIGS.contains(&kind.as_str()) {
            ArtifactKind::Image
        } else {
            ArtifactKind::Other(kind)
        });
    }
    let what = || format!("artifact {}", resolved.descriptor.digest);
    let mut layers = image.layers.iter();
    let is_ours = |layer: &&Descriptor| {
        [media_type::SPEC, media_type::SPEC_COMPRESSED].contains(&layer.media_type.as_str())
    };
    let specification = match layers.clone().find(is_ours) {
        Some(layer) => layer,
        // Before the layer had its own media type, it was the only layer.
        None if image.layers.len() == 1 => {
            layers.next().ok_or_else(|| Error::malformed(what(), "it has no layer"))?
        }
        None => {
            return Err(Error::malformed(what(), format!("it has no layer of type {}", media_type::SPEC)));
        }
    };
    Ok(ArtifactKind::Compatibility(Box::new(Artifact {
        descriptor: resolved.descriptor.clone(),
        specification: specification.clone(),
        recordings: image.layers.iter().filter(|layer| is_recording(layer)).cloned().collect(),
        subject: image.subject.clone(),
        annotations: image.annotations.clone(),
    })))
}

/// Returns whether a layer is a recording.
pub fn is_recording(layer: &Descriptor) -> bool {
    [media_type::RECORDING, media_type::RECORDING_COMPRESSED].contains(&layer.media_type.as_str())
}

/// Returns the error for an artifact of another type.
pub fn other(reference: &str, kind: &str) -> Error {
    let kind = if kind.is_empty() { "no type" } else { kind };
    let reason = format!("it is {}", shown(kind, 200));
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
    fn what_is_large_even_when_compressed_is_not_embedded() {
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(limit::EMBEDDED + 1).collect();
        let packed = pack(&noise, PackOptions::default()).unwrap();
        assert!(packed.blobs[1].1.len() > limit::EMBEDDED);
        assert!(packed.bytes.len() < 2000);
    }

    #[test]
    fn an_artifact_is_recognised_by_its_type_or_its_configuration() {
        let packed = pack(b"{}", PackOptions::default()).unwrap();
        let ArtifactKind::Compatibility(artifact) = recognise(&resolved(&packed)).unwrap() else { panic!() };
        assert_eq!(artifact.specification.embedded().unwrap().unwrap(), &b"{}"[..]);
        let old = serde_json::json!({"schemaVersion": 2,
            "config": {"mediaType": media_type::ARTIFACT_TYPE, "digest": packed.blobs[0].0.digest, "size": 2},
            "layers": [{"mediaType": "application/json", "digest": packed.blobs[1].0.digest, "size": 2}]});
        let bytes = Bytes::from(old.to_string());
        let old = Resolved { descriptor: Descriptor::of(IMAGE_MANIFEST, &bytes), bytes };
        assert!(matches!(recognise(&old).unwrap(), ArtifactKind::Compatibility(_)));
    }

    #[test]
    fn recordings_are_further_layers_with_the_names_of_their_files() {
        let recording = |title: &str| Recording {
            title: title.to_owned(),
            content: Bytes::copy_from_slice(title.as_bytes()),
        };
        let recordings = vec![recording("a.jsonl.zst"), recording("b.jsonl.zst")];
        let packed = pack(b"{}", PackOptions { recordings, ..PackOptions::default() }).unwrap();
        assert_eq!(packed.blobs.len(), 4);
        let ArtifactKind::Compatibility(artifact) = recognise(&resolved(&packed)).unwrap() else { panic!() };
        assert_eq!(artifact.specification.media_type, media_type::SPEC);
        let titles: Vec<_> = artifact.recordings.iter().map(|layer| &layer.annotations[TITLE]).collect();
        assert_eq!(titles, ["a.jsonl.zst", "b.jsonl.zst"]);
        assert!(artifact.recordings.iter().all(|layer| layer.data.is_none()));
    }

    #[test]
    fn another_artifact_is_refused_with_its_type() {
        let steering = other("h/a:1", "a\u{1b}[2K\nerror: b").to_string();
        assert!(!steering.contains(char::is_control), "{steering:?}");
        insta::assert_snapshot!(other("h/a:1", "application/vnd.cncf.helm.config.v1+json"), @"h/a:1 is not a compatibility artifact: it is application/vnd.cncf.helm.config.v1+json");
    }

    #[test]
    fn a_large_specification_is_compressed_and_still_embedded() {
        let specification =
            format!(r#"{{"version":"1.0.0","attributes":{{"org.a":"{}"}}}}"#, "x".repeat(1 << 20));
        let packed = pack(specification.as_bytes(), PackOptions::default()).unwrap();
        let (layer, content) = &packed.blobs[1];
        assert_eq!(layer.media_type, media_type::SPEC_COMPRESSED);
        assert!(layer.data.is_some() && content.len() < 1000);
        assert_eq!(document(layer, content.clone()).unwrap(), specification.as_bytes());
    }

    #[test]
    fn what_compresses_badly_is_embedded_too_while_a_manifest_can_hold_it() {
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(limit::PLAIN * 2).collect();
        let packed = pack(&noise, PackOptions::default()).unwrap();
        assert!(packed.blobs[1].1.len() > limit::PLAIN);
        assert!(packed.blobs[1].0.data.is_some() && packed.bytes.len() as u64 <= limit::MANIFEST);
    }

    #[test]
    fn what_decompresses_to_too_much_or_not_at_all_is_refused() {
        let bomb = zstd::bulk::compress(&vec![b' '; limit::SPECIFICATION as usize + 1], 1).unwrap();
        let layer = Descriptor::of(media_type::SPEC_COMPRESSED, &bomb);
        assert!(matches!(document(&layer, bomb.into()), Err(Error::TooLarge { .. })));
        let layer = Descriptor::of(media_type::SPEC_COMPRESSED, b"not zstd");
        assert!(matches!(
            document(&layer, Bytes::from_static(b"not zstd")),
            Err(Error::Format(crate::FormatError::Malformed { .. }))
        ));
    }
}
