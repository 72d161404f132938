//! Directories as arguments: the files to which the verdict applies.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::process::run;
use crate::harness::{Case, Requirement, Workspace};

pub fn cases() -> Vec<Case> {
    let tools = &[Requirement::Tool("gcc")];
    vec![
        Case::new("directory::subjects_do_not_depend_on_names", tools, subjects),
        Case::new("directory::alternatives_for_other_hosts_are_skipped", tools, alternatives),
        Case::new("directory::deeply_nested_scripts_are_not_subjects", tools, scripts),
    ]
}

/// Builds a library without a C library from one line of C.
fn library(workspace: &Workspace, path: &str, source: &str, flags: &[&str]) {
    let path = workspace.path(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    let file = path.with_extension("c");
    fs::write(&file, source).expect("a source");
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-nostdlib", "-o"]).arg(&path).arg(&file).args(flags);
    run(workspace, &mut gcc);
    fs::remove_file(file).expect("a source");
}

fn checked(workspace: &Workspace, path: &str, code: i32) -> Value {
    workspace.compat(["check", "--format", "json", path]).run().exits(code).json()
}

fn subjects_of(report: &Value) -> Vec<&str> {
    let subjects = report["subjects"].as_array().expect("subjects");
    subjects.iter().map(|subject| subject["path"].as_str().expect("a path")).collect()
}

fn subjects(workspace: &Workspace) {
    for libraries in ["pkg.libs", "alibs", "zlibs"] {
        let at = |name: &str| format!("{libraries}-tree/{libraries}/{name}");
        let search = format!("-L{}", workspace.path(at("")).display());
        let rpath = format!("-Wl,--disable-new-dtags,-rpath,$ORIGIN/../{libraries}");
        let link = format!("-Wl,-rpath-link,{}", workspace.path(at("")).display());
        library(workspace, &at("libb.so"), "int b(void) { return 1; }", &["-Wl,-soname,libb.so"]);
        let flags = ["-Wl,-soname,liba.so", &search, "-lb"];
        library(workspace, &at("liba.so"), "int b(void); int a(void) { return b(); }", &flags);
        let extension = format!("{libraries}-tree/pkg/ext.so");
        let source = "int a(void); int e(void) { return a(); }";
        library(workspace, &extension, source, &[&search, "-la", &rpath, &link]);
        let report = checked(workspace, &format!("./{libraries}-tree"), 0);
        assert_eq!(subjects_of(&report), ["pkg/ext.so"]);
    }
}

/// Writes a copy of a library for another machine (`e_machine`, at offset 18 of the ELF header).
fn for_machine(workspace: &Workspace, from: &str, to: &str, machine: u8) {
    let mut bytes = workspace.read(from);
    bytes[18..20].copy_from_slice(&[machine, 0]);
    let path = workspace.path(to);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(path, bytes).expect("a library");
}

fn alternatives(workspace: &Workspace) {
    const AARCH64: u8 = 183;
    const ARM: u8 = 40;
    let own = "prebuilds/linux-x64/a.node";
    library(workspace, own, "int a(void) { return 1; }", &[]);
    for_machine(workspace, own, "prebuilds/linux-arm64/a.node", AARCH64);
    for_machine(workspace, own, "prebuilds/linux-arm/a.armv7.node", ARM);
    let report = checked(workspace, "./prebuilds", 0);
    assert_eq!(subjects_of(&report), ["linux-x64/a.node"]);
    let passed: Vec<&str> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| finding["kind"] == "passed-over" && finding["why"] == "machine")
        .map(|finding| finding["madeFor"].as_str().expect("a machine"))
        .collect();
    assert_eq!(passed, ["aarch64", "arm"]);
    // The document contains all of them and marks them as alternatives.
    workspace.compat(["gen", "./prebuilds", "-o", "all.json"]).ok();
    let document: Value = serde_json::from_slice(&workspace.read("all.json")).expect("JSON");
    assert_eq!(document["subjects"].as_array().map(Vec::len), Some(3), "{document}");
    assert_eq!(subjects_of(&checked(workspace, "all.json", 0)), ["linux-x64/a.node"]);
    // Without a library for this machine nothing is skipped, and neither is a file that was named explicitly.
    fs::remove_file(workspace.path(own)).expect("a library");
    checked(workspace, "./prebuilds", 1);
    checked(workspace, "./prebuilds/linux-arm/a.armv7.node", 1);
}

fn scripts(workspace: &Workspace) {
    library(workspace, "app/lib/liba.so", "int a(void) { return 1; }", &[]);
    workspace.write("false.py", "#!/usr/bin/env no-such-interpreter\n");
    let place = |path: &str| {
        let path = workspace.path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::copy(workspace.path("false.py"), &path).expect("a script");
        run(workspace, Command::new("chmod").arg("755").arg(&path));
    };
    place("app/lib/python3.11/lib2to3/tests/data/false.py");
    let report = checked(workspace, "./app", 0);
    assert_eq!(report["findings"][0]["why"], "script", "{report}");
    place("app/bin/tool");
    checked(workspace, "./app", 1);
}
