//! Readers of the JSON of `compat`. No other file knows its structure.

use std::collections::BTreeSet;

use serde_json::Value;

pub use compat_harness::compat::{Compat, Output};

/// The program under test.
pub const BINARY: &str = super::SUITE.binary;

/// The artifact type that the project guarantees.
pub const ARTIFACT_TYPE: &str = "application/vnd.compatlib.compatibility.v1";

/// The media type of the specification that the project guarantees.
pub const SPEC_TYPE: &str = "application/vnd.compatlib.compatibility.spec.v1+json";

/// Returns the digest in the output of `push --format json` or `inspect --format json`, or that of the first
/// artifact of `attach --format json`.
pub fn digest_of(output: &Output) -> String {
    let json = output.json();
    field(json["attached"].get(0).unwrap_or(&json), "digest")
}

/// Whether `push --format json` reports that content was sent.
pub fn sent_anything(output: &Output) -> bool {
    let json = output.json();
    match &json["attached"].get(0).unwrap_or(&json)["sent"] {
        Value::Bool(sent) => *sent,
        Value::Number(count) => count.as_u64() != Some(0),
        Value::Array(things) => !things.is_empty(),
        other => panic!("`sent` is {other} in {json}"),
    }
}

/// Returns the sorted digests in the output of `discover --format json`, including those of an index's
/// platforms.
pub fn discovered(output: &Output) -> Vec<String> {
    let json = output.json();
    let mut digests = referrer_digests(&json);
    for manifest in json["manifests"].as_array().into_iter().flatten() {
        digests.extend(referrer_digests(manifest));
    }
    digests.sort();
    digests
}

/// Returns the digests of the subject's referrers.
fn referrer_digests(object: &Value) -> Vec<String> {
    let referrers = object["referrers"].as_array().map(Vec::as_slice).unwrap_or_default();
    referrers.iter().map(|referrer| field(referrer, "digest")).collect()
}

/// Returns the digest of the image that `discover --format json` examined.
pub fn discovered_subject(output: &Output) -> String {
    field(&output.json(), "digest")
}

/// Returns the digests that `discover --format json` shows below one manifest of an index.
pub fn discovered_below(output: &Output, manifest: &str) -> Vec<String> {
    let json = output.json();
    let manifests = json["manifests"].as_array().unwrap_or_else(|| panic!("no manifests in {json:#}"));
    let found = manifests.iter().find(|shown| shown["digest"] == manifest);
    referrer_digests(found.unwrap_or_else(|| panic!("{manifest} is not shown in {json:#}")))
}

/// Returns the subject's digest in the output of `inspect --format json`.
pub fn inspected_subject(output: &Output) -> String {
    field(&output.json(), "subject")
}

/// Returns the artifact type in the output of `inspect --format json`.
pub fn inspected_type(output: &Output) -> String {
    field(&output.json(), "artifactType")
}

/// Returns the media types of config and layers in the output of `inspect --format json`, in this order.
pub fn inspected_contents(output: &Output) -> Vec<String> {
    let json = output.json();
    let contents = json["contents"].as_array().unwrap_or_else(|| panic!("no contents in {json:#}"));
    contents.iter().map(|content| field(content, "mediaType")).collect()
}

/// Returns the verdict of `check --format json`.
pub fn verdict(output: &Output) -> String {
    let json = output.json();
    json["verdict"].as_str().unwrap_or_else(|| panic!("no verdict in {json:#}")).to_owned()
}

/// Returns the missing libraries in the findings of `check --format json`.
pub fn missing_libraries(output: &Output) -> BTreeSet<String> {
    let findings = findings(output, "library-missing");
    findings.iter().map(|finding| field(finding, "library")).collect()
}

/// Returns the missing symbol versions in the findings, with the library that lacks them.
pub fn missing_versions(output: &Output) -> BTreeSet<(String, String)> {
    let findings = findings(output, "version-missing");
    findings.iter().map(|finding| (field(finding, "library"), field(finding, "version"))).collect()
}

fn findings(output: &Output, kind: &str) -> Vec<Value> {
    let json = output.json();
    let findings = json["findings"].as_array().unwrap_or_else(|| panic!("no findings in {json:#}"));
    findings.iter().filter(|finding| finding["kind"] == kind).cloned().collect()
}

fn field(finding: &Value, name: &str) -> String {
    finding[name].as_str().unwrap_or_else(|| panic!("no {name} in {finding:#}")).to_owned()
}

/// Returns the level of the artifact's subject in an index: the platform's manifest or the index itself.
pub fn level(output: &Output) -> String {
    let json = output.json();
    json["source"]["level"].as_str().unwrap_or_else(|| panic!("no level in {json:#}")).to_owned()
}
