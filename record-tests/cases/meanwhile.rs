//! Mounts, unmounts and removals by others while the mirror is being made. strace(1) slows that down.

use std::path::Path;
use std::process::Command;

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, finish, log};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    let tools = &["strace", "unshare", "mount"];
    vec![
        case("meanwhile::an_unmounted_volume_is_left_out", tools, unmounted),
        case("meanwhile::removed_mounts_and_directories_are_left_out", tools, removed),
        case("meanwhile::two_runs_do_not_share_a_directory", tools, two),
        case("meanwhile::nothing_in_a_mirror_outside_is_ever_shared", tools, shared),
    ]
}

/// Records `command` in a namespace whose mounts are shared with others, after `before`. Runs `meanwhile`
/// within a second for which the system call `call` is delayed.
fn slowly(directory: &Path, before: &str, call: &str, meanwhile: &str, command: &str) -> String {
    let script = format!(
        "mount --make-rshared /; {before}
        strace -f -qq -o trace -e trace={call} -e inject={call}:delay_enter=1000000 \\
            {COMPAT} record -q -o run.jsonl -- {command} & run=$!
        n=0; until grep -q '{call}(' trace 2> /dev/null || [ $((n += 1)) -gt 500 ]; do sleep 0.02; done
        {meanwhile}; wait $run"
    );
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", &script]).current_dir(directory);
    let output = finish(run, b"");
    assert_code(&output, 0);
    read(&log(directory));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn unmounted(directory: &Path) {
    let before = "mkdir volume; mount -t tmpfs volume volume";
    let told = slowly(directory, before, "unshare", "umount volume", "stat -c %d . volume");
    let devices: Vec<&str> = told.lines().collect();
    assert!(devices.len() == 2 && devices[0] == devices[1], "{told}");
}

fn removed(directory: &Path) {
    let before = "mkdir agent volume; mount -t tmpfs volume volume; export SSH_AUTH_SOCK=$PWD/agent/socket";
    let told = slowly(directory, before, "chroot", "umount volume; rmdir agent volume", "ls");
    assert_eq!(told, "run.jsonl\ntrace\n");
}

fn shared(directory: &Path) {
    // Every state of the table is one in which all processes may be killed.
    let script = format!(
        "mount --make-rshared /
        strace -f -qq -o trace -e trace=mount,move_mount -e inject=mount,move_mount:delay_enter=40000 \
            {COMPAT} record -q --mount-path compat-mirror -o run.jsonl -- true & run=$!
        while kill -0 $run 2> /dev/null; do grep \" $PWD/compat-mirror/\" /proc/self/mountinfo; done > seen
        wait $run; echo $?; grep -c ' - proc ' seen; grep -cE ' (shared|master):' seen"
    );
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", &script]).current_dir(directory);
    let output = finish(run, b"");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() == 3 && lines[1] != "0", "{told}");
    assert_eq!((lines[0], lines[2]), ("0", "0"), "{told}");
}

fn two(directory: &Path) {
    // The first run has found the directory empty before the second one mounts its mirror there.
    let record = |name: &str, script: &str| {
        format!("{COMPAT} record -q --mount-path compat-mirror -o {name}.jsonl -- sh -c '{script}'")
    };
    let first = record("first", "echo > first");
    let second = record("second", "echo > ready; until [ -e done ]; do sleep 0.02; done; exit 4");
    let script = format!(
        "mount --make-rprivate /; mkdir compat-mirror
        wait_for() {{ n=0; until \"$@\" || [ $((n += 1)) -gt 500 ]; do sleep 0.02; done; }}
        strace -f -qq -o trace -e trace=setns -e inject=setns:delay_enter=700000 {first} & first=$!
        wait_for grep -qs 'setns(' trace; {second} & second=$!; wait_for test -e ready
        wait $first; echo $?; chroot compat-mirror ls $PWD
        echo > done; wait $second; echo $?; grep -c \" $PWD/compat-mirror\" /proc/self/mountinfo"
    );
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", &script]).current_dir(directory);
    let output = finish(run, b"");
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(told, "3\ncompat-mirror\nready\nsecond.jsonl\ntrace\n4\n0\n", "{said}");
    assert!(said.contains("compat-mirror: Device or resource busy"), "{said}");
}
