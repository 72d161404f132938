//! oras, a witness.

use std::process::Command;

use serde_json::Value;

use super::case::tool;
use super::process::run;
use super::{Kind, Workspace};

/// Runs oras in the workspace. For loopback addresses it uses plain HTTP by default.
pub fn oras(workspace: &Workspace, arguments: &[&str]) -> String {
    let mut command = Command::new(tool("oras"));
    command.args(arguments).current_dir(workspace.root());
    command.env("HOME", workspace.home()).env_remove("DOCKER_CONFIG");
    run(workspace, &mut command)
}

/// Returns the digests of the artifacts that oras finds attached to a reference. A 405 from the referrers API
/// is an error for oras, so an option selects the fallback tag if necessary.
pub fn discovered(workspace: &Workspace, reference: &str, kind: Kind) -> Vec<String> {
    let specification = match kind {
        Kind::Olareg => "v1.1-referrers-api",
        _ => "v1.1-referrers-tag",
    };
    let options = ["--plain-http", "--format", "json", "--distribution-spec", specification];
    let text = oras(workspace, &[&["discover"], &options[..], &[reference]].concat());
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let listed = json.get("referrers").or_else(|| json.get("manifests"));
    let referrers = listed.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let digest = |referrer: &Value| referrer["digest"].as_str().expect("a digest").to_owned();
    let mut digests: Vec<String> = referrers.iter().map(digest).collect();
    digests.sort();
    digests
}

/// Returns the digest that oras resolves for a reference.
pub fn digest(workspace: &Workspace, reference: &str) -> String {
    oras(workspace, &["resolve", "--plain-http", reference]).trim().to_owned()
}
