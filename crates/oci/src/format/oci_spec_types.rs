//! Tests of the types of the crate `oci-spec` with input from real registries. They show why this crate has
//! its own types.
//!
//! If a test fails after an update of `oci-spec`, one of its types could replace ours.

use oci_spec::image as theirs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::manifest::{self, Descriptor, Manifest};
use super::platform::Platform;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Returns the value after a type has read and written it, or `None` if the type refuses it.
fn rewritten<T: DeserializeOwned + Serialize>(value: &Value) -> Option<Value> {
    let parsed: T = serde_json::from_value(value.clone()).ok()?;
    Some(serde_json::to_value(parsed).unwrap())
}

fn is_read(value: &Value, media_type: &str) -> bool {
    Manifest::parse("x", Some(media_type), value.to_string().as_bytes()).is_ok()
}

#[test]
fn their_lists_refuse_the_null_of_go() {
    let config = json!({"mediaType": "a/b", "digest": DIGEST, "size": 0});
    let image = json!({"schemaVersion": 2, "config": config, "layers": null});
    let index = json!({"schemaVersion": 2, "manifests": null});
    assert_eq!(rewritten::<theirs::ImageManifest>(&image), None);
    assert_eq!(rewritten::<theirs::ImageIndex>(&index), None);
    assert!(is_read(&image, manifest::IMAGE_MANIFEST) && is_read(&index, manifest::IMAGE_INDEX));
}

#[test]
fn their_manifest_refuses_an_artifact_manifest() {
    let blob = json!({"mediaType": "a/b", "digest": DIGEST, "size": 0});
    let text = json!({"mediaType": manifest::ARTIFACT_MANIFEST, "artifactType": "a/b", "blobs": [blob]});
    assert_eq!(rewritten::<theirs::ImageManifest>(&text), None);
    assert!(is_read(&text, manifest::ARTIFACT_MANIFEST));
}

#[test]
fn their_descriptor_and_index_lose_unknown_fields() {
    let descriptor = json!({"mediaType": "a/b", "digest": DIGEST, "size": 0, "later": 1});
    assert_eq!(rewritten::<theirs::Descriptor>(&descriptor).unwrap().get("later"), None);
    assert_eq!(rewritten::<Descriptor>(&descriptor), Some(descriptor));
    let index = json!({"schemaVersion": 2, "manifests": [], "later": 1});
    assert_eq!(rewritten::<theirs::ImageIndex>(&index).unwrap().get("later"), None);
    assert_eq!(rewritten::<manifest::Index>(&index), Some(index));
}

#[test]
fn their_platform_loses_the_version_of_the_system() {
    let platform = json!({"architecture": "amd64", "os": "windows", "os.version": "10.0.17763.1"});
    assert_eq!(rewritten::<theirs::Platform>(&platform).unwrap().get("os.version"), None);
    assert_eq!(rewritten::<Platform>(&platform), Some(platform));
    let partial = json!({"architecture": "amd64"});
    assert_eq!(rewritten::<theirs::Platform>(&partial), None);
    assert!(rewritten::<Platform>(&partial).is_some());
}

#[test]
fn their_digest_takes_algorithms_that_nobody_here_verifies() {
    for text in ["md5:abc", "blake3:ABC=_-"] {
        assert!(text.parse::<theirs::Digest>().is_ok(), "{text}");
        assert!(super::digest::Digest::parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_media_types_have_the_same_names() {
    use oci_spec::image::{MediaType, ToDockerV2S2 as _};
    for (ours, of_theirs) in [
        (manifest::IMAGE_MANIFEST, MediaType::ImageManifest),
        (manifest::IMAGE_INDEX, MediaType::ImageIndex),
        (manifest::ARTIFACT_MANIFEST, MediaType::ArtifactManifest),
        (manifest::EMPTY, MediaType::EmptyJSON),
        (manifest::IMAGE_CONFIGS[0], MediaType::ImageConfig),
    ] {
        assert_eq!(ours, of_theirs.as_ref());
    }
    assert_eq!(manifest::DOCKER_MANIFEST, MediaType::ImageManifest.to_docker_v2s2().unwrap());
    assert_eq!(manifest::DOCKER_LIST, MediaType::ImageIndex.to_docker_v2s2().unwrap());
    assert_eq!(manifest::IMAGE_CONFIGS[1], MediaType::ImageConfig.to_docker_v2s2().unwrap());
}
