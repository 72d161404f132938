//! Shell scripts in a mount namespace of their own.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use compat_harness::process;

use super::plain::{SHARES, TASK};

/// The time limit of a script.
const LIMIT: Duration = Duration::from_secs(120);

/// The start of each script. Mounts of the script are seen by the script only, and by the namespaces made in it.
///
/// - `run SHARES COMMAND…` runs a command in mirrors of shares, separated by colons. `network` stands for the
///   network file systems. `start` does the same in place of the shell, for the background.
/// - `session TASK …` starts, joins, lists or ends a session (`plain`). Its socket is in `run`.
/// - `device PATH` prints the device number of a file.
/// - `wait_for COMMAND…` repeats a command until it succeeds.
/// - `mirrors` prints the mount points of all mirrors.
const START: &str = r#"(umask 077; mkdir -p run); mount --make-rprivate / && mount --make-rshared /
run() { shares=$1; shift; env TASK=run SHARES="$shares" "$PLAIN" "$@"; }
start() { shares=$1; shift; exec env TASK=run SHARES="$shares" "$PLAIN" "$@"; }
session() { task=$1; shift; env TASK=$task XDG_RUNTIME_DIR="$PWD/run" "$PLAIN" "$@"; }
device() { stat -c %d "$1"; }
wait_for() { n=0; until "$@"; do [ $((n += 1)) -gt 500 ] && { echo "no: $*" >&2; return 1; }; sleep 0.02; done; }
mirrors() { awk '$0 ~ / - fuse\.compat/ { print $5 }' /proc/self/mountinfo; }
"#;

/// Returns a command that runs a script in the directory.
pub fn command(directory: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    let start = START.replace("TASK=", &format!("{TASK}=")).replace("SHARES=", &format!("{SHARES}="));
    command.args(["--mount", "sh", "-c", &format!("{start}{script}")]).current_dir(directory);
    command.env("PLAIN", std::env::current_exe().expect("a test has a program"));
    command
}

/// Runs a script. Returns what it printed, without the path of the directory.
///
/// # Panics
///
/// If it exceeds its time limit.
pub fn output(directory: &Path, script: &str) -> Output {
    process::finish(&mut command(directory, script), None, LIMIT)
}

/// Runs a script, which must succeed, and returns its standard output and error. `DIR` stands for the directory.
pub fn said(directory: &Path, script: &str) -> (String, String) {
    let output = output(directory, script);
    let real = directory.canonicalize().expect("the directory exists");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*real.to_string_lossy(), "DIR");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}{stderr}", output.status);
    (stdout, stderr)
}
