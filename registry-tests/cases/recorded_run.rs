//! Specifications of runs whose programs cannot be read. No library that they loaded is omitted, and the
//! verdict is undecided.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::case::{CC, tool};
use crate::harness::process::run;
use crate::harness::{Case, Workspace, fixture};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("recorded_run::a_missing_or_unknown_program_leaves_it_undecided", &[CC], gone),
        Case::new(
            "recorded_run::a_static_program_that_loads_libraries_leaves_it_undecided",
            &[CC],
            own_loader,
        ),
        Case::new("recorded_run::a_plugin_with_a_non_utf8_path_leaves_it_undecided", &[CC], no_text),
        Case::new(
            "recorded_run::a_program_that_replaced_itself_and_its_plugin_is_described",
            &[CC],
            replaced,
        ),
    ]
}

pub const EXEC: &str = r#","exec":true,"open":1"#;
pub const READ: &str = r#","open":2,"flags":32768"#;

/// Returns one event: its kind, its path and program as JSON, and more fields.
pub fn event(kind: &str, path: &str, program: &str, more: &str) -> String {
    let path = if path.starts_with('{') { path.to_owned() } else { format!("{path:?}") };
    format!(
        "{{\"t\":1,\"event\":\"{kind}\",\"path\":{path}{more},\"pid\":2,\"tid\":2,\"ppid\":1,\"exe\":\"{program}\",\"uid\":0}}"
    )
}

/// Writes a recording of a run that begins with the execution of a program.
pub fn recording(workspace: &Workspace, program: &str, events: &[String]) {
    let header =
        r#"{"compat_recording":1,"command":["app"],"folder":"/","host":"node1","kernel":"6","started":1}"#;
    let executed = event("open", program, "/compat", EXEC);
    let end = r#"{"end":"exited","code":0}"#;
    workspace.write("run.jsonl", format!("{header}\n{executed}\n{}\n{end}\n", events.join("\n")));
}

pub fn compile(workspace: &Workspace, source: &str, output: &str, flags: &[&str]) -> String {
    let mut command = Command::new(tool("cc"));
    run(workspace, command.arg(fixture(source)).arg("-o").arg(workspace.path(output)).args(flags));
    fs::canonicalize(workspace.path(output))
        .expect("the file was compiled")
        .to_str()
        .expect("text")
        .to_owned()
}

/// Compiles the program and a plugin.
fn files(workspace: &Workspace) -> (String, String) {
    let app = compile(workspace, "opener.c", "app", &[]);
    (app, compile(workspace, "answer.c", "plug.so", &["-shared", "-fPIC"]))
}

fn generated(workspace: &Workspace, says: &[&str]) -> Value {
    let said = workspace.compat(["gen", "--from-recording", "run.jsonl", "-o", "compat.json"]).ok();
    says.iter().fold(said, |said, text| said.says(text));
    serde_json::from_slice(&workspace.read("compat.json")).expect("a specification")
}

fn gone(workspace: &Workspace) {
    let (app, plugin) = files(workspace);
    let events = [
        event("open", "/none/app2", &app, EXEC),
        event("open", &plugin, "/none/app2", READ),
        event("open", "/none/lost.so", "/none/app2", READ),
        event("open", &plugin, "", READ),
        event("open", "/etc/passwd", "/none/app3", READ),
    ];
    recording(workspace, &app, &events);
    let says =
        ["/none/app2 and 1 more, which cannot be found", "does not show which program loaded", &plugin];
    let document = generated(workspace, &says);
    let programs = document["recorded"]["programs"].as_array().expect("programs");
    let shown: Vec<_> = programs.iter().map(|program| (&program["path"], &program["gone"])).collect();
    let (yes, no) = (&Value::Bool(true), &Value::Null);
    assert_eq!(shown, [(&"app".into(), no), (&"/none/app2".into(), yes), (&"".into(), yes)]);
    let libraries: Vec<_> = programs[1]["libraries"]
        .as_array()
        .expect("libraries")
        .iter()
        .map(|library| &library["path"])
        .collect();
    assert_eq!(libraries, [&Value::from(plugin), &"/none/lost.so".into()]);
    let report = workspace.compat(["check", "compat.json"]).run().exits(3);
    let report = report.says("/none/app2 was executed in the recorded run but no longer existed");
    report.says("an unidentified program loaded libraries");
}

fn own_loader(workspace: &Workspace) {
    let app = compile(workspace, "opener.c", "app", &["-static", "-DSTATIC"]);
    let plugin = compile(workspace, "answer.c", "plug.so", &["-shared", "-fPIC"]);
    recording(workspace, &app, &[event("open", &plugin, &app, READ)]);
    let document = generated(workspace, &["is linked statically"]);
    assert_eq!(document["recorded"]["programs"][0]["libraries"][0]["path"], plugin);
    workspace
        .compat(["check", "compat.json"])
        .run()
        .exits(3)
        .says("app loaded libraries in the recorded run");
}

fn no_text(workspace: &Workspace) {
    let (app, _) = files(workspace);
    let foreseen = event("foreseen", "/a", &app, "");
    let hexadecimal = event("open", r#"{"hex":"2f6f70742fff2e736f"}"#, &app, READ);
    recording(workspace, &app, &[foreseen, hexadecimal]);
    let unknown = "run.jsonl: 1 event ignored, of kinds that only a newer compat understands";
    generated(workspace, &[r"/opt/\xff.so, which cannot be found", unknown]);
    workspace.compat(["check", "compat.json"]).run().exits(3).says(r"/opt/\xff.so");
}

fn replaced(workspace: &Workspace) {
    let (app, plugin) = files(workspace);
    let renamed = |to: &str| event("rename", "/tmp/new", &app, &format!(",\"other\":{to:?}"));
    let removed = format!("{app} (deleted)");
    let events = [
        event("open", "/lib64/ld-linux-x86-64.so.2", "/compat", EXEC),
        renamed(&app),
        event("open", &plugin, &removed, READ),
        renamed(&plugin),
    ];
    recording(workspace, &app, &events);
    let document = generated(workspace, &[]);
    let programs = &document["recorded"]["programs"];
    assert_eq!((&programs[0]["path"], &programs[0]["libraries"][0]["path"]), (&"app".into(), &plugin.into()));
    workspace.compat(["check", "compat.json"]).ok();
}
