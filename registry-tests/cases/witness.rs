//! Clients of other projects: they read artifacts of `compat` and `compat` reads theirs, with the same
//! digests.

use crate::harness::artifact::{attach, discover, push, specification};
use crate::harness::case::{ORAS, SKOPEO};
use crate::harness::compat::{ARTIFACT_TYPE, SPEC_TYPE, digest_of, discovered};
use crate::harness::image::Place;
use crate::harness::oci_client::{Artifact, OciClient};
use crate::harness::oras::{self, oras};
use crate::harness::skopeo;
use crate::harness::{Case, Kind, Registry, Workspace};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("witness::oras_reads_our_layout", &[ORAS], layout)];
    for kind in Kind::SERVERS {
        let mut case = |name: &str, run: fn(&Workspace, Kind)| {
            let name = format!("witness::{name}_on_{}", kind.name());
            let requirements = kind.requirements(&[ORAS, SKOPEO]);
            cases.push(Case::new(name, &requirements, move |workspace| run(workspace, kind)));
        };
        case("oras_pulls_our_artifacts", oras_pulls);
        case("we_pull_artifacts_of_oras", we_pull);
        case("oras_discovers_our_artifacts", oras_discovers);
        case("we_discover_artifacts_of_oras", we_discover);
        case("skopeo_reads_and_copies_our_artifacts", skopeo_copies);
        // The client is a library of this program, so only the registry must be installed.
        let mut case = |name: &str, run: fn(&Workspace, Kind)| {
            let name = format!("witness::{name}_on_{}", kind.name());
            cases.push(Case::new(name, &kind.requirements(&[]), move |workspace| run(workspace, kind)));
        };
        case("oci_client_pulls_our_artifacts", oci_client_pulls);
        case("we_pull_artifacts_of_oci_client", we_pull_from_oci_client);
        // oci-client treats a 405 from the referrers API as an error.
        if kind != Kind::OlaregWithoutReferrers {
            case("oci_client_finds_our_artifacts", oci_client_finds);
        }
        // oci-client attaches without a fallback tag, so only the API shows the artifact.
        if kind == Kind::Olareg {
            case("we_find_artifacts_of_oci_client", we_find_from_oci_client);
        }
    }
    cases
}

fn oras_pulls(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    let digest = push(workspace, &reference, "a");
    assert_eq!(oras::digest(workspace, &reference), digest);
    oras(workspace, &["pull", "--plain-http", &reference, "-o", "pulled"]);
    assert_eq!(workspace.read("pulled/compat.json"), workspace.read("a.json"));
}

fn we_pull(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    specification(workspace, "compat.json", "a");
    let layer = format!("compat.json:{SPEC_TYPE}");
    let push = ["push", "--plain-http", "--artifact-type", ARTIFACT_TYPE, &reference, &layer];
    oras(workspace, &push);
    workspace.compat(["pull", &reference, "-o", "pulled.json"]).ok();
    assert_eq!(workspace.read("pulled.json"), workspace.read("compat.json"));
    let seen = workspace.compat(["inspect", "--format", "json", &reference]).ok();
    assert_eq!(digest_of(&seen), oras::digest(workspace, &reference));
    workspace.compat(["check", &reference]).ok();
}

fn oras_discovers(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").image("1", "x");
    let mut attached = vec![attach(workspace, &image, "a"), attach(workspace, &image, "b")];
    attached.sort();
    assert_eq!(oras::discovered(workspace, &image, kind), attached);
}

fn we_discover(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").image("1", "x");
    specification(workspace, "compat.json", "a");
    let layer = format!("compat.json:{SPEC_TYPE}");
    let way = if kind == Kind::Olareg { "v1.1-referrers-api" } else { "v1.1-referrers-tag" };
    let options = ["--plain-http", "--distribution-spec", way, "--artifact-type", ARTIFACT_TYPE];
    oras(workspace, &[&["attach"], &options[..], &[&image, &layer]].concat());
    let theirs = oras::discovered(workspace, &image, kind);
    assert_eq!((theirs.len(), discovered(&discover(workspace, &image))), (1, theirs.clone()));
    workspace.compat(["check", &image]).ok();
    // Artifacts of both clients are found side by side.
    let ours = attach(workspace, &image, "b");
    let mut both = vec![theirs[0].clone(), ours];
    both.sort();
    assert_eq!(discovered(&discover(workspace, &image)), both);
    assert_eq!(oras::discovered(workspace, &image, kind), both);
}

fn skopeo_copies(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    let digest = push(workspace, &reference, "a");
    let (manifest, seen) = skopeo::manifest(workspace, &reference);
    assert_eq!(seen, digest);
    assert_eq!(manifest["layers"][0]["mediaType"], SPEC_TYPE);
    skopeo::copy_to_layout(workspace, &reference, "copied", "1");
    let copied = format!("oci:{}:1", workspace.text("copied"));
    let ours = workspace.compat(["inspect", "--format", "json", &copied]).ok();
    assert_eq!(digest_of(&ours), digest);
    workspace.compat(["check", &copied]).ok();
}

fn oci_client_pulls(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    let digest = push(workspace, &reference, "a");
    let client = OciClient::new();
    for reference in [reference, registry.by_digest("demo/app", &digest)] {
        let pulled = client.pull(&reference);
        assert_eq!(pulled.digest, digest);
        assert_eq!(pulled.manifest.artifact_type.as_deref(), Some(ARTIFACT_TYPE));
        assert_eq!(pulled.manifest.layers[0].media_type, SPEC_TYPE);
        assert_eq!((pulled.config, pulled.layers), (b"{}".to_vec(), vec![workspace.read("a.json")]));
    }
}

fn we_pull_from_oci_client(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    specification(workspace, "a.json", "a");
    let content = workspace.read("a.json");
    let digest = OciClient::new().push(&reference, artifact(&content), None);
    workspace.compat(["pull", &reference, "-o", "pulled.json"]).ok();
    assert_eq!(workspace.read("pulled.json"), content);
    let seen = workspace.compat(["inspect", "--format", "json", &reference]).ok();
    assert_eq!(digest_of(&seen), digest);
    workspace.compat(["check", &reference]).ok();
}

fn oci_client_finds(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    let subject = registry.by_digest("demo/app", &Place::of(&registry, "demo/app").image("1", "x").digest);
    let client = OciClient::new();
    assert!(client.referrers(&subject, ARTIFACT_TYPE).is_empty());
    let mut attached = vec![attach(workspace, &image, "a"), attach(workspace, &image, "b")];
    attached.sort();
    assert_eq!(client.referrers(&subject, ARTIFACT_TYPE), attached);
    assert_eq!(client.pull(&registry.by_digest("demo/app", &attached[0])).digest, attached[0]);
}

fn we_find_from_oci_client(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let image = registry.tagged("demo/app", "1");
    Place::of(&registry, "demo/app").image("1", "x");
    specification(workspace, "a.json", "a");
    let content = workspace.read("a.json");
    let attached = registry.tagged("demo/app", "attached");
    let digest = OciClient::new().push(&attached, artifact(&content), Some(&image));
    assert_eq!(discovered(&discover(workspace, &image)), [digest]);
    workspace.compat(["pull", &image, "-o", "pulled.json"]).ok();
    assert_eq!(workspace.read("pulled.json"), content);
    workspace.compat(["check", &image]).ok();
}

/// Returns a specification as an artifact of `oci-client`.
fn artifact(content: &[u8]) -> Artifact<'_> {
    Artifact { artifact_type: ARTIFACT_TYPE, layer_type: SPEC_TYPE, content }
}

fn layout(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::Layout);
    let image = registry.tagged("demo", "1");
    Place::of(&registry, "demo").image("1", "x");
    let attached = attach(workspace, &image, "a");
    let seen = oras(workspace, &["discover", "--oci-layout", image.trim_start_matches("oci:")]);
    assert!(seen.contains(&attached), "{seen}");
}
