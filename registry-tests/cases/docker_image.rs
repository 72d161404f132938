//! The image `FROM scratch` with the static binary, and the binary mounted into other images.

use std::fs;
use std::path::Path;

use crate::harness::artifact::{PROGRAM, push};
use crate::harness::case::{DOCKER, DOCKERD};
use crate::harness::compat::BINARY;
use crate::harness::docker::Docker;
use crate::harness::{Case, Kind, Registry, Requirement, Workspace, root};

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "docker::the_binary_runs_from_scratch_and_mounted_into_other_images",
        &[DOCKER, DOCKERD, Requirement::Tool("busybox"), Requirement::Root],
        runs_everywhere,
    )]
}

/// This is one case because an engine takes a while to start.
fn runs_everywhere(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::Layout);
    push(workspace, &registry.tagged("demo", "1"), "a");
    let docker = Docker::start(workspace);
    from_scratch(workspace, &docker);
    mounted(workspace, &docker);
}

fn from_scratch(workspace: &Workspace, docker: &Docker) {
    let context = workspace.directory("context");
    fs::copy(BINARY, context.join("compat")).expect("the binary in the context");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/Dockerfile");
    fs::copy(&file, context.join("Dockerfile")).expect("the Dockerfile in the context");
    let context = workspace.text("context");
    docker.run(&["build", "--network=none", "-t", "compat-tests:scratch", &context]);
    let version = docker.run(&["run", "--rm", "--network=none", "compat-tests:scratch", "--version"]);
    assert!(version.starts_with("compat "), "{version}");
    let layouts = format!("{}:/layouts:ro", workspace.text("layouts"));
    // The image's root contains nothing else, so the artifact's program does not run there.
    let base = ["run", "--rm", "--network=none", "-v", &layouts];
    let check = ["compat-tests:scratch", "check", "--no-cache", "oci:/layouts/demo:1"];
    let (_, stdout, stderr) = docker.outcome(&[&base[..], &check].concat());
    assert!(stdout.contains("ld-linux"), "{stdout}{stderr}");
    // This machine, mounted as a root, runs it.
    let host = ["-v", "/:/host:ro"];
    let check = ["compat-tests:scratch", "check", "--no-cache", "--root", "/host", "oci:/layouts/demo:1"];
    docker.run(&[&base[..], &host, &check].concat());
    let inside = format!("/host{PROGRAM}");
    let document = docker.run(&[&base[..], &host, &["compat-tests:scratch", "gen", &inside]].concat());
    assert!(document.contains("libc.so.6"), "{document}");
}

/// The binary is mounted into images with another libc or none.
fn mounted(workspace: &Workspace, docker: &Docker) {
    docker.import("busybox", &root::busybox(workspace));
    docker.import("small", &root::minimal(workspace, "small", Path::new(PROGRAM)));
    let binary = format!("{BINARY}:/compat:ro");
    let layouts = format!("{}:/layouts:ro", workspace.text("layouts"));
    let base = ["run", "--rm", "--network=none", "-v", &binary, "-v", &layouts];
    let check = ["/compat", "check", "--no-cache", "oci:/layouts/demo:1"];
    let (success, stdout, stderr) = docker.outcome(&[&base[..], &["compat-tests:busybox"], &check].concat());
    assert!(!success && stdout.contains("ld-linux"), "an image without libc: {stdout}{stderr}");
    docker.run(&[&base[..], &["compat-tests:small"], &check].concat());
    docker.run(&[&base[..], &["compat-tests:small", "/compat", "gen", PROGRAM]].concat());
}
