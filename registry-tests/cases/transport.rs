//! Prefixes before a name: each is accepted, or identified in a message that says what to do instead.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::artifact::specification;
use crate::harness::case::{CC, DOCKER, DOCKERD, SKOPEO, tool};
use crate::harness::compat::Compat;
use crate::harness::docker::Docker;
use crate::harness::process::{Guard, run, wait_until};
use crate::harness::skopeo::skopeo;
use crate::harness::{Case, Kind, Registry, Requirement, Workspace};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("transport::unsupported_prefixes_are_identified", &[], refused),
        Case::new(
            "transport::prefixes_for_a_registry_are_accepted",
            &Kind::Olareg.requirements(&[]),
            registries,
        ),
        Case::new(
            "transport::images_of_an_engine_and_of_archives_are_the_same",
            &[DOCKER, DOCKERD, CC, SKOPEO],
            engine,
        ),
        Case::new(
            "transport::images_of_podman_are_read_through_its_service",
            &[Requirement::Tool("podman"), Requirement::Root, CC],
            podman,
        ),
    ]
}

const ELSEWHERE: &[&str] = &[
    "docker-archive:app.tar",
    "oci-archive:app.tar:1",
    "dir:app",
    "docker-daemon:app:1",
    "containers-storage:localhost/app",
    "containerd:docker.io/library/app:1",
    "sif:app.sif",
    "library://org/app:1",
    "ostree:app@/ostree/repo",
    "file:///srv/app",
];

fn refused(workspace: &Workspace) {
    specification(workspace, "compat.json", "x");
    workspace.compat(["push", "oci:art:1", "compat.json"]).ok();
    let before = names(workspace);
    let mut lines = Vec::new();
    for text in ELSEWHERE {
        lines.extend(["inspect", "discover", "pull", "select", "delete"].map(|command| vec![command, text]));
        lines.extend([
            vec!["push", text, "compat.json"],
            vec!["attach", text, "compat.json"],
            vec!["copy", text, "oci:copied:1"],
            vec!["copy", "oci:art:1", text],
        ]);
    }
    for text in ["containerd:app", "sif:app.sif", "library://org/app:1", "ostree:app", "file:///srv/app"] {
        lines.extend([vec!["check", text], vec!["check", "--generate", text], vec!["gen", "--image", text]]);
    }
    for text in ["oci://org/app:1", "https://ghcr.io/org/app:1"] {
        lines.extend([
            vec!["push", text, "compat.json"],
            vec!["copy", "oci:art:1", text],
            vec!["check", text],
        ]);
    }
    lines.extend([vec!["gen", "docker-daemon:app"], vec!["tree", "docker-archive:app.tar"]]);
    for line in lines {
        let output = workspace.compat(&line).run().exits(2);
        assert!(output.stderr.contains("hint: "), "{}: {}", output.command, output.stderr);
    }
    assert_eq!(names(workspace), before);
}

/// Returns the names in the working directory.
fn names(workspace: &Workspace) -> BTreeSet<String> {
    let entries = std::fs::read_dir(workspace.root()).expect("the workspace").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn registries(workspace: &Workspace) {
    let registry = Registry::start(workspace, Kind::Olareg);
    specification(workspace, "compat.json", "x");
    let before = names(workspace);
    let reference = registry.tagged("demo", "1");
    workspace.compat(["push", &format!("oci://{reference}"), "compat.json"]).ok().says(&reference);
    for word in ["docker://", "oras://", "oci://"] {
        let text = format!("{word}{reference}");
        workspace.compat(["inspect", &text]).ok().says(&reference);
        workspace.compat(["check", "--no-cache", &text]).ok();
        workspace.compat(["check", "--no-cache", "--references-only", &text]).run().exits(2);
    }
    assert_eq!(names(workspace), before);
}

fn engine(workspace: &Workspace) {
    let docker = Docker::start(workspace);
    workspace.write("app.c", "int main(void) { return 0; }\n");
    workspace.directory("root");
    let mut command = Command::new(tool("cc"));
    run(workspace, command.args(["-static", "app.c", "-o", "root/app"]).current_dir(workspace.root()));
    docker.import_with("engine", &workspace.path("root"), &["ENTRYPOINT [\"/app\"]"], None);
    let image = "compat-tests:engine";
    let compat = |arguments: &[&str]| {
        docker
            .variables()
            .into_iter()
            .fold(workspace.compat(arguments), |run, (name, value)| run.env(name, value))
    };
    let archive = workspace.text("saved.tar");
    docker.run(&["save", "-o", &archive, image]);
    skopeo(
        workspace,
        &["copy", &format!("docker-archive:{archive}"), &format!("dir:{}", workspace.text("exported"))],
    );
    skopeo(
        workspace,
        &[
            "copy",
            &format!("docker-archive:{archive}"),
            &format!("oci-archive:{}:1", workspace.text("oci.tar")),
        ],
    );
    let expected = specified(compat(&["gen", "--image", "docker-archive:saved.tar"]));
    let id = docker.run(&["images", "--no-trunc", "--quiet", image]);
    let id = id.trim();
    let short = &id.trim_start_matches("sha256:")[..12];
    for source in [
        "docker-archive:saved.tar:compat-tests:engine",
        "docker-archive://saved.tar",
        "oci-archive:oci.tar:1",
        "dir:exported",
        &format!("docker-daemon:{image}"),
        &format!("docker-daemon://{image}"),
        &format!("docker-daemon:{id}"),
        &format!("docker-daemon:{short}"),
        &format!("docker-daemon:docker.io/library/{image}"),
    ] {
        assert_eq!(specified(compat(&["gen", "--image", source])), expected, "{source}");
        compat(&["check", source]).ok().says("compatible");
    }
    compat(&["check", "./saved.tar"]).ok().says("compatible");
    compat(&["check", "--all", &format!("docker-daemon:{image}")]).ok();
    compat(&["check", "docker-daemon:compat-tests:nowhere"])
        .run()
        .fails_clearly()
        .says("docker has no image")
        .says("hint: ");
    // An invalid image name never becomes a path of the engine's API.
    compat(&["check", "docker-daemon:../containers/json?all=1"]).run().exits(2);
    let gone = compat(&["check", &format!("docker-daemon:{image}")])
        .env("DOCKER_HOST", "unix:///nowhere/engine.sock");
    gone.run().fails_clearly().says("is not running").says("docker save");
}

/// Returns the specification without the download size, which docker's archives do not contain.
fn specified(run: Compat<'_>) -> Value {
    let mut document = run.ok().json();
    document["image"].as_object_mut().expect("an image's specification").remove("size");
    document
}

fn podman(workspace: &Workspace) {
    workspace.write("app.c", "int main(void) { return 0; }\n");
    workspace.directory("root");
    let mut command = Command::new(tool("cc"));
    run(workspace, command.args(["-static", "app.c", "-o", "root/app"]).current_dir(workspace.root()));
    let mut command = Command::new(tool("tar"));
    run(workspace, command.args(["-C", "root", "-cf", "root.tar", "."]).current_dir(workspace.root()));
    // podman refuses longer paths for its sockets.
    let short = tempfile::Builder::new().prefix("po-").tempdir().expect("a directory for podman");
    let podman = || {
        let mut command = Command::new(tool("podman"));
        command.args(["--root", &workspace.text("store"), "--storage-driver", "vfs"]);
        command.arg("--runroot").arg(short.path()).current_dir(workspace.root());
        command
    };
    run(
        workspace,
        podman().args(["import", "--change", "ENTRYPOINT [\"/app\"]", "root.tar", "localhost/tests:1"]),
    );
    run(
        workspace,
        podman().args(["save", "--format", "oci-archive", "-o", "saved.tar", "localhost/tests:1"]),
    );
    let socket = short.path().join("podman.sock");
    let address = format!("unix://{}", socket.display());
    let compat = |arguments: &[&str]| workspace.compat(arguments).env("CONTAINER_HOST", &address);
    compat(&["check", "containers-storage:localhost/tests:1"]).run().fails_clearly().says(
        "podman save --format oci-archive -o app.tar localhost/tests:1 && compat check oci-archive:app.tar",
    );
    let mut service = podman();
    let _service =
        Guard::spawn(workspace, "podman", service.args(["system", "service", "-t", "0", &address]));
    let ready = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
    assert!(wait_until(Duration::from_secs(30), ready), "podman's service does not answer");
    let expected = specified(compat(&["gen", "--image", "oci-archive:saved.tar"]));
    for source in ["containers-storage:localhost/tests:1", "containers-storage:tests:1"] {
        assert_eq!(specified(compat(&["gen", "--image", source])), expected, "{source}");
        compat(&["check", source]).ok().says("compatible");
    }
    let unknown = compat(&["check", "containers-storage:localhost/nowhere"]).run();
    unknown.fails_clearly().says("podman has no image localhost/nowhere");
    // The service also supports docker's API.
    let docker = workspace.compat(["check", "docker-daemon:localhost/tests:1"]).env("DOCKER_HOST", &address);
    docker.ok().says("compatible");
}
