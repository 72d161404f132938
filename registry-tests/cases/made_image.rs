//! Images that docker made and pushed: the specifications derived from them, attached to them and checked,
//! and the network traffic.

use serde_json::Value;

use crate::harness::case::{DOCKER_REGISTRY, OLAREG, SKOPEO};
use crate::harness::compat::{Output, digest_of, discovered_below, level, verdict};
use crate::harness::docker::Docker;
use crate::harness::image::Place;
use crate::harness::made_image::{self, REQUIREMENTS, TAGS};
use crate::harness::recorder::{Recorder, blob_reads, lines};
use crate::harness::skopeo::{manifest, skopeo};
use crate::harness::{Case, Kind, Registry, Workspace, print_figure, root};

/// The limits for a check of an image, in requests and bytes. The artifact itself has some 100 KB.
const REQUESTS: usize = 5;
const BYTES: u64 = 2 << 20;

/// The kinds of registries to which the images are pushed.
const KINDS: [Kind; 2] = [Kind::DockerRegistry, Kind::Olareg];

pub fn cases() -> Vec<Case> {
    let requirements = [&REQUIREMENTS[..], &[DOCKER_REGISTRY, OLAREG, SKOPEO]].concat();
    vec![Case::new("made_image::images_from_docker_are_derived_attached_and_checked", &requirements, all)]
}

/// This is one case because the images take a while to make.
fn all(workspace: &Workspace) {
    let docker = Docker::start(workspace);
    made_image::small(workspace, &docker);
    made_image::large(workspace, &docker);
    made_image::foreign(workspace, &docker);
    workspace.compat(["host", "-o", "node.json.zst"]).ok();
    for kind in KINDS {
        let registry = Registry::start(workspace, kind);
        let address = registry.address().expect("a server");
        let local = address.replace("127.0.0.1", "localhost");
        for tag in TAGS.iter().chain(&["foreign"]) {
            docker.push(&format!("compat-tests:{tag}"), &format!("{local}/demo/app:{tag}"));
        }
        without_artifact(workspace, &registry);
        for tag in TAGS {
            judged(workspace, &registry, tag);
        }
        gpu(workspace, &registry);
        frugal(workspace, &registry, kind);
        index(workspace, &registry);
        if kind == Kind::Olareg {
            forms(workspace, &docker, &registry);
        }
    }
}

fn check(workspace: &Workspace, reference: &str, options: &[&str]) -> Output {
    workspace.compat(["check", "--format", "json", reference]).with(options).run()
}

/// Without an artifact the check is undecided, and the message states the remedy.
fn without_artifact(workspace: &Workspace, registry: &Registry) {
    let reference = registry.tagged("demo/app", "v4");
    let refused = workspace.compat(["check", &reference]).run().fails_clearly();
    refused.says("compat attach").says("--generate");
    let derived = check(workspace, &reference, &["--generate", "--cpu", "x86-64-v4"]).exits(0);
    assert_eq!((verdict(&derived).as_str(), level(&derived).as_str()), ("compatible", "generated"));
    check(workspace, &reference, &["--generate", "--cpu", "x86-64-v2"]).exits(1).says("x86-64-v4");
}

/// Returns the expected exit code for an image on a CPU of a level.
fn expected(tag: &str, level: u32) -> i32 {
    match tag {
        "missing" | "cuda" => 1,
        "v4" if level < 4 => 1,
        "hwcaps" if level < 3 => 1,
        _ => 0,
    }
}

/// Returns the level of this machine's CPU.
fn own_level() -> u32 {
    let level = compat_loader::host::Platform::of_this_machine().isa.map(|isa| isa.highest());
    level.expect("an x86-64 CPU has a level")
}

/// Attaches once and checks on every kind of host. A specification derived anew and one from a file give the
/// same result.
fn judged(workspace: &Workspace, registry: &Registry, tag: &str) {
    let reference = registry.tagged("demo/app", tag);
    let generated = check(workspace, &reference, &["--generate"]).exits(expected(tag, own_level()));
    let attach = ["attach", "--generate", "--format", "json", &reference];
    let first = workspace.compat(attach).ok();
    assert_eq!(digest_of(&workspace.compat(attach).ok()), digest_of(&first), "the same attachment twice");
    let here = check(workspace, &reference, &[]).exits(expected(tag, own_level()));
    assert_eq!(level(&here), "manifest");
    workspace.compat(["gen", "--image", &reference, "-o", "compat.json"]).ok();
    workspace.compat(["validate", "compat.json"]).ok();
    let read = check(workspace, "compat.json", &[]);
    for other in [&here, &read] {
        assert_eq!(without_source(other), without_source(&generated), "{tag}");
    }
    let bullseye = root::debian(workspace, "bullseye");
    let bullseye = bullseye.to_str().expect("a root's path is text");
    let hosts: [(&[&str], u32); 4] = [
        (&["--cpu", "x86-64-v2"], 2),
        (&["--cpu", "x86-64-v4"], 4),
        (&["--root", bullseye], own_level()),
        (&["--host", "node.json.zst"], own_level()),
    ];
    for (options, level) in hosts {
        let judged = check(workspace, &reference, options);
        assert_eq!(judged.code, Some(expected(tag, level)), "{tag} {options:?}: {}", judged.stdout);
    }
    match tag {
        "missing" => drop(here.says("libanswer.so.1")),
        "cuda" => drop(here.says("libcuda.so.1").says("cuda>=12.2")),
        _ => {}
    }
}

/// Returns a report without the source of the specification.
fn without_source(output: &Output) -> Value {
    let mut report = output.json();
    report.as_object_mut().expect("a report").remove("source");
    report
}

/// The host's driver decides about the image for a GPU.
fn gpu(workspace: &Workspace, registry: &Registry) {
    let reference = registry.tagged("demo/app", "cuda");
    for (version, code) in [("535.104.05", 0), ("470.57.02", 1)] {
        let root = made_image::driver_root(workspace, version);
        let root = root.to_str().expect("a root's path is text");
        check(workspace, &reference, &["--root", root]).exits(code);
    }
}

/// A check transfers the artifact, and nothing of the image.
fn frugal(workspace: &Workspace, registry: &Registry, kind: Kind) {
    let address = registry.address().expect("a server");
    let (image, _) = manifest(workspace, &format!("{address}/demo/app:python"));
    let layers = image["layers"].as_array().expect("an image has layers");
    let size: u64 = layers.iter().filter_map(|layer| layer["size"].as_u64()).sum();
    let recorder = Recorder::before(&address);
    let reference = format!("{}/demo/app:python", recorder.address());
    workspace.compat(["check", "--no-cache", &reference]).ok();
    let requests = recorder.requests();
    let text = lines(&requests);
    assert!(requests.len() <= REQUESTS, "{} requests:\n{text}", requests.len());
    for descriptor in layers.iter().chain([&image["config"]]) {
        let digest = descriptor["digest"].as_str().expect("a digest");
        assert!(!text.contains(digest), "a blob of the image was requested:\n{text}");
    }
    // A small specification is embedded in the manifest, a larger one is a separate blob.
    assert!(blob_reads(&requests).len() <= 1, "{text}");
    print_figure(&format!(
        "check of an image of {size} bytes on {}: {} requests, {} bytes",
        kind.name(),
        requests.len(),
        recorder.bytes()
    ));
    assert!(recorder.bytes() < BYTES.min(size / 20), "{} bytes of {size}:\n{text}", recorder.bytes());
}

/// The platforms of the index: a tag of the repository, and the platform in the index.
const PLATFORMS: [(&str, &str, Option<&str>); 3] =
    [("musl", "amd64", None), ("v4", "amd64", Some("v4")), ("foreign", "arm64", None)];

/// An index of several platforms: an artifact for each, and the best one that a host runs.
fn index(workspace: &Workspace, registry: &Registry) {
    let address = registry.address().expect("a server");
    let place = Place::server(&address, "demo/app");
    let put = |tag: &str, platforms: &[(&str, &str, Option<&str>)]| {
        let entry = |(tag, architecture, variant): &(&str, &str, Option<&str>)| {
            let (image, digest) = manifest(workspace, &format!("{address}/demo/app:{tag}"));
            let mut platform = serde_json::json!({"os": "linux", "architecture": architecture});
            if let Some(variant) = variant {
                platform["variant"] = (*variant).into();
            }
            let size = size(workspace, &address, &digest);
            let media_type = &image["mediaType"];
            serde_json::json!({"mediaType": media_type, "digest": digest, "size": size, "platform": platform})
        };
        let media_type = "application/vnd.oci.image.index.v1+json";
        let manifests: Vec<Value> = platforms.iter().map(entry).collect();
        let document =
            serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        place.manifest(Some(tag), media_type, &document);
        manifests.iter().map(|m| m["digest"].as_str().expect("a digest").to_owned()).collect::<Vec<_>>()
    };
    let digests = put("all", &PLATFORMS);
    let reference = registry.tagged("demo/app", "all");
    workspace.compat(["attach", "--generate", &reference]).ok().says(&digests[2]);
    let found = workspace.compat(["discover", "--format", "json", &reference]).ok();
    for digest in &digests {
        assert_eq!(discovered_below(&found, digest).len(), 1, "one artifact for each platform");
    }
    for (level, digest) in [("x86-64-v2", &digests[0]), ("x86-64-v4", &digests[1])] {
        let selected = workspace.compat(["select", "--cpu", level, &reference]).ok();
        assert_eq!(selected.stdout.trim(), registry.by_digest("demo/app", digest));
        check(workspace, &reference, &["--cpu", level]).exits(0);
    }
    workspace.compat(["select", "--platform", "linux/arm64", &reference]).run().exits(1);
    // Its only image for this machine lacks a library.
    put("broken", &[("missing", "amd64", None)]);
    workspace.compat(["select", &registry.tagged("demo/app", "broken")]).run().exits(1).says("no image");
    // Its images have no artifacts.
    let other = Place::server(&address, "demo/other").index("1");
    let reference = registry.tagged("demo/other", "1");
    assert!(!other.ours.digest.is_empty());
    workspace.compat(["select", &reference]).run().fails_clearly().says("attach --generate");
}

/// Returns the length of a manifest.
fn size(workspace: &Workspace, address: &str, digest: &str) -> usize {
    let source = format!("docker://{address}/demo/app@{digest}");
    skopeo(workspace, &["inspect", "--raw", "--tls-verify=false", &source]).len()
}

/// The same image in every possible form gives the same specification.
fn forms(workspace: &Workspace, docker: &Docker, registry: &Registry) {
    let tag = "cuda";
    let reference = registry.tagged("demo/app", tag);
    let at = |name: &str| workspace.text(name);
    docker.run(&["save", "-o", &at("saved.tar"), &format!("compat-tests:{tag}")]);
    let source = format!("docker://{reference}");
    let layout = format!("oci:{}:{tag}", at("layout"));
    for target in [layout.clone(), format!("oci-archive:{}", at("archive.tar"))] {
        skopeo(workspace, &["copy", "--src-tls-verify=false", &source, &target]);
    }
    let docker_archive = format!("docker-archive:{}", at("skopeo.tar"));
    skopeo(workspace, &["copy", "--src-tls-verify=false", &source, &format!("{docker_archive}:demo:1")]);
    let wanted = derived(workspace, &reference, &[]);
    let saved = format!("docker-archive:{}", at("saved.tar"));
    let archive = format!("oci-archive:{}", at("archive.tar"));
    for form in [&saved, &docker_archive, &archive, &layout, &at("archive.tar")] {
        assert_eq!(derived(workspace, form, &[])["objects"], wanted["objects"], "{form}");
        assert_eq!(requirements(&derived(workspace, form, &[])), requirements(&wanted), "{form}");
        check(workspace, form, &["--generate"]).exits(1).says("libcuda.so.1");
    }
    // A directory has no configuration, so the program is named.
    let directory = format!("dir:{}", at(tag));
    workspace.compat(["gen", "--image", &directory]).run().fails_clearly().says("--executable");
    let unpacked = derived(workspace, &directory, &["--executable", "/app"]);
    assert_eq!(unpacked["objects"], wanted["objects"]);
    check(workspace, &directory, &["--generate", "--executable", "/app"]).exits(1).says("libcuda.so.1");
    // An artifact that is attached to a layout is found there.
    workspace.compat(["attach", "--generate", &layout]).ok();
    check(workspace, &layout, &[]).exits(1).says("libcuda.so.1");
}

fn derived(workspace: &Workspace, source: &str, options: &[&str]) -> Value {
    workspace.compat(["gen", "--image", source]).with(options).ok().json()
}

fn requirements(specification: &Value) -> Value {
    specification["image"]["requirements"].clone()
}
