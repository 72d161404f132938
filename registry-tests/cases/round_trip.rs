//! Push, pull, inspect, copy and delete on every kind of registry.

use crate::harness::artifact::{attach, discover, push, specification};
use crate::harness::case::DOCKER_REGISTRY;
use crate::harness::compat::{
    ARTIFACT_TYPE, SPEC_TYPE, digest_of, discovered, inspected_contents, inspected_type, sent_anything,
};
use crate::harness::image::Place;
use crate::harness::recorder::{Recorder, lines, uploads};
use crate::harness::{Case, Kind, Registry, Workspace};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new(
        "round_trip::copy_from_registry_to_registry_and_layout_keeps_digests",
        &Kind::Olareg.requirements(&[DOCKER_REGISTRY]),
        copy_around,
    )];
    for kind in Kind::ALL {
        let mut case = |name: &str, run: fn(&Workspace, Kind)| {
            let name = format!("round_trip::{name}_on_{}", kind.name());
            cases.push(Case::new(name, &kind.requirements(&[]), move |workspace| run(workspace, kind)));
        };
        case("pushed_artifacts_are_pulled", push_and_pull);
        case("the_same_push_twice_sends_nothing", push_twice);
        case("a_deleted_artifact_is_gone", delete);
        case("a_tag_moves_to_the_new_artifact", move_tag);
    }
    for kind in Kind::SERVERS {
        let name = format!("round_trip::the_second_push_uploads_nothing_to_{}", kind.name());
        cases.push(Case::new(name, &kind.requirements(&[]), move |workspace| no_uploads(workspace, kind)));
    }
    cases
}

fn push_and_pull(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    let digest = push(workspace, &reference, "a");
    let written = workspace.read("a.json");
    workspace.compat(["pull", &reference, "-o", "pulled.json"]).ok();
    assert_eq!(workspace.read("pulled.json"), written);
    let by_digest = registry.by_digest("demo/app", &digest);
    let piped = workspace.compat(["pull", &by_digest, "-o", "-"]).ok();
    assert_eq!(piped.stdout.as_bytes(), written);

    let seen = workspace.compat(["inspect", "--format", "json", &reference]).ok();
    assert_eq!(digest_of(&seen), digest);
    assert_eq!(inspected_type(&seen), ARTIFACT_TYPE);
    assert_eq!(inspected_contents(&seen), ["application/vnd.oci.empty.v1+json", SPEC_TYPE]);
    workspace.compat(["check", &reference]).ok();
}

fn push_twice(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    specification(workspace, "a.json", "a");
    let first = workspace.compat(["push", "--format", "json", &reference, "a.json"]).ok();
    let second = workspace.compat(["push", "--format", "json", &reference, "a.json"]).ok();
    assert_eq!(digest_of(&first), digest_of(&second));
    assert!(sent_anything(&first) && !sent_anything(&second), "{}\n{}", first.stdout, second.stdout);
    // Standard input and the default file name give the same artifact.
    let input = workspace.read("a.json");
    let piped = workspace.compat(["push", "--format", "json", &reference, "-"]).input(input.clone()).ok();
    workspace.write("compat.json", input);
    let unnamed = workspace.compat(["push", "--format", "json", &reference]).ok();
    assert_eq!([digest_of(&piped), digest_of(&unnamed)], [digest_of(&first), digest_of(&first)]);
}

fn no_uploads(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let recorder = Recorder::before(&registry.address().expect("a server"));
    let reference = format!("{}/demo/app:1", recorder.address());
    push(workspace, &reference, "a");
    assert!(!uploads(&recorder.requests()).is_empty());
    recorder.forget();
    workspace.compat(["push", &reference, "a.json"]).ok();
    let again = uploads(&recorder.requests());
    assert!(again.is_empty(), "{again:#?} of\n{}", lines(&recorder.requests()));
}

fn delete(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    push(workspace, &reference, "a");
    workspace.compat(["delete", &reference]).ok();
    workspace.compat(["pull", &reference, "-o", "pulled.json"]).run().fails_clearly();
    workspace.compat(["delete", &reference]).run().fails_clearly();
}

fn move_tag(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let reference = registry.tagged("demo/app", "1");
    let first = push(workspace, &reference, "a");
    let second = push(workspace, &reference, "b");
    let seen = workspace.compat(["inspect", "--format", "json", &reference]).ok();
    assert_eq!(digest_of(&seen), second);
    let old = registry.by_digest("demo/app", &first);
    workspace.compat(["pull", &old, "-o", "old.json"]).ok();
    assert_eq!(workspace.read("old.json"), workspace.read("a.json"));
}

/// Copies layout -> docker-registry -> olareg -> layout, with the attached artifacts.
fn copy_around(workspace: &Workspace) {
    let layout = Registry::start(workspace, Kind::Layout);
    let fallback = Registry::start(workspace, Kind::DockerRegistry);
    let modern = Registry::start(workspace, Kind::Olareg);
    let start = layout.tagged("start", "1");
    let image = Place::of(&layout, "start").image("1", "x");
    let mut attached = vec![attach(workspace, &start, "a"), attach(workspace, &start, "b")];
    attached.sort();
    let stations =
        [start, fallback.tagged("demo/app", "1"), modern.tagged("demo/app", "1"), layout.tagged("end", "1")];
    for leg in stations.windows(2) {
        workspace.compat(["copy", "-r", &leg[0], &leg[1]]).ok();
        let seen = workspace.compat(["inspect", "--format", "json", &leg[1]]).ok();
        assert_eq!(digest_of(&seen), image.digest, "{}", leg[1]);
        assert_eq!(discovered(&discover(workspace, &leg[1])), attached, "{}", leg[1]);
        workspace.compat(["check", &leg[1]]).ok();
    }
    // Without -r only the image is copied.
    let alone = layout.tagged("alone", "1");
    workspace.compat(["copy", &stations[1], &alone]).ok();
    assert!(discovered(&discover(workspace, &alone)).is_empty());
}
