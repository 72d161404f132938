//! The tree, compared with the loader's own output for a start and with notes about libraries that are opened
//! later.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cases::main_job::compile;
use crate::harness::case::CC;
use crate::harness::compat::{Output, verdict};
use crate::harness::root;
use crate::harness::{Case, Requirement, Workspace};

const GIT: &str = "/usr/bin/git";

pub fn cases() -> Vec<Case> {
    let git = Requirement::Tool("git");
    vec![
        Case::new("tree::symbols_are_bound_like_by_the_loader", &[git], bindings),
        Case::new("tree::the_flat_list_is_in_the_order_of_the_loader", &[git], order),
        Case::new(
            "tree::a_program_of_a_root_is_started_from_its_directory",
            &[git, Requirement::Root],
            in_root,
        ),
        Case::new("tree::libraries_opened_later_count_by_their_priority", &[CC], dlopen),
        Case::new("tree::a_file_that_is_not_a_program_is_a_clear_error", &[], no_program),
        Case::new("tree::a_path_in_the_root_gets_a_hint_with_the_path_outside", &[], path_in_root),
    ]
}

fn path_in_root(workspace: &Workspace) {
    workspace.write("root/app/bin/app", "not a program");
    let run = workspace.compat(["tree", "--root", "root", "/app/bin/app"]).run();
    run.fails_clearly().says("hint: name the file by its path on this machine: root/app/bin/app");
    let run = workspace.compat(["tree", "--root", "root", "/app/bin/other"]).run();
    run.fails_clearly().never_says("by its path");
}

/// Returns the loader's output for a start of git with these variables, from standard error or output.
fn ask_loader(variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(GIT);
    command.arg("--version").env_remove("LD_LIBRARY_PATH").envs(variables.iter().copied());
    let output = command.stdin(Stdio::null()).output().expect("git starts");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// The bindings: object, provider, symbol and version.
type Bindings = BTreeSet<(String, String, String, String)>;

/// Returns the bindings that `LD_DEBUG=bindings` prints, without those of the vDSO.
fn true_bindings() -> Bindings {
    let text = ask_loader(&[("LD_DEBUG", "bindings"), ("LD_BIND_NOW", "1")]);
    let parse = |line: &str| {
        let (_, rest) = line.split_once("binding file ")?;
        let (from, rest) = rest.split_once(" [0] to ")?;
        let (to, rest) = rest.split_once(" [0]: normal symbol `")?;
        let (symbol, rest) = rest.split_once('\'')?;
        let version = rest.trim().trim_matches(['[', ']']);
        let is_file = from.starts_with('/') || from == "git";
        is_file.then(|| (from.to_owned(), to.to_owned(), symbol.to_owned(), version.to_owned()))
    };
    text.lines().filter_map(parse).collect()
}

fn our_bindings(output: &Output) -> Bindings {
    let document = output.json();
    let objects = document["trees"][0]["objects"].as_array().expect("the objects");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all = Bindings::new();
    for object in objects {
        for binding in object["bindings"].as_array().expect("the bindings") {
            if let Some(provider) = binding["from"].as_u64() {
                let provider = text(&objects[usize::try_from(provider).expect("an index")]["path"]);
                let (symbol, version) = (text(&binding["symbol"]), text(&binding["version"]));
                all.insert((text(&object["path"]), provider, symbol, version));
            }
        }
    }
    all
}

fn bindings(workspace: &Workspace) {
    let ours = our_bindings(&workspace.compat(["tree", "--bindings", "--format", "json", GIT]).ok());
    let truth = true_bindings();
    assert!(truth.len() > 100, "the loader printed too few bindings: {truth:?}");
    let wrong: Vec<_> = ours.symmetric_difference(&truth).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn order(workspace: &Workspace) {
    let output = workspace.compat(["tree", "--flat", GIT]).ok();
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with('\t') && line.contains(" => "));
        // The loader prints itself last, whatever its place in the scope.
        lines
            .filter_map(|line| line.split_whitespace().nth(2))
            .filter(|path| !path.contains("/ld-"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(names(&output.stdout), names(&ask_loader(&[("LD_TRACE_LOADED_OBJECTS", "1")])));
}

fn in_root(workspace: &Workspace) {
    let root = root::minimal(workspace, "root", Path::new(GIT));
    let inside = root::inside(&root, Path::new(GIT));
    let (root, inside) = (root.to_str().expect("text"), inside.to_str().expect("text"));
    let output = workspace.compat(["tree", "--root", root, inside]).ok();
    assert!(output.stdout.starts_with("/usr/bin/git (started by "), "{}", output.stdout);
    let ways = workspace.compat(["tree", "--root", root, "--why", "libc.so.6", inside]).ok();
    ways.says("/usr/bin/git -> libc.so.6").says("/usr/bin/git -> libz.so.1 -> libc.so.6");
}

fn dlopen(workspace: &Workspace) {
    compile(workspace, "dlopen.c", "advised", &[]);
    compile(workspace, "dlopen.c", "required", &["-DREQUIRED"]);
    let advised = workspace.compat(["check", "./advised"]).ok();
    advised.says("! libnowhere.so.1").says("Going nowhere").says("- libneither.so.1").never_says("libabsent");
    let required = workspace.compat(["check", "./required"]).run().exits(1);
    required.says("fail later").says("x libvital.so.2 or libvital.so.1");
    workspace
        .compat(["tree", "./required"])
        .run()
        .exits(1)
        .says("libvital.so.2 (dlopen, required) => not found");
    // The document contains the notes and gives the same verdict.
    workspace.compat(["gen", "required", "-o", "compat.json"]).ok();
    workspace.compat(["validate", "compat.json"]).ok();
    let checked = workspace.compat(["check", "--format", "json", "compat.json"]).run().exits(1);
    assert_eq!(verdict(&checked), "incompatible");
    let accepted = workspace.compat(["check", "--accept-risk", "compat.json"]).ok();
    accepted.says("libvital.so.1");
}

fn no_program(workspace: &Workspace) {
    fs::write(workspace.path("text"), "nothing that starts\n").expect("a file");
    workspace.compat(["tree", "nowhere"]).run().fails_clearly().says("nowhere");
    workspace.compat(["tree", "text"]).run().fails_clearly().says("neither an ELF object nor a script");
    workspace.compat(["tree", "."]).run().fails_clearly().says("is a directory");
    workspace.compat(["tree", "--root", "nowhere", "text"]).run().fails_clearly().says("nowhere");
}
