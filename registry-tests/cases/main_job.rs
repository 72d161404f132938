//! The main workflow: generate, push, check. The hosts are this machine, an older Debian and a root that
//! lacks a library. The reference is the dynamic loader itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::case::{CC, DEBOOTSTRAP, DOCKER_REGISTRY, tool};
use crate::harness::compat::{Output, missing_libraries, missing_versions, verdict};
use crate::harness::docker_registry::{DockerRegistry, Settings};
use crate::harness::process::run;
use crate::harness::root::{self, Guest, LoaderAnswer, ask_loader};
use crate::harness::{Case, Requirement, Workspace, fixture};

const GIT: &str = "/usr/bin/git";

pub fn cases() -> Vec<Case> {
    let git = Requirement::Tool("git");
    vec![
        Case::new("main_job::git_runs_on_this_machine", &[git, DOCKER_REGISTRY], this_machine),
        Case::new(
            "main_job::an_older_debian_lacks_the_versions_that_its_loader_misses",
            &[git, DEBOOTSTRAP, Requirement::Root],
            older_debian,
        ),
        Case::new(
            "main_job::a_root_without_a_library_lacks_what_its_loader_misses",
            &[git, Requirement::Root],
            without_library,
        ),
        Case::new("main_job::a_whole_small_root_is_compatible", &[git, Requirement::Root], whole_root),
        Case::new("main_job::a_directory_provides_its_own_libraries", &[CC], application_directory),
        Case::new("main_job::a_static_program_requires_no_library", &[CC], static_program),
        Case::new("main_job::a_script_is_followed_to_its_interpreter", &[], script),
    ]
}

fn this_machine(workspace: &Workspace) {
    let registry = DockerRegistry::start(workspace, &Settings::default());
    let reference = format!("{}/demo/git:1", registry.local_name());
    workspace.compat(["gen", GIT, "-o", "compat.json"]).ok();
    workspace.compat(["validate", "compat.json"]).ok();
    workspace.compat(["push", &reference]).ok();
    workspace.compat(["check", &reference]).ok().says("compatible");
    let checked = workspace.compat(["check", "--format", "json", &reference]).ok();
    assert_eq!(verdict(&checked), "compatible");
}

/// Generates a program's specification and checks it against a root.
fn check_in(workspace: &Workspace, program: &Path, root: &Path) -> Output {
    let program = program.to_str().expect("a program's path is text");
    let root = root.to_str().expect("a root's path is text");
    workspace.compat(["gen", program, "-o", "compat.json"]).ok();
    workspace.compat(["check", "--root", root, "--format", "json", "compat.json"]).run()
}

/// Asserts that the report and the loader agree in the verdict and in the sets of missing libraries and
/// versions.
fn assert_agrees(output: &Output, truth: &LoaderAnswer) {
    let wanted = if truth.is_clean() { "compatible" } else { "incompatible" };
    assert_eq!(verdict(output), wanted, "the loader says {truth:?}");
    assert_eq!(missing_libraries(output), truth.missing_libraries);
    assert_eq!(missing_versions(output), truth.missing_versions);
}

fn older_debian(workspace: &Workspace) {
    let root = root::debian(workspace, "bullseye");
    let guest = Guest::new(workspace, &root, Path::new(GIT));
    let truth = ask_loader(workspace, &root, &guest.path);
    assert!(!truth.is_clean(), "bullseye starts this machine's git: {truth:?}");
    let output = check_in(workspace, Path::new(GIT), &root).exits(1);
    assert_agrees(&output, &truth);
    let root = root.to_str().expect("a root's path is text");
    let text = workspace.compat(["check", "--root", root, "compat.json"]).run().exits(1);
    text.says("libc.so.6").says("GLIBC_2.34");
}

fn without_library(workspace: &Workspace) {
    for (number, library) in ["libpcre2-8.so.0", "libz.so.1"].into_iter().enumerate() {
        let root = root::minimal(workspace, &format!("root-{number}"), Path::new(GIT));
        let opened = root::opened_here(workspace, Path::new(GIT));
        let path = opened.iter().find(|path| path.ends_with(library)).expect("git opens the library");
        fs::remove_file(root::inside(&root, path)).expect("the library is in the root");
        let truth = ask_loader(workspace, &root, Path::new(GIT));
        assert!(truth.missing_libraries.contains(library), "{truth:?}");
        let output = check_in(workspace, Path::new(GIT), &root).exits(1).says(library);
        assert_agrees(&output, &truth);
    }
}

fn whole_root(workspace: &Workspace) {
    let root = root::minimal(workspace, "root", Path::new(GIT));
    let truth = ask_loader(workspace, &root, Path::new(GIT));
    assert!(truth.is_clean(), "{truth:?}");
    assert_agrees(&check_in(workspace, Path::new(GIT), &root).exits(0), &truth);
}

/// Compiles a source of the fixtures.
pub(super) fn compile(workspace: &Workspace, source: &str, output: &str, arguments: &[&str]) {
    let mut command = Command::new(tool("cc"));
    command.arg(fixture(source)).arg("-o").arg(workspace.path(output)).args(arguments);
    run(workspace, command.current_dir(workspace.root()));
}

fn application_directory(workspace: &Workspace) {
    workspace.directory("application/bin");
    workspace.directory("application/lib");
    let library = "application/lib/libanswer.so.1";
    compile(workspace, "answer.c", library, &["-shared", "-fPIC", "-Wl,-soname,libanswer.so.1"]);
    let runpath = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib";
    let program = "application/bin/application";
    compile(workspace, "application.c", program, &["-Lapplication/lib", "-l:libanswer.so.1", runpath]);
    run(workspace, &mut Command::new(workspace.path(program)));
    workspace.compat(["gen", "application", "-o", "compat.json"]).ok();
    workspace.compat(["check", "compat.json"]).ok().never_says("libanswer");
    // The program alone, outside its directory, needs the library from the host.
    fs::copy(workspace.path(program), workspace.path("alone")).expect("a copy of the program");
    workspace.compat(["gen", "alone", "-o", "alone.json"]).ok();
    workspace.compat(["check", "alone.json"]).run().exits(1).says("libanswer.so.1");
}

fn static_program(workspace: &Workspace) {
    workspace.write("static.c", "int main(void) { return 0; }\n");
    let mut command = Command::new(tool("cc"));
    command.args(["-static", "static.c", "-o", "static"]).current_dir(workspace.root());
    run(workspace, &mut command);
    workspace.compat(["gen", "static", "-o", "compat.json"]).ok();
    workspace.compat(["check", "compat.json"]).ok();
    // An empty root is sufficient.
    let empty = workspace.directory("empty");
    let empty = empty.to_str().expect("a workspace's path is text");
    workspace.compat(["check", "--root", empty, "compat.json"]).ok();
}

fn script(workspace: &Workspace) {
    workspace.write("script", "#!/usr/bin/env sh\necho hello\n");
    set_mode(workspace, "script", 0o755);
    workspace.compat(["gen", "script", "-o", "compat.json"]).ok();
    let document = String::from_utf8(workspace.read("compat.json")).expect("text");
    assert!(document.contains("libc.so.6") && document.contains("/usr/bin/env"), "{document}");
    workspace.compat(["check", "compat.json"]).ok();
    set_mode(workspace, "script", 0o644);
    workspace.compat(["gen", "script", "-o", "compat.json"]).ok();
    workspace.compat(["check", "compat.json"]).run().exits(1).says("Permission denied");
}

fn set_mode(workspace: &Workspace, file: &str, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(workspace.path(file), mode).expect("our file");
}
