//! Copies: between repositories of one registry, with subjects of another digest algorithm, interrupted, and
//! read by other clients.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use crate::harness::artifact::{attach, discover, push, put_plain, specification};
use crate::harness::case::{DOCKER_REGISTRY, OLAREG, ORAS, REGCTL, tool};
use crate::harness::compat::{digest_of, discovered};
use crate::harness::image::Place;
use crate::harness::memory_registry::{Fault, MemoryRegistry, Rule};
use crate::harness::process::{run, wait_until};
use crate::harness::recorder::{Recorder, lines};
use crate::harness::{Case, Kind, Registry, Workspace};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "copy::artifacts_of_a_sha512_subject_are_kept_or_the_copy_fails",
            &[DOCKER_REGISTRY, OLAREG],
            sha512,
        ),
        Case::new("copy::leftovers_of_a_killed_copy_are_removed_by_the_next", &[], abandoned),
        Case::new("copy::regctl_and_oras_list_artifacts_attached_in_a_layout", &[REGCTL, ORAS], witnesses),
    ];
    for kind in [Kind::DockerRegistry, Kind::Olareg] {
        let name = format!("copy::blobs_of_another_repository_are_not_transferred_on_{}", kind.name());
        cases.push(Case::new(name, &kind.requirements(&[]), move |workspace| mounted(workspace, kind)));
    }
    for (name, signal) in [("SIGINT", Signal::INT), ("SIGTERM", Signal::TERM), ("SIGKILL", Signal::KILL)] {
        let name = format!("copy::a_copy_that_ends_by_{name}_leaves_no_temporary_file");
        cases.push(Case::new(name, &[], move |workspace| interrupted(workspace, signal)));
    }
    cases
}

fn mounted(workspace: &Workspace, kind: Kind) {
    let registry = Registry::start(workspace, kind);
    let put = Place::of(&registry, "demo/app").image("1", "x");
    attach(workspace, &registry.tagged("demo/app", "1"), "a");
    let recorder = Recorder::before(&registry.address().expect("a server"));
    let from = format!("{}/demo/app:1", recorder.address());
    let to = format!("{}/other/copied:1", recorder.address());
    let copied = workspace.compat(["copy", "-r", "--format", "json", &from, &to]).ok().json();
    assert_eq!(copied["blobs"], 0, "{copied}");
    assert!(copied["mounted"].as_u64() >= Some(3), "{copied}");
    let transferred = |request: &&crate::harness::http::Recorded| {
        request.target.contains("/blobs/") && matches!(request.method.as_str(), "GET" | "PUT" | "PATCH")
    };
    let requests = recorder.requests();
    assert_eq!(requests.iter().filter(transferred).count(), 0, "{}", lines(&requests));
    let found = discover(workspace, &registry.tagged("other/copied", "1"));
    assert_eq!(discovered(&found).len(), 1);
    assert!(found.stdout.contains(&put.digest));
    workspace.compat(["check", "--no-cache", &registry.tagged("other/copied", "1")]).ok();
}

/// Gives the image of a layout a sha512 digest, which is valid in a layout.
fn with_sha512(layout: &Path) -> String {
    let file = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&file).expect("an index")).expect("JSON");
    let entry = &mut index["manifests"][0];
    let old = entry["digest"].as_str().expect("a digest").to_owned();
    let bytes = std::fs::read(layout.join("blobs").join(old.replace(':', "/"))).expect("a manifest");
    let hex: String = Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::create_dir_all(layout.join("blobs/sha512")).expect("a directory");
    std::fs::write(layout.join("blobs/sha512").join(&hex), bytes).expect("a blob");
    entry["digest"] = json!(format!("sha512:{hex}"));
    std::fs::write(file, index.to_string()).expect("an index");
    format!("sha512:{hex}")
}

fn sha512(workspace: &Workspace) {
    let layout = workspace.directory("layout");
    Place::Layout(layout.clone()).image("1", "x");
    let subject = with_sha512(&layout);
    let digest = attach(workspace, "oci:layout:1", "a");
    assert_eq!(discovered(&discover(workspace, "oci:layout:1")), std::slice::from_ref(&digest));
    workspace.compat(["copy", "-r", "oci:layout:1", "oci:copied:1"]).ok();
    let found = discover(workspace, "oci:copied:1");
    assert_eq!(discovered(&found), std::slice::from_ref(&digest));
    assert!(found.stdout.contains(&subject));
    for kind in [Kind::DockerRegistry, Kind::Olareg] {
        let registry = Registry::start(workspace, kind);
        for target in [registry.tagged("demo/app", "1"), registry.repository("demo/digest") + "@" + &subject]
        {
            let from = format!("oci:layout@{subject}");
            let run = workspace.compat(["copy", "-r", &from, &target]).run();
            if run.code == Some(0) {
                // The attached artifact is found there.
                assert_eq!(
                    discovered(&discover(workspace, &target)),
                    std::slice::from_ref(&digest),
                    "{target}"
                );
                workspace.compat(["check", "--no-cache", &target]).ok();
            } else {
                run.fails_clearly();
            }
        }
    }
    // A registry that accepts the image and then knows it by a sha256 digest.
    let registry = MemoryRegistry::honest();
    let target = format!("{}/demo:1", registry.address());
    let run = workspace.compat(["copy", "-r", "oci:layout:1", &target]).run();
    run.fails_clearly().says("would be lost").says("hint");
}

fn temporary_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(temporary_files(&path));
        } else if entry.file_name().to_string_lossy().starts_with(".compat-") {
            found.push(path);
        }
    }
    found
}

fn interrupted(workspace: &Workspace, signal: Signal) {
    let registry = MemoryRegistry::honest();
    put_plain(workspace, &Place::server(&registry.address(), "demo"), "1");
    let reference = format!("{}/demo:1", registry.address());
    for command in ["copy", "pull"] {
        registry.break_rule(Rule::always("GET", "/blobs/", Fault::Hang(Duration::from_secs(5))));
        registry.forget();
        let arguments = match command {
            "copy" => vec!["copy", &reference, "oci:copied:1"],
            _ => vec!["pull", &reference, "-o", "pulled.json"],
        };
        let running = workspace.compat(arguments).start();
        let asked = || registry.requests().iter().any(|request| request.target.contains("/blobs/"));
        assert!(wait_until(Duration::from_secs(10), asked), "no blob was requested");
        std::thread::sleep(Duration::from_millis(200));
        running.signal(signal);
        assert_ne!(running.wait().code, Some(0));
        assert_eq!(temporary_files(workspace.root()), Vec::<PathBuf>::new(), "{command}");
        registry.mend();
    }
    workspace.compat(["copy", &reference, "oci:copied:1"]).ok();
    workspace.compat(["check", "oci:copied:1"]).ok();
}

fn abandoned(workspace: &Workspace) {
    push(workspace, "oci:layout:1", "a");
    let left = ["layout/.compat-1-0-dead", "layout/blobs/sha256/.compat-1-1-dead"];
    for name in left {
        let file = std::fs::File::create(workspace.path(name)).expect("a file");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("a time");
    }
    push(workspace, "oci:layout:2", "b");
    assert_eq!(temporary_files(workspace.root()), Vec::<PathBuf>::new());
}

fn witnesses(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let put = Place::server(&registry.address(), "demo").image("1", "x");
    let image = format!("{}/demo:1", registry.address());
    let attached = attach(workspace, &image, "a");
    workspace.compat(["copy", "-r", &image, "oci:copied:1"]).ok();
    specification(workspace, "b.json", "b");
    let later = digest_of(&workspace.compat(["attach", "--format", "json", "oci:copied:1", "b.json"]).ok());
    let mut regctl = Command::new(tool("regctl"));
    regctl.args(["artifact", "list", "--format", "{{jsonPretty .}}", "ocidir://copied:1"]);
    let text = run(workspace, regctl.current_dir(workspace.root()).env("HOME", workspace.home()));
    let mut oras = Command::new(tool("oras"));
    oras.args(["discover", "--oci-layout", "--format", "json", "copied:1"]);
    let json = run(workspace, oras.current_dir(workspace.root()).env("HOME", workspace.home()));
    for digest in [&attached, &later] {
        assert!(text.contains(digest.as_str()), "regctl: {text}");
        assert!(json.contains(digest.as_str()), "oras: {json}");
    }
    // Artifacts that regctl attaches are found as well.
    std::fs::write(workspace.path("note"), "note").expect("a file");
    let mut regctl = Command::new(tool("regctl"));
    regctl.args(["artifact", "put", "--artifact-type", "application/vnd.example.note", "--file", "note"]);
    regctl.args(["--subject", "ocidir://copied:1"]);
    run(workspace, regctl.current_dir(workspace.root()).env("HOME", workspace.home()));
    let found = discover(workspace, "oci:copied:1");
    assert_eq!(discovered(&found).len(), 3, "{}", found.stdout);
    assert!(found.stdout.contains(&put.digest));
    workspace.compat(["check", "oci:copied:1"]).ok();
}
