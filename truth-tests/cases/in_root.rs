//! Programs and libraries of a root, named by their paths on this machine. `compat` starts them in their place
//! inside the root, like the loader in that root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::fixture::Step;
use super::sandbox::Sandbox;
use crate::harness::case::DEBOOTSTRAP;
use crate::harness::{Case, Requirement, Scene, Workspace};

/// Returns every case.
pub fn all() -> Vec<Case> {
    let requirements = [Requirement::Root, Requirement::Tool("gcc"), DEBOOTSTRAP];
    let case = |name: &str, run: fn(&Workspace)| Case::new(format!("in_root::{name}"), &requirements, run);
    vec![
        case("a_program_is_started_where_it_lies_inside", program),
        case("a_plugin_and_its_program_lie_inside", plugin),
        case("a_specification_says_where_it_lies_inside", specification),
        case("the_origin_in_a_library_path_is_the_programs", library_path),
        case("names_that_are_not_text_are_their_bytes", raw_names),
        case("a_document_has_the_link_at_which_a_search_ends", blocked_link),
    ]
}

/// Returns a root with `/case/bin/app`, which finds its library through `$ORIGIN` or not at all.
fn made<'a>(workspace: &'a Workspace, run_path: &str) -> Sandbox<'a> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("truth-tests/fixtures/in_root.c");
    let sandbox = Sandbox::new(workspace, "bookworm", source);
    let flags = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
    let compile = |output: &str, shared, more: &[&str]| Step::Compile {
        output: output.to_owned(),
        flags: flags(more),
        shared,
    };
    let link = |path: &str, target: &str| Step::Link { path: path.to_owned(), target: target.to_owned() };
    sandbox.take(&compile("libx.so", true, &["-Wl,-soname,libx.so"]));
    sandbox.take(&Step::Copy { from: "libx.so".to_owned(), to: "lib/libx.so".to_owned() });
    let run_path = format!("-Wl,-rpath,{run_path}");
    sandbox.take(&compile("bin/app", false, &["-lx", &run_path]));
    sandbox.take(&compile("plugin/plugin.so", true, &["-DPLUGIN", "-lx", "-Wl,-rpath,$ORIGIN/../lib"]));
    sandbox.take(&Step::Remove { path: "libx.so".to_owned() });
    // Outside of the root, these links lead nowhere.
    sandbox.take(&link("app", "/case/bin/app"));
    sandbox.take(&link("opt", "/case/bin"));
    sandbox
}

fn compat(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compat"));
    command.args(arguments).arg("--root").arg(root).env_remove("LD_LIBRARY_PATH");
    command.output().expect("compat starts")
}

fn path(root: &Path, inside: &str) -> String {
    let path: PathBuf = root.join(inside);
    path.to_string_lossy().into_owned()
}

fn assert_exit(output: &Output, exit: i32) {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{text}");
    assert!(!text.contains("/.compat"), "{text}");
}

fn program(workspace: &Workspace) {
    let sandbox = made(workspace, "$ORIGIN/../lib");
    let root = &sandbox.root;
    let truth = Scene::new(root, "/case/bin/app").truth(None);
    assert_eq!(truth.lazy.end, crate::harness::loader::End::Entry);
    for inside in ["case/bin/app", "case/app", "case/opt/app", "case/bin"] {
        let outside = path(root, inside);
        assert_exit(&compat(root, &["check", &outside]), 0);
    }
    sandbox.take(&Step::Remove { path: "lib/libx.so".to_owned() });
    assert_exit(&compat(root, &["check", &path(root, "case/bin/app")]), 1);
}

fn plugin(workspace: &Workspace) {
    let sandbox = made(workspace, "$ORIGIN/../lib");
    let root = &sandbox.root;
    let library = path(root, "case/plugin/plugin.so");
    for program in ["/case/bin/app".to_owned(), path(root, "case/bin/app")] {
        assert_exit(&compat(root, &["check", "--host-program", &program, &library]), 0);
    }
}

fn specification(workspace: &Workspace) {
    let sandbox = made(workspace, "$ORIGIN/../lib");
    let root = &sandbox.root;
    for inside in ["case/bin/app", "case/app"] {
        let output = compat(root, &["gen", &path(root, inside)]);
        assert_exit(&output, 0);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(r#""location":"/case/bin""#), "{text}");
        let document = workspace.text("app.json");
        std::fs::write(&document, &output.stdout).expect("the document");
        assert_exit(&compat(root, &["check", &document]), 0);
    }
}

fn blocked_link(workspace: &Workspace) {
    let sandbox = made(workspace, "$ORIGIN/../a:$ORIGIN/../lib");
    let root = &sandbox.root;
    let document = workspace.text("app.json");
    let long = "a".repeat(256);
    for (target, expected) in [("../bin/app/x", false), (&*long, false), ("libx.so", false), ("none", true)] {
        sandbox.take(&Step::Link { path: "a/libx.so".to_owned(), target: target.to_owned() });
        let truth = Scene::new(root, "/case/bin/app").truth(None);
        assert_eq!(truth.lazy.end == crate::harness::loader::End::Entry, expected, "{target}");
        let output = compat(root, &["gen", &path(root, "case")]);
        let mut read: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
        // Only the document decides: its files have no location on the host.
        read.as_object_mut().expect("an object").remove("location");
        std::fs::write(&document, read.to_string()).expect("the document");
        assert_exit(&compat(root, &["check", &document]), i32::from(!expected));
        sandbox.take(&Step::Remove { path: "a/libx.so".to_owned() });
    }
}

/// The library is in a default directory, in which a saved host also has it.
fn raw_names(workspace: &Workspace) {
    let sandbox = made(workspace, "/nowhere");
    let root = &sandbox.root;
    let app = path(root, "case/bin/app");
    let (document, profile) = (workspace.text("app.json"), workspace.text("host.json"));
    let named = |name: &[u8]| {
        let directory = root.join("usr/lib");
        std::fs::create_dir_all(&directory).expect("a directory of the root");
        let place = directory.join(OsStr::from_bytes(name));
        std::fs::copy(root.join("case/lib/libx.so"), &place).expect("a library");
        let runs =
            Scene::new(root, "/case/bin/app").truth(None).lazy.end == crate::harness::loader::End::Entry;
        let exit = i32::from(!runs);
        assert_exit(&compat(root, &["check", &app]), exit);
        std::fs::write(&document, compat(root, &["gen", &app]).stdout).expect("the document");
        assert_exit(&compat(root, &["check", &document]), exit);
        assert_exit(&compat(root, &["host", "-o", &profile]), 0);
        for subject in [&app, &document] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_compat"));
            command.args(["check", "--host", &profile, subject]).env_remove("LD_LIBRARY_PATH");
            assert_exit(&command.output().expect("compat starts"), exit);
        }
        std::fs::remove_file(place).expect("the library");
        runs
    };
    let (text, bytes) = ("libx.so".to_owned(), b"li\xffx".to_vec());
    sandbox.take(&Step::Replace { path: "bin/app".to_owned(), text, bytes });
    assert!(named(b"li\xffx.so"));
    assert!(!named("li\u{fffd}x.so".as_bytes()));
    assert!(!named(b"li\xfex.so"));
}

fn library_path(workspace: &Workspace) {
    let sandbox = made(workspace, "/nowhere");
    let root = &sandbox.root;
    let app = path(root, "case/bin/app");
    assert_exit(&compat(root, &["check", &app]), 1);
    assert_exit(&compat(root, &["check", &app, "--library-path", "$ORIGIN/../lib"]), 0);
    assert_exit(&compat(root, &["check", &app, "--library-path", "$ORIGIN/../none"]), 1);
    // A document does not contain its location, so its program's directory has no name.
    let document = workspace.text("app.json");
    std::fs::write(&document, compat(root, &["gen", &app]).stdout).expect("the document");
    assert_exit(&compat(root, &["check", &document, "--library-path", "$ORIGIN/none"]), 1);
}
