//! The file of the log: a run replaces it, but it stays unchanged if the command cannot start.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, finish, log};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("out::an_existing_file_stays_if_the_command_cannot_start", &["mknod", "unshare"], stays),
        case("out::an_older_log_is_replaced_by_a_run", &[], replaced),
        case("out::a_log_that_cannot_be_written_is_named", &[], cannot_begin),
        case("out::wrong_usage_runs_no_command", &[], wrong_usage),
        case("out::a_directory_for_logs_is_created", &[], made),
        case("out::only_the_owner_can_read_a_log_in_any_format", &[], private),
        case("out::files_of_other_users_are_not_written", &["mkfifo"], foreign),
        case("out::a_summary_is_made_from_the_log_even_if_its_path_is_replaced", &["mkfifo"], own_log),
        case("out::devices_pipes_and_own_links_are_written_to", &["bash"], named_otherwise),
        case("out::files_made_from_a_recording_are_private", &[], made_of_it),
    ]
}

/// Records to `out` with further arguments.
fn record(directory: &Path, out: &str, arguments: &[&str]) -> Output {
    let mut run = Command::new(COMPAT);
    run.args(["record", "-o", out]).args(arguments).current_dir(directory);
    finish(run, b"")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stays(directory: &Path) {
    let mut make = Command::new("mknod");
    make.args(["device", "c", "1", "3"]).current_dir(directory);
    assert_code(&finish(make, b""), 0);
    fs::write(directory.join("older"), "an older log\n").expect("a file");
    for out in ["device", "older", "new"] {
        let output = record(directory, out, &["--workdir", "/nonexistent", "--", "true"]);
        assert_code(&output, 3);
        assert!(text(&output.stderr).contains("/nonexistent: No such file"), "{}", text(&output.stderr));
        // Here the mounts are refused after the server has started.
        let mut run = Command::new("unshare");
        let script = format!("mount --bind /dev/null /dev/fuse; exec {COMPAT} record -o {out} -- true");
        run.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script]).current_dir(directory);
        assert_code(&finish(run, b""), 3);
    }
    assert!(
        fs::symlink_metadata(directory.join("device")).expect("the file stays").file_type().is_char_device()
    );
    assert_eq!(fs::read_to_string(directory.join("older")).expect("the file stays"), "an older log\n");
    assert!(!directory.join("new").exists(), "the file of the failed run was removed");
}

fn wrong_usage(directory: &Path) {
    for arguments in [
        &["--exlude", "/a", "touch", "ran"][..],
        &["-bogus", "touch", "ran"],
        &["--include", "data/*", "touch", "ran"],
    ] {
        assert_code(&record(directory, "run.jsonl", arguments), 2);
    }
    let output = record(directory, "-", &["touch", "ran"]);
    assert_code(&output, 2);
    assert!(
        text(&output.stderr).contains("cannot write the log to standard output"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        fs::read_dir(directory).expect("our directory").count(),
        0,
        "no command ran and no file was created"
    );
}

fn made(directory: &Path) {
    let mut run = Command::new(COMPAT);
    run.args(["record", "--out-dir", "runs/today", "ls", "-l", "--color=never"]).current_dir(directory);
    assert_code(&finish(run, b""), 0);
    let logs: Vec<_> =
        fs::read_dir(directory.join("runs/today")).expect("the directory was created").collect();
    assert_eq!(logs.len(), 1);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("the file exists").permissions().mode() & 0o7777
}

fn sh(directory: &Path, script: &str) -> Output {
    let mut run = Command::new("bash");
    run.args(["-ec", script, COMPAT]).current_dir(directory);
    finish(run, b"")
}

fn private(directory: &Path) {
    for format in ["jsonl", "compat-lib", "perfetto"] {
        fs::write(directory.join("older"), "an older log\n").expect("a file");
        for out in ["new", "older"] {
            // The umask of the caller has no effect.
            let script = format!("umask 0; \"$0\" record --format {format} -o {out} -- stat -c %a {out}");
            let output = sh(directory, &script);
            assert_code(&output, 0);
            assert_eq!((text(&output.stdout).as_str(), mode(&directory.join(out))), ("600\n", 0o600));
        }
        fs::remove_file(directory.join("new")).expect("the file was created");
    }
    let output = sh(directory, "umask 0; \"$0\" record --out-dir runs/today -- true");
    assert_code(&output, 0);
    assert_eq!((mode(&directory.join("runs")), mode(&directory.join("runs/today"))), (0o700, 0o700));
    let logs: Vec<_> =
        fs::read_dir(directory.join("runs/today")).expect("the directory was created").flatten().collect();
    assert_eq!(logs.iter().map(|log| mode(&log.path())).collect::<Vec<_>>(), [0o600]);
}

/// A user with write access to the directory replaces the file while the command runs.
fn own_log(directory: &Path) {
    let script = "mkdir -m 777 s; cd s; \"$0\" record --summary -o run.jsonl -- sh -c 'mv run.jsonl moved; mkfifo run.jsonl'";
    let output = sh(directory, script);
    assert_code(&output, 0);
    let said = text(&output.stderr);
    assert!(said.contains("sh -c") && !said.contains("cannot print the summary"), "{said}");
    assert_eq!(read(&directory.join("s/moved")).end.code, Some(0));
}

/// Preparations of a user in a directory such as `/tmp`, and the refusal of root's log.
const PREPARED: &[(&str, &str)] = &[
    (
        "ln -s \"$PWD/../victim\" run.jsonl; chown -h 1:1 run.jsonl",
        "the symbolic link run.jsonl in the path is not followed: user 1 owns it",
    ),
    (
        "ln -s \"$PWD/../victim\" run.jsonl",
        "the symbolic link run.jsonl in the path is not followed: user 0 owns it",
    ),
    ("ln ../victim run.jsonl", "the file has further names (hard links)"),
    ("touch run.jsonl; chown 1:1 run.jsonl", "it belongs to another user (1)"),
    ("mkfifo run.jsonl; chown 1:1 run.jsonl", "it belongs to another user (1)"),
];

fn foreign(directory: &Path) {
    fs::write(directory.join("victim"), "kept").expect("a file");
    for (prepare, why) in PREPARED {
        for commands in ["record -o run.jsonl -- touch ../ran", "record -o run.jsonl --mount"] {
            let script = format!("mkdir -m 1777 s; cd s; {prepare}; exec \"$0\" {commands}");
            let output = sh(directory, &script);
            assert_code(&output, 3);
            let said = text(&output.stderr);
            assert!(said.starts_with(&format!("error: could not write run.jsonl: {why}")), "{said}");
            assert!(said.contains("\nhint: use "), "{said}");
            fs::remove_dir_all(directory.join("s")).expect("the directory was created");
        }
    }
    // A directory for logs cannot be redirected either.
    let script = "mkdir -m 1777 s; cd s; ln -s ../other runs; chown -h 1:1 runs; mkdir ../other
        exec \"$0\" record --out-dir runs/today -- touch ../ran";
    assert_code(&sh(directory, script), 3);
    assert_eq!(fs::read_dir(directory.join("other")).expect("the directory was created").count(), 0);
    assert!(!directory.join("ran").exists(), "the command did not run");
    assert_eq!(fs::read_to_string(directory.join("victim")).expect("the file stays"), "kept");
}

fn named_otherwise(directory: &Path) {
    let record = |out: &str| format!("\"$0\" record -o {out} -- true");
    assert_code(&sh(directory, &record("/dev/null")), 0);
    for script in [
        format!("({}) | cat > log", record("/dev/stdout")),
        format!("({}) > log", record("/dev/stdout")),
        format!("({} 3>&1 >/dev/null) | cat > log", record("/dev/fd/3")),
        format!("mkfifo pipe; cat pipe > log & {}; wait", record("pipe")),
        format!("ln -s log link; {}", record("link")),
    ] {
        let output = sh(directory, &script);
        assert_code(&output, 0);
        assert_eq!(read(&directory.join("log")).end.code, Some(0), "{script}");
        fs::remove_file(directory.join("log")).expect("the file was created");
    }
    assert!(directory.join("link").is_symlink());
}

fn made_of_it(directory: &Path) {
    let script = "umask 0; \"$0\" record -o run.jsonl -- true; mkdir -m 1777 s; ln -s ../victim s/link; touch victim
        \"$0\" trace convert --to jsonl -o converted run.jsonl; \"$0\" trace perfetto -o trace.json run.jsonl
        ! \"$0\" trace convert --to jsonl -o s/link run.jsonl 2>refused; \"$0\" trace convert --to jsonl run.jsonl | wc -c";
    assert_code(&sh(directory, script), 0);
    assert_eq!((mode(&directory.join("converted")), mode(&directory.join("trace.json"))), (0o600, 0o600));
    let refused = fs::read_to_string(directory.join("refused")).expect("the error is printed");
    assert!(refused.contains("the symbolic link link in the path is not followed"), "{refused}");
    assert_eq!(fs::read(directory.join("victim")).expect("the file stays"), b"");
}

fn replaced(directory: &Path) {
    fs::write(log(directory), "older\n".repeat(100_000)).expect("a file");
    assert_code(&record(directory, "run.jsonl", &["--", "true"]), 0);
    assert_eq!(read(&log(directory)).end.code, Some(0));
    fs::write(log(directory), "older\n".repeat(100_000)).expect("a file");
    assert_code(&record(directory, "run.jsonl", &["--", "there-is-no-such-program"]), 127);
    let recording = read(&log(directory));
    assert_eq!((recording.events.len(), recording.end.code), (0, Some(127)));
}

fn cannot_begin(directory: &Path) {
    for arguments in [&["--", "sh", "-c", "echo > run"][..], &["--mount"]] {
        let output = record(directory, "/dev/full", arguments);
        assert_code(&output, 3);
        let said = text(&output.stderr);
        assert_eq!(
            said.lines().next(),
            Some("error: could not write /dev/full: No space left on device"),
            "{said}"
        );
        assert!(output.stdout.is_empty() && !directory.join("run").exists());
    }
}
