//! The recorder as users start it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use compat_harness::process;

/// The program under test.
pub const COMPAT: &str = super::SUITE.binary;

/// The time limit of a recorded command.
const LIMIT: Duration = Duration::from_secs(300);

/// Returns the path of a case's log.
pub fn log(directory: &Path) -> PathBuf {
    directory.join("run.jsonl")
}

/// The variable that chooses the mirror of cases that do not read the log: `spindle` for a cached one, and
/// `spindle-strict` for one that asks the share each time, so that no change comes late.
const MIRROR: &str = "COMPAT_TEST_MIRROR";

/// Whether the mirror writes a log.
pub fn has_log() -> bool {
    std::env::var_os(MIRROR).is_none()
}

/// Returns the words between the name of the program and the command that start a mirror: `record -q -o LOG`.
pub fn words(log: &Path) -> Vec<String> {
    let log = log.display().to_string();
    let words = match std::env::var(MIRROR).as_deref() {
        Ok("spindle") => &["spindle", "-q", "--share", "/"][..],
        Ok("spindle-strict") => &["spindle", "-q", "--share", "/", "--coherence", "strict"],
        Ok(other) => panic!("{MIRROR}={other}: unknown"),
        Err(_) => &["record", "-q", "-o", &log],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Returns `compat record -o LOG -- COMMAND`, ready to start.
pub fn command<S: AsRef<OsStr>>(directory: &Path, arguments: &[S]) -> Command {
    let mut command = Command::new(COMPAT);
    command.args(words(&log(directory))).arg("--").args(arguments);
    command.current_dir(directory).env("COMPAT_RECORD_TEST", "1");
    command
}

/// Records a command.
pub fn record<S: AsRef<OsStr>>(directory: &Path, arguments: &[S]) -> Output {
    finish(command(directory, arguments), b"")
}

/// Records a shell command (`run.jsonl`) as an ordinary user, for whom no read bypasses the mirror. First
/// runs other commands as root in a separate mount namespace.
pub fn record_as_user(directory: &Path, before: &str, command: &str) -> Output {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).expect("our directory");
    std::fs::copy(COMPAT, directory.join("compat")).expect("a copy that the user may execute");
    // A device that this user may open. Only these processes see it.
    let script = format!(
        "mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse\n{before}
        exec setpriv --reuid=1234 --regid=1235 --clear-groups ./compat {} -- {command}",
        words("run.jsonl".as_ref()).join(" ")
    );
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-ec", &script]).current_dir(directory);
    finish(run, b"")
}

/// Runs a command to its end with this input.
///
/// # Panics
///
/// If the time limit is exceeded. The command is then killed.
pub fn finish(mut command: Command, input: &[u8]) -> Output {
    process::finish(&mut command, Some(input.to_vec()), LIMIT)
}

/// Asserts that a run ended with this code. Shows its output if not.
pub fn assert_code(output: &Output, code: i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout: {}\nstderr: {}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(process::wait_until(Duration::from_secs(30), condition), "{what} did not happen in 30 s");
}

/// Returns the processes of a recorded run: all its descendants.
pub fn descendants(child: &Child) -> Vec<u32> {
    let mut found = vec![child.id()];
    let mut next = 0;
    while next < found.len() {
        found.extend(children_of(found[next]));
        next += 1;
    }
    found.remove(0);
    found
}

fn children_of(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().nth(1).map(str::to_owned));
        fields.flatten().is_some_and(|field| field == parent.to_string())
    };
    numbers.filter(is_child).collect()
}
