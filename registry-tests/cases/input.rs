//! Input of the program: broken ELF files, documents of other versions, wrong usage, other names of the
//! program.

use std::os::unix::fs::symlink;

use crate::harness::artifact::{PROGRAM, specification};
use crate::harness::compat::BINARY;
use crate::harness::{Case, Workspace};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("input::truncated_elf_files_are_clear_errors", &[], truncated),
        Case::new("input::random_bytes_after_an_elf_header_are_clear_errors", &[], random),
        Case::new("input::a_file_that_is_not_elf_is_named", &[], no_elf),
        Case::new("input::the_same_input_gives_the_same_bytes", &[], same_bytes),
        Case::new("input::another_major_version_is_refused", &[], major_version),
        Case::new("input::a_newer_minor_version_is_read_and_undecided_at_best", &[], minor_version),
        Case::new("input::a_document_of_compat_lib_is_checked_by_its_names", &[], compat_lib),
        Case::new("input::validate_names_the_place_of_each_fault", &[], validate),
        Case::new("input::a_document_that_is_not_json_is_undecided", &[], no_json),
        Case::new("input::check_reads_standard_input", &[], standard_input),
        Case::new("input::without_arguments_five_uses_are_shown", &[], without_arguments),
        Case::new("input::a_typo_is_answered_with_the_nearest_subcommand", &[], typo),
        Case::new("input::an_invalid_reference_is_wrong_usage", &[], no_reference),
        Case::new("input::the_binary_answers_to_its_other_names", &[], names),
    ]
}

fn without_arguments(workspace: &Workspace) {
    let output = workspace.compat([] as [&str; 0]).run().exits(2);
    assert_eq!(output.stdout, "");
    for command in ["check", "tree", "explain", "attach", "record"] {
        assert!(output.stderr.contains(&format!("\n  compat {command} ")), "{}", output.stderr);
    }
}

fn truncated(workspace: &Workspace) {
    let whole = std::fs::read(PROGRAM).expect("a program of this machine");
    for length in [0, 1, 4, 16, 52, 63, 64, 100, 200, 800, 2_000, whole.len() / 2] {
        let file = format!("cut-{length}");
        workspace.write(&file, &whole[..length]);
        let run = workspace.compat(["gen", &file]).run();
        run.fails_clearly().says(&file);
    }
}

/// Uses a pseudorandom sequence (xorshift), which is the same in every run.
fn random(workspace: &Workspace) {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let whole = std::fs::read(PROGRAM).expect("a program of this machine");
    for round in 0..24 {
        let mut bytes = whole.clone();
        for byte in bytes.iter_mut().skip(if round % 2 == 0 { 16 } else { 64 }).take(4_000) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[0];
        }
        let file = format!("random-{round}");
        workspace.write(&file, bytes);
        let run = workspace.compat(["gen", &file, "-o", "out.json"]).run().never_says("panicked");
        // The random bytes may be a valid file by chance. The result is always a report or an error.
        assert!(matches!(run.code, Some(0 | 3)), "{run:?}");
        if run.code == Some(3) {
            run.fails_clearly();
        }
    }
}

fn no_elf(workspace: &Workspace) {
    workspace.write("notes.txt", "just words\n");
    workspace.compat(["gen", "notes.txt"]).run().fails_clearly().says("notes.txt");
    workspace.compat(["gen", "absent"]).run().fails_clearly().says("absent");
}

fn same_bytes(workspace: &Workspace) {
    specification(workspace, "one.json", "a");
    specification(workspace, "two.json", "a");
    assert_eq!(workspace.read("one.json"), workspace.read("two.json"));
    let piped = workspace.compat(["gen", "--attribute", "org.example.salt=a", PROGRAM]).ok();
    assert_eq!(piped.stdout.as_bytes(), workspace.read("one.json"));
    workspace.compat(["validate", "one.json", "two.json"]).ok();
}

/// Writes a specification with another version.
fn with_version(workspace: &Workspace, version: &str) {
    specification(workspace, "compat.json", "a");
    let mut document: serde_json::Value =
        serde_json::from_slice(&workspace.read("compat.json")).expect("a specification is JSON");
    document["version"] = version.into();
    document["fromTheFuture"] = true.into();
    workspace.write("other.json", document.to_string());
}

fn major_version(workspace: &Workspace) {
    with_version(workspace, "2.0.0");
    workspace.compat(["check", "other.json"]).run().fails_clearly().says("2.0.0");
}

fn minor_version(workspace: &Workspace) {
    specification(workspace, "compat.json", "a");
    let document: serde_json::Value =
        serde_json::from_slice(&workspace.read("compat.json")).expect("a specification is JSON");
    let version = document["version"].as_str().expect("a version");
    let major = version.split('.').next().expect("a major version");
    with_version(workspace, &format!("{major}.99.0"));
    workspace.compat(["check", "other.json"]).run().exits(3).says(&format!("{major}.99.0"));
    workspace.compat(["check", "--accept-undecided", "other.json"]).ok();
    with_version(workspace, &format!("{major}.0.99"));
    workspace.compat(["check", "other.json"]).ok();
}

fn compat_lib(workspace: &Workspace) {
    let document = |library: &str| {
        format!(
            r#"{{"version": "0.0.1", "attributes": {{"llnl.compatlib.executable-name": "xz",
               "llnl.compatlib.library-name.0": "libc.so.6", "llnl.compatlib.library-name.1": "{library}"}}}}"#
        )
    };
    workspace.write("good.json", document("libm.so.6"));
    workspace.compat(["check", "good.json"]).ok().says("names");
    workspace.write("bad.json", document("libabsent.so.7"));
    workspace.compat(["check", "bad.json"]).run().exits(1).says("libabsent.so.7").says("names");
}

fn validate(workspace: &Workspace) {
    with_version(workspace, "not a version");
    workspace.compat(["validate", "other.json"]).run().exits(1).says("/version");
    workspace.write("wrong.json", r#"{"version": 1, "attributes": {"a.b": 3}}"#);
    let run = workspace.compat(["validate", "wrong.json"]).run().exits(1);
    run.says("/version").says("/attributes/a.b");
    workspace.compat(["validate", "absent.json"]).run().fails_clearly().says("absent.json");
}

fn no_json(workspace: &Workspace) {
    workspace.write("broken.json", "{\"version\": ");
    workspace.compat(["check", "broken.json"]).run().fails_clearly().says("broken.json");
}

fn standard_input(workspace: &Workspace) {
    specification(workspace, "a.json", "a");
    workspace.compat(["check", "-"]).input(workspace.read("a.json")).ok();
    workspace.compat(["check", "a.json"]).ok();
}

fn typo(workspace: &Workspace) {
    workspace.compat(["chek", "x"]).run().exits(2).says("'check'");
    workspace.compat(["check", "--ofline", "x"]).run().exits(2).says("--offline");
}

fn no_reference(workspace: &Workspace) {
    specification(workspace, "compat.json", "a");
    for reference in ["UPPER/case:1", "localhost:5000/", "localhost:5000/x@sha256:12", "oci:"] {
        workspace.compat(["push", reference]).run().exits(2).says(reference);
    }
}

fn names(workspace: &Workspace) {
    for (name, arguments) in [("compat-gen", vec![PROGRAM, "-o", "a.json"]), ("compat-cli", vec!["a.json"])] {
        let link = workspace.path(name);
        symlink(BINARY, &link).expect("a link in the workspace");
        workspace.compat(arguments).called(link).ok();
    }
}
