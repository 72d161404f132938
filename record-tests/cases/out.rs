//! The log's file: replaced by a run, and as it was where nothing could be run.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::case::Case;
use crate::harness::recorder::{COMPAT, assert_code, finish, log};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("out::what_is_there_stays_where_nothing_can_be_run", &["mknod", "unshare"], stays),
        Case::new("out::an_older_log_is_replaced_by_a_run", &[], replaced),
        Case::new("out::a_log_that_cannot_begin_is_named", &[], cannot_begin),
        Case::new("out::what_is_wrong_usage_runs_nothing", &[], wrong_usage),
        Case::new("out::a_folder_for_logs_is_made", &[], made),
    ]
}

/// Records to `out` with further arguments.
fn record(folder: &Path, out: &str, arguments: &[&str]) -> Output {
    let mut run = Command::new(COMPAT);
    run.args(["record", "-o", out]).args(arguments).current_dir(folder);
    finish(run, b"")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stays(folder: &Path) {
    let mut make = Command::new("mknod");
    make.args(["device", "c", "1", "3"]).current_dir(folder);
    assert_code(&finish(make, b""), 0);
    fs::write(folder.join("older"), "an older log\n").expect("a file");
    for out in ["device", "older", "new"] {
        let output = record(folder, out, &["--workdir", "/nonexistent", "--", "true"]);
        assert_code(&output, 3);
        assert!(text(&output.stderr).contains("/nonexistent: No such file"), "{}", text(&output.stderr));
        // Here the mounts are refused, when the server is there already.
        let mut run = Command::new("unshare");
        let script = format!("mount --bind /dev/null /dev/fuse; exec {COMPAT} record -o {out} -- true");
        run.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script]).current_dir(folder);
        assert_code(&finish(run, b""), 3);
    }
    assert!(fs::symlink_metadata(folder.join("device")).expect("it stays").file_type().is_char_device());
    assert_eq!(fs::read_to_string(folder.join("older")).expect("it stays"), "an older log\n");
    assert!(!folder.join("new").exists(), "it was made for the run");
}

fn wrong_usage(folder: &Path) {
    for arguments in [
        &["--exlude", "/a", "touch", "ran"][..],
        &["-bogus", "touch", "ran"],
        &["--include", "data/*", "touch", "ran"],
    ] {
        assert_code(&record(folder, "run.jsonl", arguments), 2);
    }
    let output = record(folder, "-", &["touch", "ran"]);
    assert_code(&output, 2);
    assert!(text(&output.stderr).contains("standard output is the command's"), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(folder).expect("our folder").count(), 0, "nothing was run or made");
}

fn made(folder: &Path) {
    let mut run = Command::new(COMPAT);
    run.args(["record", "--out-dir", "runs/today", "ls", "-l", "--color=never"]).current_dir(folder);
    assert_code(&finish(run, b""), 0);
    let logs: Vec<_> = fs::read_dir(folder.join("runs/today")).expect("it was made").collect();
    assert_eq!(logs.len(), 1);
}

fn replaced(folder: &Path) {
    fs::write(log(folder), "older\n".repeat(100_000)).expect("a file");
    assert_code(&record(folder, "run.jsonl", &["--", "true"]), 0);
    assert_eq!(read(&log(folder)).end.code, Some(0));
    fs::write(log(folder), "older\n".repeat(100_000)).expect("a file");
    assert_code(&record(folder, "run.jsonl", &["--", "there-is-no-such-program"]), 127);
    let recording = read(&log(folder));
    assert_eq!((recording.events.len(), recording.end.code), (0, Some(127)));
}

fn cannot_begin(folder: &Path) {
    for arguments in [&["--", "sh", "-c", "echo > run"][..], &["--mount"]] {
        let output = record(folder, "/dev/full", arguments);
        assert_code(&output, 3);
        let said = text(&output.stderr);
        assert_eq!(
            said.lines().next(),
            Some("error: could not write /dev/full: No space left on device (os error 28)"),
            "{said}"
        );
        assert!(output.stdout.is_empty() && !folder.join("run").exists());
    }
}
