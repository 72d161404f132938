//! `--format json`: for every subcommand, standard output is one document that conforms to its schema.
//!
//! The case fails if a subcommand with `--format json` has no line here, or if no line uses a schema.

use std::collections::BTreeSet;
use std::process::Command;

use clap::CommandFactory as _;
use compat::cli::{Arguments, schema};
use serde_json::{Value, json};

use crate::harness::case::{CC, tool};
use crate::harness::compat::Output;
use crate::harness::image::{Place, architecture, foreign_architecture};
use crate::harness::memory_registry::digest;
use crate::harness::process::run;
use crate::harness::{Case, Workspace};

pub fn cases() -> Vec<Case> {
    let every = "json_output::every_subcommand_prints_one_document_that_its_schema_allows";
    let usage = "json_output::wrong_usage_prints_no_document";
    let hint = "json_output::a_document_has_the_reason_and_the_hint";
    vec![Case::new(every, &[CC], all), Case::new(usage, &[CC], wrong_usage), Case::new(hint, &[CC], reasons)]
}

/// The arguments, the exit code and the schema of the output. The order matters: later lines use the results
/// of earlier ones. `--format json` is added unless the document is the only output of the subcommand.
const LINES: &[(&str, i32, &str)] = &[
    ("gen ./app", 0, "specification"),
    ("host --root root", 0, "host"),
    ("push oci:art:1 compat.json", 0, "push"),
    ("push oci:art:1 compat.json", 0, "push"),
    ("push oci:art:recorded compat.json --recording run.jsonl", 0, "push"),
    ("push oci:art:2 nowhere.json", 3, "error"),
    ("push oci:art:2 broken.json", 3, "error"),
    ("attach oci:img:one compat.json", 0, "attach"),
    ("attach oci:img:one compat.json", 0, "attach"),
    ("attach --generate oci:img:one", 0, "attach"),
    ("attach --generate oci:img:index", 0, "attach"),
    ("attach --generate oci:img:broken", 3, "attach"),
    ("attach --generate oci:img:nowhere", 3, "error"),
    ("attach oci:img:one nowhere.json", 3, "error"),
    ("discover oci:img:one", 0, "discover"),
    ("discover oci:img:index", 0, "discover"),
    ("discover oci:img:bare", 0, "discover"),
    ("discover --artifact-type a/b oci:img:one", 0, "discover"),
    ("discover oci:img:nowhere", 3, "error"),
    ("discover --platform plan9/mips oci:img:index", 3, "error"),
    ("inspect oci:art:1", 0, "inspect"),
    ("inspect oci:art:recorded", 0, "inspect"),
    ("inspect oci:img:one", 0, "inspect"),
    ("inspect oci:img:index", 0, "inspect"),
    ("inspect oci:img:nowhere", 3, "error"),
    ("pull oci:art:1 -o pulled.json", 0, "pull"),
    ("pull oci:img:one -o pulled.json", 0, "pull"),
    ("pull oci:art:recorded -o pulled.json", 0, "pull"),
    ("pull oci:art:recorded -o pulled.json --recordings runs", 0, "pull"),
    ("pull oci:art:1 -o -", 0, "specification"),
    ("pull oci:img:bare -o pulled.json", 3, "error"),
    ("pull oci:art:1 -o nowhere/pulled.json", 3, "error"),
    ("select oci:img:index", 0, "select"),
    ("select oci:img:foreign", 1, "select"),
    ("select oci:img:bare-index", 3, "select"),
    ("select oci:img:nowhere", 3, "error"),
    ("copy oci:art:1 oci:art2:1", 0, "copy"),
    ("copy oci:art:1 oci:art2:1", 0, "copy"),
    ("copy -r oci:img:index oci:img2:index", 0, "copy"),
    ("copy oci:art:nowhere oci:art2:2", 3, "error"),
    ("delete oci:art2:1", 0, "delete"),
    ("delete oci:art2:1", 3, "error"),
    ("check oci:art:1", 0, "report"),
    ("check oci:img:one", 0, "report"),
    ("check oci:img:index", 0, "report"),
    ("check compat.json", 0, "report"),
    ("check ./app", 0, "report"),
    ("check ./folder", 0, "report"),
    ("check --generate oci:img:bare", 0, "report"),
    ("check missing.json", 1, "report"),
    ("check compat.json missing.json", 1, "report"),
    ("check empty.json", 3, "report"),
    ("check oci:img:bare", 3, "report"),
    ("check oci:img:nowhere", 3, "report"),
    ("check ./nowhere", 3, "report"),
    ("check broken.json", 3, "report"),
    ("check compat.json ./nowhere", 3, "report"),
    ("check --accept-undecided oci:img:bare", 0, "report"),
    ("check --accept-undecided compat.json ./nowhere", 0, "report"),
    ("check --generate oci:img:damaged", 3, "report"),
    ("check docker-archive:nowhere.tar", 3, "report"),
    ("check dir:root", 3, "report"),
    ("check docker-daemon:app", 3, "report"),
    ("tree ./app", 0, "tree"),
    ("tree --bindings /usr/bin/env", 0, "tree"),
    ("tree --why libc.so.6 /usr/bin/env", 0, "tree"),
    ("tree ./app ./nowhere", 3, "tree"),
    ("tree ./nowhere", 3, "error"),
    ("tree ./folder", 3, "error"),
    ("tree --root root /usr/bin/env", 1, "tree"),
    ("explain", 0, "explain"),
    ("explain library-missing", 0, "explain"),
    ("validate compat.json", 0, "validation"),
    ("validate compat.json broken.json", 1, "validation"),
    ("validate compat.json nowhere.json", 3, "validation"),
    ("validate nowhere.json broken.json", 1, "validation"),
    ("validate nowhere.json", 3, "validation"),
    ("cache ls", 0, "cache-list"),
    ("cache ls --cache-dir nowhere", 0, "cache-list"),
    ("cache ls --cache-dir compat.json", 3, "error"),
    ("cache prune", 0, "cache-pruned"),
    ("cache prune --all --cache-dir nowhere", 0, "cache-pruned"),
    ("cache prune --cache-dir compat.json", 3, "error"),
    ("spindle --dry-run run.jsonl --share /usr/lib", 0, "spindle-savings"),
    ("spindle --dry-run run.jsonl --dry-run cut.jsonl", 0, "spindle-savings"),
    ("spindle --dry-run nowhere.jsonl", 3, "error"),
    ("spindle session list", 0, "spindle-sessions"),
    ("spindle session stats", 0, "spindle-figures"),
    ("spindle session stats nowhere", 3, "error"),
    ("trace summary run.jsonl", 0, "trace-summary"),
    ("trace summary run.jsonl cut.jsonl", 0, "trace-summary"),
    ("trace summary nowhere.jsonl", 3, "error"),
    ("trace files run.jsonl", 0, "trace-files"),
    ("trace files --glob /nowhere run.jsonl", 0, "trace-files"),
    ("trace files broken.json", 3, "error"),
    ("trace libraries run.jsonl", 0, "trace-libraries"),
    ("trace libraries cut.jsonl", 0, "trace-libraries"),
    ("trace libraries nowhere.jsonl", 3, "error"),
    ("trace processes run.jsonl", 0, "trace-processes"),
    ("trace processes nowhere.jsonl", 3, "error"),
    ("trace diff run.jsonl run.jsonl", 0, "trace-diff"),
    ("trace diff --counts run.jsonl cut.jsonl", 1, "trace-diff"),
    ("trace diff run.jsonl nowhere.jsonl", 3, "error"),
];

/// Subcommands that read nothing that a user names, so that they do not fail for that reason.
const WITHOUT_INPUT: &[&str] = &["explain", "spindle session list"];

fn all(workspace: &Workspace) {
    prepare(workspace);
    let mut wrong = Vec::new();
    for (line, exit, schema) in LINES {
        let output = outcome(workspace, line);
        if let Err(fault) = fault(&output, *exit, schema) {
            wrong.push(format!("`compat {}`: {fault}\n{}{}", output.command, output.stdout, output.stderr));
        }
    }
    let has = |words: &str, exit: i32| {
        LINES.iter().any(|(line, code, _)| {
            (*line == words || line.starts_with(&format!("{words} "))) && *code == exit
        })
    };
    for words in subcommands() {
        // Every subcommand must have a line that succeeds and one that fails.
        for exit in [0, 3] {
            let is_needed = exit == 0 || !WITHOUT_INPUT.contains(&&*words);
            if is_needed && !has(&words, exit) {
                wrong.push(format!("`compat {words} --format json` has no line here with exit code {exit}"));
            }
        }
    }
    let used: BTreeSet<&str> = LINES.iter().map(|(.., schema)| *schema).collect();
    let unused = schema::all().into_iter().filter(|(name, _)| !used.contains(name));
    wrong.extend(unused.map(|(name, _)| format!("no line here has the schema {name}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn outcome(workspace: &Workspace, line: &str) -> Output {
    let whole = line.starts_with("gen ") || line.starts_with("host ");
    let format: &[&str] = if whole { &[] } else { &["--format", "json"] };
    let run = workspace.compat(line.split_whitespace()).with(format);
    // No engine of this machine is used.
    run.env("DOCKER_HOST", "unix:///nowhere/engine.sock").run()
}

/// Returns the fault of an output.
fn fault(output: &Output, exit: i32, name: &str) -> Result<(), String> {
    if output.code != Some(exit) {
        return Err(format!("exit code {:?}, expected {exit}", output.code));
    }
    let document: Value =
        serde_json::from_str(&output.stdout).map_err(|error| format!("not one document: {error}"))?;
    let (_, mut schema) =
        schema::all().into_iter().find(|(known, _)| *known == name).ok_or(format!("no schema {name}"))?;
    // A field that is not described is a fault, too.
    if schema["type"] == "object" && name != "specification" {
        schema["unevaluatedProperties"] = false.into();
    }
    let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    let faults: Vec<String> =
        validator.iter_errors(&document).map(|error| format!("{} {error}", error.instance_path())).collect();
    if faults.is_empty() { Ok(()) } else { Err(format!("not valid by {name}: {}", faults.join("; "))) }
}

/// Returns every subcommand that has `--format json`, by its words.
fn subcommands() -> Vec<String> {
    fn walk(command: &clap::Command, words: &str, found: &mut Vec<String>) {
        let inner: Vec<_> = command.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
        for command in &inner {
            walk(command, format!("{words} {}", command.get_name()).trim(), found);
        }
        let formats = command.get_arguments().filter(|argument| argument.get_id() == "format");
        let mut values = formats.flat_map(clap::Arg::get_possible_values);
        if inner.is_empty() && values.any(|value| value.get_name() == "json") {
            found.push(words.to_owned());
        }
    }
    let mut command = Arguments::command();
    command.build();
    let mut found = Vec::new();
    walk(&command, "", &mut found);
    assert!(found.contains(&"check".to_owned()) && found.contains(&"cache ls".to_owned()), "{found:?}");
    found
}

fn wrong_usage(workspace: &Workspace) {
    prepare(workspace);
    for line in
        ["check ghcr.io/Org/App:1", "copy oci:art:1 ghcr.io/Org/App:1", "cache prune --older-than x", "check"]
    {
        let output = outcome(workspace, line).exits(2);
        assert_eq!(output.stdout, "", "{line}");
    }
}

fn reasons(workspace: &Workspace) {
    prepare(workspace);
    let report = outcome(workspace, "check oci:img:bare").exits(3).json();
    assert_eq!(
        (&report["verdict"], &report["source"]["reference"]),
        (&json!("undecided"), &json!("oci:img:bare"))
    );
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["source"]), (&json!("source-failed"), &json!("oci:img:bare")));
    assert!(finding["reason"].as_str().is_some_and(|reason| reason.contains("attached")), "{finding:#}");
    assert!(finding["hint"].as_str().is_some_and(|hint| hint.contains("--generate")), "{finding:#}");
    let error = outcome(workspace, "inspect oci:img:nowhere").exits(3).says("error: ").json();
    assert_eq!(error["exit"], 3);
    assert!(error["error"].as_str().is_some_and(|error| error.contains("oci:img:nowhere")), "{error:#}");
    let broken = outcome(workspace, "attach --generate oci:img:broken").exits(3).json();
    assert_eq!(broken["attached"].as_array().map(Vec::len), Some(1), "{broken:#}");
    assert!(broken["error"].as_str().is_some_and(|error| error.contains("layer")), "{broken:#}");
    let validated = outcome(workspace, "validate compat.json nowhere.json").exits(3).says("error: ").json();
    assert_eq!((&validated[0]["valid"], &validated[1]["valid"]), (&json!(true), &json!(false)));
    assert!(validated[1]["error"].as_str().is_some_and(|error| error.contains("nowhere.json")));
}

/// Creates documents, recordings, an empty root and a layout of images.
fn prepare(workspace: &Workspace) {
    workspace.write("app.c", "int main(void) { return 0; }\n");
    let mut command = Command::new(tool("cc"));
    run(workspace, command.args(["-static", "app.c", "-o", "app"]).current_dir(workspace.root()));
    workspace.directory("root/usr/bin");
    workspace.directory("folder");
    std::fs::copy(workspace.path("app"), workspace.path("folder/app")).expect("a program in a directory");
    workspace.compat(["gen", "./app", "-o", "compat.json"]).ok();
    workspace.write("broken.json", "{\"version\": 1}");
    workspace.write("empty.json", r#"{"version": "1.0.0"}"#);
    let name = "llnl.compatlib.library-name.0";
    workspace
        .write("missing.json", json!({"version": "0.0.1", "attributes": {name: "libno.so.9"}}).to_string());
    recordings(workspace);
    images(workspace);
}

fn recordings(workspace: &Workspace) {
    let header = json!({"compat_recording": 1, "command": ["app"], "folder": "/", "host": "node", "kernel": "6.1", "started": 0});
    let event = |t: u64, kind: &str, path: &str, extra: Value| {
        let mut event = json!({"t": t, "event": kind, "path": path, "pid": 1, "tid": 1, "ppid": 0, "exe": "/bin/app", "uid": 0});
        event.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        event
    };
    let lines = [
        header,
        event(10, "lookup", "/lib/libz.so.1", json!({"error": "ENOENT"})),
        event(20, "open", "/usr/lib/libz.so.1", json!({"open": 1})),
        event(30, "open", "/etc/app.conf", json!({"open": 2})),
        event(40, "close", "/usr/lib/libz.so.1", json!({"open": 1, "read": 832, "written": 0})),
        json!({"end": "exited", "code": 0, "t": 50, "events": 4, "dropped": 0}),
    ];
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    workspace.write("run.jsonl", lines.join("\n") + "\n");
    workspace.write("cut.jsonl", lines[..3].join("\n") + "\n");
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn images(workspace: &Workspace) {
    let place = Place::Layout(workspace.directory("img"));
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(workspace.path("app"), "app").expect("a member");
    let layer = archive.into_inner().expect("a layer");
    let own = |variant: &str| json!({"os": "linux", "architecture": architecture(), "variant": variant});
    let put = |tag: Option<&str>, layer: &[u8], salt: &str, platform: &Value| {
        let config = json!({
            "architecture": platform["architecture"], "os": "linux",
            "config": {"Entrypoint": ["/app"], "Labels": {"salt": salt}},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": place.blob(&config), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": place.blob(layer), "size": layer.len()}],
        });
        let digest = place.manifest(tag, MANIFEST, &manifest);
        json!({"mediaType": MANIFEST, "digest": digest, "size": manifest.to_string().len(), "platform": platform})
    };
    let index = |tag: &str, manifests: &[Value]| {
        place.manifest(
            Some(tag),
            INDEX,
            &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}),
        );
    };
    let (first, second) = (own("v1"), own("v2"));
    put(Some("one"), &layer, "one", &first);
    put(Some("bare"), &layer, "bare", &first);
    put(Some("damaged"), b"no archive", "damaged", &first);
    index("index", &[put(None, &layer, "a", &first), put(None, &layer, "b", &second)]);
    index("bare-index", &[put(None, &layer, "c", &first), put(None, &layer, "d", &second)]);
    index("broken", &[put(None, &layer, "e", &first), put(None, b"no archive", "f", &second)]);
    let foreign = json!({"os": "linux", "architecture": foreign_architecture()});
    index("foreign", &[put(None, &layer, "g", &foreign)]);
}
