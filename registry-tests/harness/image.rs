//! Small images as subjects of attachments, stored in a registry without the program under test.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Registry;
use super::http::{Request, Response, send};
use super::memory_registry::digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A stored image.
#[derive(Clone, Debug)]
pub struct Image {
    pub digest: String,
    pub config: String,
    pub layer: String,
}

/// An index with an image for this machine's platform and one for another.
#[derive(Clone, Debug)]
pub struct Index {
    pub digest: String,
    pub ours: Image,
    pub foreign: Image,
}

/// Returns this machine's architecture in OCI notation.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Returns another architecture than this machine's.
pub fn foreign_architecture() -> &'static str {
    if architecture() == "s390x" { "ppc64le" } else { "s390x" }
}

/// A place that stores content.
pub enum Place {
    /// `HOST:PORT` and the repository.
    Server(String, String),
    /// The directory of a layout.
    Layout(PathBuf),
}

impl Place {
    /// Returns a repository of a registry.
    pub fn of(registry: &Registry, repository: &str) -> Self {
        match registry.address() {
            Some(address) => Self::Server(address, repository.to_owned()),
            None => {
                let reference = registry.repository(repository);
                Self::Layout(reference.trim_start_matches("oci:").into())
            }
        }
    }

    /// Returns a repository of a server.
    pub fn server(address: &str, repository: &str) -> Self {
        Self::Server(address.to_owned(), repository.to_owned())
    }

    /// Stores an image for this machine's platform. Different salts produce different images.
    pub fn image(&self, tag: &str, salt: &str) -> Image {
        self.image_for(Some(tag), architecture(), salt)
    }

    /// Stores an index of two images without tags.
    pub fn index(&self, tag: &str) -> Index {
        let ours = self.image_for(None, architecture(), "ours");
        let foreign = self.image_for(None, foreign_architecture(), "foreign");
        let entry = |image: &Image, architecture: &str| {
            json!({
                "mediaType": MANIFEST, "digest": image.digest, "size": self.size(&image.digest),
                "platform": {"os": "linux", "architecture": architecture},
            })
        };
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [entry(&foreign, foreign_architecture()), entry(&ours, architecture())],
        });
        let digest = self.manifest(Some(tag), INDEX, &index);
        Index { digest, ours, foreign }
    }

    /// Stores a manifest unchanged.
    pub fn manifest(&self, tag: Option<&str>, media_type: &str, manifest: &Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let digest = digest(&bytes);
        match self {
            Self::Server(address, repository) => {
                let name = tag.unwrap_or(&digest);
                let request = Request::new("PUT", &format!("/v2/{repository}/manifests/{name}"));
                exchange(address, &request.header("Content-Type", media_type).body(bytes), 201);
            }
            Self::Layout(directory) => {
                put_in_layout(directory, &bytes);
                list_in_layout(directory, tag, media_type, &digest, bytes.len());
            }
        }
        digest
    }

    /// Stores a blob.
    pub fn blob(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        match self {
            Self::Server(address, repository) => put_blob(address, repository, &digest, bytes),
            Self::Layout(directory) => put_in_layout(directory, bytes),
        }
        digest
    }

    fn image_for(&self, tag: Option<&str>, architecture: &str, salt: &str) -> Image {
        let layer = layer(salt);
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Labels": {"salt": salt}},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.blob(&config), "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": self.blob(&layer), "size": layer.len(),
            }],
        });
        let put = self.manifest(tag, MANIFEST, &manifest);
        Image { digest: put, config: digest(&config), layer: digest(&layer) }
    }

    fn size(&self, digest: &str) -> u64 {
        match self {
            Self::Server(address, repository) => {
                let request = Request::new("GET", &format!("/v2/{repository}/manifests/{digest}"));
                let response = exchange(address, &request.header("Accept", MANIFEST), 200);
                response.body.len() as u64
            }
            Self::Layout(directory) => {
                fs::metadata(blob_path(directory, digest)).expect("a manifest that was just put").len()
            }
        }
    }
}

/// Returns a tar archive with one empty file, whose name contains the salt: 512 bytes of header and 1,024 of
/// end.
fn layer(salt: &str) -> Vec<u8> {
    let mut header = vec![0; 512];
    let name = format!("file-{salt}");
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(b"00000000000\0");
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.resize(512 + 1024, 0);
    header
}

fn exchange(address: &str, request: &Request, status: u16) -> Response {
    let Request { method, target, .. } = request;
    let response = send(address, request).unwrap_or_else(|error| panic!("{method} {target}: {error}"));
    let body = String::from_utf8_lossy(&response.body);
    assert_eq!(response.status, status, "{method} {target} at {address}: {body}");
    response
}

fn put_blob(address: &str, repository: &str, digest: &str, bytes: &[u8]) {
    let start = Request::new("POST", &format!("/v2/{repository}/blobs/uploads/"));
    let started = exchange(address, &start, 202);
    let location = started.value("location").expect("an upload has a location");
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => location,
    };
    let separator = if path.contains('?') { '&' } else { '?' };
    let put = Request::new("PUT", &format!("{path}{separator}digest={digest}"));
    exchange(address, &put.header("Content-Type", "application/octet-stream").body(bytes), 201);
}

fn blob_path(directory: &Path, digest: &str) -> PathBuf {
    directory.join("blobs").join(digest.replace(':', "/"))
}

fn put_in_layout(directory: &Path, bytes: &[u8]) {
    fs::create_dir_all(directory.join("blobs/sha256")).expect("the directories of a layout");
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("the layout's mark");
    fs::write(blob_path(directory, &digest(bytes)), bytes).expect("a blob of a layout");
}

/// Adds an entry to the layout's index. Content without a tag is not listed, and is reached through an index
/// or by its digest.
fn list_in_layout(directory: &Path, tag: Option<&str>, media_type: &str, digest: &str, size: usize) {
    let Some(tag) = tag else { return };
    let file = directory.join("index.json");
    let mut index: Value = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).expect("a layout's index is JSON"),
        Err(_) => json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
    };
    let entry = json!({
        "mediaType": media_type, "digest": digest, "size": size,
        "annotations": {"org.opencontainers.image.ref.name": tag},
    });
    index["manifests"].as_array_mut().expect("an index has manifests").push(entry);
    fs::write(file, index.to_string()).expect("a layout's index");
}
