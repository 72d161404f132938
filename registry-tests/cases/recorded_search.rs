//! Specifications with libraries that a run found by a search or opened by their path. The difference decides
//! what a check proves.

use std::fs;

use serde_json::{Value, json};

use super::recorded_run::{EXEC, READ, compile, event, recording};
use crate::harness::case::CC;
use crate::harness::compat::Output;
use crate::harness::{Case, Workspace};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("recorded_search::a_library_found_by_the_library_path_has_its_name", &[CC], by_name),
        Case::new(
            "recorded_search::a_library_that_names_its_own_directory_has_its_name",
            &[CC],
            with_runpath,
        ),
        Case::new("recorded_search::dependencies_of_a_plugin_are_found_by_the_library_path", &[CC], needed),
        Case::new("recorded_search::a_plugin_that_was_opened_by_its_path_keeps_it", &[CC], by_path),
        Case::new("recorded_search::a_recording_without_lookups_leaves_it_undecided", &[CC], silent),
        Case::new("recorded_search::a_missing_library_of_the_library_path_has_its_name", &[CC], gone),
    ]
}

const MISS: &str = r#","error":"ENOENT""#;
const SHARED: [&str; 2] = ["-shared", "-fPIC"];

/// A program in the workspace and its libraries.
struct Run<'a> {
    workspace: &'a Workspace,
    app: String,
    events: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(workspace: &'a Workspace) -> Self {
        let app = compile(workspace, "opener.c", "app", &[]);
        let events = vec![event("open", "/lib64/ld-linux-x86-64.so.2", "/compat", EXEC)];
        Self { workspace, app, events }
    }

    /// Compiles a library into a directory. Its soname is its file name.
    fn library(&self, path: &str, flags: &[&str]) -> String {
        let (directory, name) = path.rsplit_once('/').expect("a directory");
        fs::create_dir_all(self.workspace.path(directory)).expect("a directory");
        let soname = format!("-Wl,-soname,{name}");
        compile(self.workspace, "answer.c", path, &[&SHARED[..], &[&soname], flags].concat())
    }

    /// Adds the failed lookups of glibc when it first searches the directory of a library.
    fn misses(mut self, library: &str, names: &[&str]) -> Self {
        let miss =
            |name: &&str| event("lookup", &format!("{}/{name}", directory_of(library)), &self.app, MISS);
        self.events.extend(names.iter().map(miss));
        self
    }

    /// Adds a search of the library's directory for a dependency of the program.
    fn searches(self, library: &str) -> Self {
        self.misses(library, &["glibc-hwcaps", "libc.so.6"])
    }

    fn opens(mut self, library: &str) -> Self {
        self.events.push(event("lookup", library, &self.app, ""));
        self.events.push(event("open", library, &self.app, READ));
        self
    }

    /// Generates the specification. Returns the output and the recorded libraries.
    fn generate(&self, options: &[&str]) -> (Output, Vec<Value>) {
        recording(self.workspace, &self.app, &self.events);
        let generate = ["gen", "--from-recording", "run.jsonl", "-o", "compat.json"];
        let said = self.workspace.compat(generate).with(options).ok();
        let document: Value =
            serde_json::from_slice(&self.workspace.read("compat.json")).expect("a specification");
        let libraries = document["recorded"]["programs"][0]["libraries"].as_array().cloned();
        (said, libraries.unwrap_or_default())
    }

    fn check(&self, options: &[&str]) -> Output {
        self.workspace.compat(["check", "compat.json"]).with(options).run()
    }
}

fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').expect("a directory").0
}

fn by_name(workspace: &Workspace) {
    let run = Run::new(workspace);
    let answer = run.library("lib1/libanswer.so.1", &[]);
    let run = run.searches(&answer).opens(&answer);
    let (said, libraries) = run.generate(&[]);
    assert_eq!((&libraries[0]["path"], &libraries[0]["name"]), (&json!(answer), &json!("libanswer.so.1")));
    said.says(&format!("found libanswer.so.1 in {}", directory_of(&answer))).says("--library-path");
    run.check(&[]).exits(3).says("libanswer.so.1");
    run.check(&["--library-path", directory_of(&answer)]).exits(0);
    let (said, libraries) = run.generate(&["--library-path", directory_of(&answer)]);
    assert_eq!(libraries[0]["name"], "libanswer.so.1");
    said.never_says("note:");
    run.check(&[]).exits(0);
    fs::rename(workspace.path("lib1"), workspace.path("lib2")).expect("the directory is moved");
    run.check(&[]).exits(3).says("libanswer.so.1");
    let elsewhere = fs::canonicalize(workspace.path("lib2")).expect("the directory exists");
    run.check(&["--library-path", elsewhere.to_str().expect("text")]).exits(0);
}

/// The library's own RUNPATH does not lead to it.
fn with_runpath(workspace: &Workspace) {
    let run = Run::new(workspace);
    let answer = run.library("lib1/libanswer.so.1", &["-Wl,--enable-new-dtags,-rpath,$ORIGIN"]);
    let run = run.searches(&answer).opens(&answer);
    let (_, libraries) = run.generate(&[]);
    assert_eq!(libraries[0]["name"], "libanswer.so.1");
    run.check(&[]).exits(3).says("libanswer.so.1");
}

fn needed(workspace: &Workspace) {
    let run = Run::new(workspace);
    let answer = run.library("lib1/libanswer.so.1", &[]);
    let plugin = run.library("plugins/needs.so", &["-Wl,--no-as-needed", &answer]);
    let run = run.searches(&answer).opens(&plugin).opens(&answer);
    let (said, libraries) = run.generate(&["--library-path", directory_of(&answer)]);
    said.never_says("would not load");
    assert_eq!((&libraries[1]["path"], &libraries[1]["neededBy"]), (&json!(answer), &json!(plugin)));
    run.check(&[]).exits(0);
    run.generate(&[]).0.says("found libanswer.so.1");
    run.check(&[]).exits(3).says("libanswer.so.1 was not found");
}

/// A path does not become a name because the loader searches other directories, or because the RUNPATH of
/// another plugin contains this one.
fn by_path(workspace: &Workspace) {
    let run = Run::new(workspace);
    let module = run.library("plugins/module.so", &[]);
    let lib = run.library("plugins/lib/libhelp.so.1", &[]);
    let runpath = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib";
    let other = run.library("plugins/other.so", &["-Wl,--no-as-needed", &lib, runpath]);
    let extra = run.library("plugins/lib/libextra.so.1", &[]);
    let run = run
        .searches("/elsewhere/x.so")
        .opens(&module)
        .opens(&other)
        .misses(&lib, &["glibc-hwcaps"])
        .opens(&lib)
        .opens(&extra);
    let (said, libraries) = run.generate(&[]);
    said.never_says("note:");
    let opened = libraries.iter().filter(|library| library["neededBy"].is_null());
    let names: Vec<_> = opened.map(|library| (&library["path"], &library["name"])).collect();
    let expected = [json!(module), json!(other), json!(extra)];
    assert_eq!(names, expected.each_ref().map(|path| (path, &Value::Null)));
    run.check(&[]).exits(0);
}

fn silent(workspace: &Workspace) {
    let mut run = Run::new(workspace);
    let answer = run.library("lib1/libanswer.so.1", &[]);
    run.events.push(event("open", &answer, &run.app, READ));
    run.generate(&[]).0.says("--library-path");
    run.check(&[]).exits(3).says("libanswer.so.1");
    let module = compile(workspace, "answer.c", "lib1/module.so", &SHARED);
    run.events.pop();
    run.events.push(event("open", &module, &run.app, READ));
    assert_eq!(run.generate(&[]).1[0]["name"], Value::Null);
    run.check(&[]).exits(0);
}

fn gone(workspace: &Workspace) {
    let run = Run::new(workspace);
    let answer = run.library("lib1/libanswer.so.1", &[]);
    let run = run.searches(&answer).opens(&answer);
    fs::rename(workspace.path("lib1"), workspace.path("lib2")).expect("the directory is moved");
    let (said, libraries) = run.generate(&[]);
    said.says(&format!("loaded {answer}, which cannot be found"));
    assert_eq!((&libraries[0]["name"], &libraries[0]["gone"]), (&json!("libanswer.so.1"), &json!(true)));
    fs::rename(workspace.path("lib2"), workspace.path("lib1")).expect("the directory is moved back");
    run.check(&[]).exits(3).says("libanswer.so.1");
    run.check(&["--library-path", directory_of(&answer)]).exits(0);
}
