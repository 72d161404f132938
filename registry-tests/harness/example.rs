//! The files of `examples/`, and images to try them on. An image contains one static program, and its
//! configuration has requirements of the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::Workspace;
use super::case::tool;
use super::image::{Place, architecture, foreign_architecture};
use super::memory_registry::digest;
use super::process::run;

/// Environment variables of an image that no host satisfies, with or without a GPU.
const UNMET: &[&str] = &["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_REQUIRE_CUDA=cuda>=99.0"];

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Returns the path of a file of the project.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Reads a YAML file of the project.
///
/// # Panics
///
/// If the file is not YAML.
pub fn yaml(name: &str) -> Value {
    let text = std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns a value that must be text.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}

/// Reads a file of lines `NAME=VALUE`, or of GitHub's form for several lines: `NAME<<END`, the lines, `END`.
pub fn outputs(file: &str) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = file.lines();
    while let Some(line) = lines.next() {
        if let Some((name, end)) = line.split_once("<<") {
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
            outputs.insert(name.to_owned(), value.join("\n"));
        } else if let Some((name, value)) = line.split_once('=') {
            outputs.insert(name.to_owned(), value.to_owned());
        }
    }
    outputs
}

/// A static program in an image.
pub struct Program {
    layer: Vec<u8>,
}

impl Program {
    /// Compiles the program, which prints `hello from the image`.
    pub fn new(workspace: &Workspace) -> Self {
        let source = "#include <stdio.h>\nint main(void) { puts(\"hello from the image\"); return 0; }\n";
        workspace.write("image.c", source);
        workspace.directory("image-root");
        let mut command = Command::new(tool("cc"));
        command.args(["-static", "image.c", "-o", "image-root/app"]).current_dir(workspace.root());
        run(workspace, &mut command);
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all(".", workspace.path("image-root")).expect("an archive of a directory");
        Self { layer: archive.into_inner().expect("an archive in memory") }
    }

    /// Stores an image that runs on every host of its architecture, and returns its digest.
    pub fn put(&self, place: &Place, tag: &str) -> String {
        self.image(place, Some(tag), architecture(), &[]).0
    }

    /// Stores an image that runs nowhere because it requires a driver, and returns its digest.
    pub fn put_unmet(&self, place: &Place, tag: &str) -> String {
        self.image(place, Some(tag), architecture(), UNMET).0
    }

    /// Stores an index with an image of this architecture and one of another. Returns their digests.
    pub fn put_index(&self, place: &Place, tag: &str) -> (String, String) {
        let mut entries = Vec::new();
        for architecture in [foreign_architecture(), architecture()] {
            let (digest, size) = self.image(place, None, architecture, &[]);
            entries.push(json!({
                "mediaType": MANIFEST, "digest": digest, "size": size,
                "platform": {"os": "linux", "architecture": architecture},
            }));
        }
        let digest = |number: usize| text(&entries[number]["digest"]).to_owned();
        let (foreign, ours) = (digest(0), digest(1));
        place.manifest(
            Some(tag),
            INDEX,
            &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}),
        );
        (ours, foreign)
    }

    fn image(&self, place: &Place, tag: Option<&str>, architecture: &str, env: &[&str]) -> (String, usize) {
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/app"], "Env": env},
            "rootfs": {"type": "layers", "diff_ids": [digest(&self.layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": place.blob(&config), "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": place.blob(&self.layer), "size": self.layer.len(),
            }],
        });
        (place.manifest(tag, MANIFEST, &manifest), manifest.to_string().len())
    }
}
