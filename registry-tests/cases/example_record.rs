//! The examples of recording in containers: the exact commands of the page, and the manifest.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::case::{DOCKER, DOCKERD};
use crate::harness::compat::BINARY;
use crate::harness::docker::Docker;
use crate::harness::example::{file, text, yaml};
use crate::harness::process::run;
use crate::harness::{Case, Requirement, Workspace, root};

const PAGE: &str = "examples/docker-run.md";
const POD: &str = "examples/kubernetes/record.yaml";

pub fn cases() -> Vec<Case> {
    let engine = &[DOCKER, DOCKERD, Requirement::Tool("busybox"), Requirement::Root];
    vec![
        Case::new("example::the_commands_for_docker_record", engine, docker),
        Case::new("example::the_pod_that_records_is_consistent", &[], pod),
    ]
}

/// Returns the blocks of the page with this mark.
fn blocks(mark: &str) -> Vec<String> {
    let page = fs::read_to_string(file(PAGE)).expect("the page");
    let begin = format!("```sh {mark}\n");
    let begun = page.split(&begin).skip(1);
    begun.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn docker(workspace: &Workspace) {
    let docker = Docker::start(workspace);
    docker.import("record", &root::busybox(workspace));
    let blocks = blocks("docker");
    assert!(blocks.len() >= 4, "{blocks:?}");
    let bin = Path::new(BINARY).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    for (number, block) in blocks.iter().enumerate() {
        let directory = workspace.directory(&format!("recording-{number}"));
        let script = "read name < /etc/hostname\n[ -e /etc/missing-file ]\n";
        fs::write(directory.join("script"), script).expect("a script");
        // The engine of a test has no network. The command fails because of the missing file.
        let script = format!("({}) || [ $? = 1 ]", block.replace("docker run", "docker run --network=none"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(&directory).envs(docker.variables());
        shell.env("PATH", format!("{}:{path}", bin.display())).env("HOME", workspace.home());
        shell.env("image", "compat-tests:record").env("command", "/bin/sh /recording/script");
        run(workspace, &mut shell);
        let recording = fs::read_to_string(directory.join("run.jsonl")).expect("a recording");
        let opened =
            recording.lines().any(|line| line.contains("\"open\"") && line.contains("\"/etc/hostname\""));
        let missed =
            recording.lines().any(|line| line.contains("/etc/missing-file") && line.contains("ENOENT"));
        assert!(opened && missed, "{block}\n{recording}");
        // The program that is bound into the container starts the command.
        assert!(!recording.contains("\"exe\":\"/\""), "{recording}");
        assert!(
            recording.lines().last().is_some_and(|line| line.starts_with("{\"end\":\"exited\"")),
            "{recording}"
        );
    }
}

fn pod(workspace: &Workspace) {
    let manifest = yaml(POD);
    assert_eq!((text(&manifest["apiVersion"]), text(&manifest["kind"])), ("v1", "Pod"));
    let container = &manifest["spec"]["containers"][0];
    assert_eq!(container["securityContext"]["privileged"], true);
    let names = |value: &serde_json::Value| -> Vec<String> {
        let list = value.as_array().expect("a list");
        list.iter().map(|entry| text(&entry["name"]).to_owned()).collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&manifest["spec"]["volumes"]));
    let mounts = container["volumeMounts"].as_array().expect("a list");
    let place = |number: usize| text(&mounts[number]["mountPath"]);
    assert_eq!(container["command"][0], format!("{}/compat", place(0)));
    let arguments: Vec<&str> = container["args"].as_array().expect("a list").iter().map(text).collect();
    assert!(arguments[1].starts_with(&format!("--out={}/", place(1))), "{arguments:?}");
    // The options before the command are valid: they are parsed together with the option for help.
    let end = arguments.iter().position(|argument| *argument == "--").expect("an end of the options");
    workspace.compat([&arguments[..end], &["--help"]].concat()).ok();
}
