//! skopeo, a witness.

use std::process::Command;

use serde_json::Value;

use super::Workspace;
use super::case::tool;
use super::memory_registry::digest;
use super::process::run;

/// Runs skopeo in the workspace.
pub fn skopeo(workspace: &Workspace, arguments: &[&str]) -> String {
    let mut command = Command::new(tool("skopeo"));
    command.arg("--insecure-policy").args(arguments).current_dir(workspace.root());
    command.env("HOME", workspace.home()).env_remove("REGISTRY_AUTH_FILE");
    run(workspace, &mut command)
}

/// Returns the manifest of a server's reference, with the digest of its bytes.
pub fn manifest(workspace: &Workspace, reference: &str) -> (Value, String) {
    let source = format!("docker://{reference}");
    let text = skopeo(workspace, &["inspect", "--raw", "--tls-verify=false", &source]);
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (json, digest(text.as_bytes()))
}

/// Copies an artifact from a server to a layout, byte for byte.
pub fn copy_to_layout(workspace: &Workspace, reference: &str, directory: &str, tag: &str) {
    let (source, target) = (format!("docker://{reference}"), format!("oci:{directory}:{tag}"));
    let arguments = ["copy", "--preserve-digests", "--src-tls-verify=false", &source, &target];
    skopeo(workspace, &arguments);
}
