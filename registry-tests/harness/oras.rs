//! oras, a witness.

use std::process::Command;

use serde_json::Value;

use super::Workspace;
use super::case::tool;
use super::process::run;

/// Runs oras in the workspace, over plain HTTP for loopback as its own default is.
pub fn oras(workspace: &Workspace, arguments: &[&str]) -> String {
    let mut command = Command::new(tool("oras"));
    command.args(arguments).current_dir(workspace.root());
    command.env("HOME", workspace.home()).env_remove("DOCKER_CONFIG");
    run(workspace, &mut command)
}

/// The digests of what oras finds attached to a reference.
pub fn discovered(workspace: &Workspace, reference: &str) -> Vec<String> {
    let text = oras(workspace, &["discover", "--plain-http", "--format", "json", reference]);
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let listed = json.get("referrers").or_else(|| json.get("manifests"));
    let referrers = listed.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let digest = |referrer: &Value| referrer["digest"].as_str().expect("a digest").to_owned();
    let mut digests: Vec<String> = referrers.iter().map(digest).collect();
    digests.sort();
    digests
}

/// The digest that oras sees behind a reference.
pub fn digest(workspace: &Workspace, reference: &str) -> String {
    oras(workspace, &["resolve", "--plain-http", reference]).trim().to_owned()
}
