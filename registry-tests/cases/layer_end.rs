//! Layers with unusual ends. `compat` reads exactly those that the container engine loads.

use std::process::Command;

use serde_json::json;

use crate::harness::case::{CC, DOCKER, DOCKERD, tool};
use crate::harness::docker::Docker;
use crate::harness::image::architecture;
use crate::harness::memory_registry::digest;
use crate::harness::process::run;
use crate::harness::{Case, Requirement, Workspace};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "layer_end::compat_reads_exactly_the_layers_that_the_engine_loads",
            &[DOCKER, DOCKERD, CC],
            as_the_engine,
        ),
        Case::new("layer_end::layers_of_umoci_are_read", &[Requirement::Tool("umoci"), CC], umoci),
    ]
}

/// Returns possible ends of a layer, each with whether it is usable. They are made from the last member (its
/// header and content) and its padding.
fn ends(member: &[u8], padding: usize) -> Vec<(&'static str, Vec<u8>, bool)> {
    let with = |tail: &[u8]| [member, &vec![0; padding], tail].concat();
    let zeroes = |count: usize| vec![0; count];
    vec![
        ("complete", with(&zeroes(1024)), true),
        ("no blocks of zeroes", with(b""), true),
        ("no padding", member.to_vec(), true),
        ("half of the padding", [member, &vec![0; padding / 2]].concat(), true),
        ("one block of zeroes", with(&zeroes(512)), true),
        ("many blocks of zeroes", with(&zeroes(10_240)), true),
        ("something behind the end", with(&[zeroes(1024), b"behind the end".to_vec()].concat()), true),
        ("a part of a block of zeroes", with(&zeroes(100)), false),
        ("one block of zeroes and a part of the second", with(&zeroes(700)), false),
        ("one block of zeroes, then a member", with(&[zeroes(512), member.to_vec()].concat()), false),
        ("a part of a header", with(&member[..300]), false),
        ("a member that is cut", member[..member.len() - 1].to_vec(), false),
        ("no header", with(&[b'x'; 512]), false),
    ]
}

fn as_the_engine(workspace: &Workspace) {
    let docker = Docker::start(workspace);
    workspace.write("app.c", "int main(void) { return 0; }\n");
    let mut command = Command::new(tool("cc"));
    run(workspace, command.args(["-static", "app.c", "-o", "app"]).current_dir(workspace.root()));
    let mut program = workspace.read("app");
    // Its last block is not full.
    program.resize(program.len().next_multiple_of(512) + 100, 0);
    let mut header = tar::Header::new_ustar();
    header.set_path("app").expect("a short path");
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    header.set_cksum();
    let member = [header.as_bytes().to_vec(), program].concat();
    let mut wrong = Vec::new();
    for (name, layer, usable) in ends(&member, 412) {
        let archive = saved(workspace, &layer);
        let (loaded, ..) = docker.outcome(&["load", "--quiet", "--input", &archive]);
        let source = format!("docker-archive:{archive}");
        let output = workspace.compat(["gen", "--image", &source]).run();
        let read = output.code == Some(0);
        if (loaded, read) != (usable, usable) {
            wrong.push(format!(
                "{name}: engine {loaded}, compat {read}, expected {usable}: {}",
                output.stderr
            ));
        }
        if loaded {
            docker.run(&["rmi", "--force", "compat-tests:end"]);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Writes an image of one layer in the format of `docker save`.
fn saved(workspace: &Workspace, layer: &[u8]) -> String {
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {"Entrypoint": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    });
    let manifest =
        json!([{"Config": "config.json", "RepoTags": ["compat-tests:end"], "Layers": ["layer.tar"]}]);
    let path = workspace.path("saved.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&path).expect("an archive"));
    let members = [
        ("config.json", config.to_string().into_bytes()),
        ("layer.tar", layer.to_vec()),
        ("manifest.json", manifest.to_string().into_bytes()),
    ];
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, &bytes[..]).expect("a member");
    }
    archive.finish().expect("an archive");
    workspace.text("saved.tar")
}

fn umoci(workspace: &Workspace) {
    workspace.write("app.c", "int main(void) { return 0; }\n");
    let mut command = Command::new(tool("cc"));
    run(workspace, command.args(["-static", "app.c", "-o", "app"]).current_dir(workspace.root()));
    workspace.write("message", "of a length that needs padding");
    let umoci = |arguments: &[&str]| {
        run(workspace, Command::new(tool("umoci")).args(arguments).current_dir(workspace.root()))
    };
    umoci(&["init", "--layout", "img"]);
    umoci(&["new", "--image", "img:1"]);
    umoci(&["insert", "--image", "img:1", "app", "/app"]);
    umoci(&["insert", "--image", "img:1", "message", "/message"]);
    umoci(&["config", "--image", "img:1", "--config.entrypoint", "/app"]);
    workspace.compat(["check", "--generate", "oci:img:1"]).ok().says("compatible");
}
