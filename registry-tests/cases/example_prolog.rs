//! The limits of a user's influence on the prolog of Slurm, which runs as root: it only requests artifacts
//! from a registry.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, mknodat};

use super::example_ci::executable;
use super::example_node::{calls, recorder, slurm, with_image};
use crate::harness::case::{CC, DOCKER_REGISTRY};
use crate::harness::example::Program;
use crate::harness::image::Place;
use crate::harness::process::{free_port, run};
use crate::harness::{Case, Kind, Registry, Requirement, Workspace};

pub fn cases() -> Vec<Case> {
    let root = &[Requirement::Root];
    let servers = &[CC, DOCKER_REGISTRY, Requirement::Root];
    let trace = &[Requirement::Tool("strace")];
    vec![
        Case::new("check::references_only_opens_no_local_file", trace, untouched),
        Case::new("check::references_only_refuses_other_targets", &[], refused),
        Case::new("example::the_prolog_of_slurm_opens_no_file_of_a_user", &[], names),
        Case::new("example::the_prolog_of_slurm_runs_compat_without_any_right", root, rights),
        Case::new("example::the_prolog_of_slurm_never_runs_compat_as_root", root, no_account),
        Case::new("example::the_cache_of_the_prolog_is_private_and_bounded", servers, cache),
        Case::new("example::the_prolog_of_slurm_uses_only_the_registries_of_the_site", &[], registries),
    ]
}

/// Creates a pipe without a writer: a program that opens it waits for ever.
fn pipe(workspace: &Workspace, name: &str) -> String {
    let path = workspace.path(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("directories in the workspace");
    mknodat(CWD, &path, FileType::Fifo, 0o666.into(), 0).expect("a pipe");
    workspace.text(name)
}

/// Returns targets of a user that are not references of a registry. Some of them look like one.
fn targets(workspace: &Workspace) -> Vec<String> {
    let fifo = pipe(workspace, "fifo");
    pipe(workspace, "layout/index.json");
    workspace.write("layout/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    workspace.write("app", "#!/bin/sh\n");
    let layout = workspace.text("layout");
    let prefixed = ["docker-archive:", "oci-archive:", "archive:", "dir:", "oci:"];
    let mut targets: Vec<String> = prefixed.iter().map(|prefix| format!("{prefix}{fifo}")).collect();
    targets.extend([format!("oci:{layout}:1"), fifo, layout]);
    let others = ["app", "./app", "fifo", "-", "--insecure", "/dev/tty", "/dev/zero", "/etc/shadow", "~/app"];
    targets.extend(others.map(str::to_owned));
    targets
}

fn refused(workspace: &Workspace) {
    for target in targets(workspace) {
        for command in ["check", "select", "inspect", "discover", "pull"] {
            let run = workspace.compat([command, "--references-only", "--", &target]);
            let output = run.within(Duration::from_secs(10)).run().exits(2);
            output.says("only HOST/NAME:TAG and HOST/NAME@DIGEST are accepted").says("--references-only");
        }
        let run = workspace.compat(["check", "--references-only", "--generate", "--", &target]);
        run.within(Duration::from_secs(10)).run().exits(2);
    }
    // One invalid target prevents requests for the others.
    let port = free_port();
    let reference = format!("127.0.0.1:{port}/demo/app:1");
    workspace.compat(["check", "--references-only", &reference, "app"]).run().exits(2);
    // A reference is requested even if a file has the same name.
    workspace.write(&format!("127.0.0.1:{port}/demo/app:1"), "#!/bin/sh\n");
    let undecided = workspace.compat(["check", "--references-only", "--retries", "0", &reference]).run();
    undecided.exits(3).says("127.0.0.1");
}

fn untouched(workspace: &Workspace) {
    let (binary, log) = (crate::harness::compat::BINARY, workspace.path("calls.log"));
    let log = log.to_str().expect("a workspace's path is text");
    let traced = |arguments: &[&str]| {
        let strace = ["-f", "-e", "trace=%file", "-o", log, "--", binary];
        workspace.compat([&strace, arguments].concat()).called("strace").run();
        String::from_utf8_lossy(&workspace.read("calls.log")).into_owned()
    };
    let file = workspace.write("private", "x");
    let file = file.to_str().expect("a workspace's path is text");
    for target in [file, &format!("oci:{file}"), "private", "./private"] {
        let calls = traced(&["check", "--references-only", "--", target]);
        assert!(calls.contains("execve") && !calls.contains("private\", "), "{target}:\n{calls}");
    }
    let calls = traced(&["check", "--", file]);
    assert!(calls.contains("private\", "), "the trace does not show the file:\n{calls}");
}

fn names(workspace: &Workspace) {
    recorder(workspace, "scontrol", 0);
    recorder(workspace, "scancel", 0);
    for target in targets(workspace) {
        let started = with_image(slurm(workspace, ""), &target).exits(0);
        assert!(started.took < Duration::from_secs(10), "{target}: {:?}", started.took);
        assert_eq!(calls(workspace, "scontrol"), [""; 0], "{target}");
        with_image(slurm(workspace, "undecided=refuse"), &target).exits(0);
        let held = calls(workspace, "scontrol");
        assert!(held[0].contains("only HOST/NAME:TAG"), "{target}: {held:?}");
    }
}

fn rights(workspace: &Workspace) {
    let log = workspace.write("seen.log", "");
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("permissions");
    let program = format!("#!/bin/sh\nid -u >{0}\ncat /proc/self/status >>{0}\n", log.display());
    executable(workspace, "stubs/compat", &program);
    let compat = workspace.text("stubs/compat");
    with_image(slurm(workspace, &format!("compat={compat}")), "h.example/a:1").exits(0);
    let seen = String::from_utf8(workspace.read("seen.log")).expect("text");
    assert!(!seen.starts_with("0\n") && seen.contains("NoNewPrivs:\t1"), "{seen}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(seen.contains(&format!("{set}:\t0000000000000000\n")), "{set} in:\n{seen}");
    }
    let groups = seen.lines().find_map(|line| line.strip_prefix("Groups:")).expect("groups");
    assert_eq!(groups.trim(), "", "{seen}");
}

fn no_account(workspace: &Workspace) {
    recorder(workspace, "scontrol", 0);
    recorder(workspace, "compat", 0);
    let stub = format!("compat={}", workspace.text("stubs/compat"));
    for settings in ["account=no-such-account", "account=root", "setpriv=/nonexistent", "account=-x"] {
        let settings = format!("{stub}\n{settings}\nundecided=refuse");
        with_image(slurm(workspace, &settings), "h.example/a:1").exits(0);
        let held = calls(workspace, "scontrol");
        assert!(held[0].contains("because the rights of root could not be dropped"), "{held:?}");
    }
    assert_eq!(calls(workspace, "compat"), [""; 0]);
}

fn registries(workspace: &Workspace) {
    recorder(workspace, "scontrol", 0);
    recorder(workspace, "compat", 0);
    let settings = format!(
        "compat={}\nundecided=refuse\nregistries='a.example b.example:5000'",
        workspace.text("stubs/compat")
    );
    for image in ["a.example/x:1", "b.example:5000/y/z"] {
        with_image(slurm(workspace, &settings), image).exits(0);
        assert_eq!((calls(workspace, "compat").len(), calls(workspace, "scontrol").len()), (1, 0), "{image}");
    }
    for image in ["c.example/x:1", "b.example/x", "example/x", "/"] {
        with_image(slurm(workspace, &settings), image).exits(0);
        let held = calls(workspace, "scontrol");
        assert!(
            held.iter().any(|call| call.contains("is not one of the allowed registries")),
            "{image}: {held:?}"
        );
    }
    assert_eq!(calls(workspace, "compat"), [""; 0]);
}

/// A user names many artifacts. The cache on the node stays within the limit of the site.
fn cache(workspace: &Workspace) {
    const LIMIT: u64 = 32 << 10;
    recorder(workspace, "scontrol", 0);
    let registry = Registry::start(workspace, Kind::DockerRegistry);
    let place = Place::of(&registry, "demo/app");
    let program = Program::new(workspace);
    for number in 0..12 {
        let tag = number.to_string();
        program.put(&place, &tag);
        let image = registry.tagged("demo/app", &tag);
        if number == 0 {
            workspace.compat(["attach", "--generate", &image]).ok();
        }
        with_image(slurm(workspace, "cache_limit=32K\nundecided=refuse"), &image).exits(0);
    }
    assert_eq!(calls(workspace, "scontrol"), [""; 0]);
    let cache = workspace.path("node-cache");
    let owner = fs::metadata(&cache).expect("the cache");
    assert!(owner.uid() != 0 && owner.mode() & 0o777 == 0o700, "{:o}", owner.mode());
    let mut files = Vec::new();
    list(&cache, &mut files);
    let occupied: u64 = files.iter().map(|size| size.next_multiple_of(4096).max(4096)).sum();
    assert!(files.len() > 4 && occupied <= LIMIT, "{} files, {occupied} bytes", files.len());
    let mut command = Command::new("find");
    let foreign = run(workspace, command.arg(&cache).args(["-user", "root"]));
    assert_eq!(foreign.trim(), "", "root writes nothing there");
}

fn list(directory: &Path, files: &mut Vec<u64>) {
    for entry in fs::read_dir(directory).expect("a directory of the cache").flatten() {
        let metadata = entry.metadata().expect("an entry of the cache");
        if metadata.is_dir() { list(&entry.path(), files) } else { files.push(metadata.len()) }
    }
}
