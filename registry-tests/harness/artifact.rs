//! Specifications for cases that do not depend on the content.

use std::path::PathBuf;

use serde_json::json;

use super::Workspace;
use super::compat::{ARTIFACT_TYPE, Output, SPEC_TYPE, digest_of};
use super::image::Place;

/// A small program of this machine that is linked dynamically.
pub const PROGRAM: &str = "/usr/bin/env";

/// Generates a specification. Different salts produce different specifications.
pub fn specification(workspace: &Workspace, file: &str, salt: &str) -> PathBuf {
    let attribute = format!("org.example.salt={salt}");
    workspace.compat(["gen", "-o", file, "--attribute", &attribute, PROGRAM]).ok();
    workspace.path(file)
}

/// Stores an artifact without the program under test: manifest and blobs, with nothing embedded. Returns its
/// digest.
pub fn put_plain(workspace: &Workspace, place: &Place, tag: &str) -> String {
    let document = std::fs::read(specification(workspace, "plain.json", "plain")).expect("a specification");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": ARTIFACT_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json", "digest": place.blob(b"{}"), "size": 2,
        },
        "layers": [{
            "mediaType": SPEC_TYPE, "digest": place.blob(&document), "size": document.len(),
            "annotations": {"org.opencontainers.image.title": "compat.json"},
        }],
    });
    place.manifest(Some(tag), "application/vnd.oci.image.manifest.v1+json", &manifest)
}

/// Pushes a specification and returns the artifact's digest.
pub fn push(workspace: &Workspace, reference: &str, salt: &str) -> String {
    let file = format!("{salt}.json");
    specification(workspace, &file, salt);
    digest_of(&workspace.compat(["push", "--format", "json", reference, &file]).ok())
}

/// Attaches a specification to an image and returns the artifact's digest.
pub fn attach(workspace: &Workspace, image: &str, salt: &str) -> String {
    let file = format!("{salt}.json");
    specification(workspace, &file, salt);
    digest_of(&workspace.compat(["attach", "--format", "json", image, &file]).ok())
}

/// Returns the output of `discover`.
pub fn discover(workspace: &Workspace, image: &str) -> Output {
    workspace.compat(["discover", "--format", "json", image]).ok()
}
