//! Objects that the kernel or the loader refuses: the verdict is the same for the file, for a document and
//! for an image.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::harness::process::run;
use crate::harness::{Case, Requirement, Workspace};

pub fn cases() -> Vec<Case> {
    let tools = &[Requirement::Tool("gcc")];
    vec![Case::new("unusable::unusable_files_are_reported_for_files_documents_and_images", tools, all)]
}

/// The offset of `p_memsz` in the first program header, which is a segment here.
const MEMORY_SIZE: usize = 64 + 40;

/// Builds a static program in the root of an image, changed by the case.
fn program(workspace: &Workspace, name: &str, mode: u32, change: impl FnOnce(&mut Vec<u8>)) {
    let directory = workspace.directory(name);
    let source = workspace.write("app.c", "void _start(void) { for (;;) {} }");
    let path = directory.join("app");
    let mut gcc = Command::new("gcc");
    gcc.args(["-nostdlib", "-static", "-o"]).arg(&path).arg(&source);
    run(workspace, &mut gcc);
    let mut bytes = fs::read(&path).expect("a program");
    change(&mut bytes);
    fs::write(&path, bytes).expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
}

fn all(workspace: &Workspace) {
    program(workspace, "good", 0o755, |_| {});
    program(workspace, "small", 0o755, |bytes| bytes[MEMORY_SIZE..MEMORY_SIZE + 8].fill(0));
    program(workspace, "private", 0o644, |_| {});
    for (name, code, kind) in
        [("good", 0, None), ("small", 1, Some("segments-unusable")), ("private", 1, Some("not-executable"))]
    {
        let (path, document) = (format!("./{name}/app"), format!("{name}.json"));
        let image = format!("dir:{}", workspace.text(name));
        workspace.compat(["gen", &path, "-o", &document]).ok();
        for arguments in [
            vec!["check", "--format", "json", &path],
            vec!["check", "--format", "json", &document],
            vec!["check", "--format", "json", "--generate", "--executable", "/app", &image],
        ] {
            let report = workspace.compat(&arguments).run().exits(code).json();
            let found = report["findings"][0]["kind"].as_str();
            assert_eq!(found, kind, "{arguments:?}");
        }
    }
}
