//! The same work twice: natively in one directory, and recorded in another.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::recorder::{COMPAT, assert_code, command, finish};

/// Whether the full size is requested of work that is reduced for the gate (`COMPAT_RECORD_FULL=1`).
pub fn is_full_size() -> bool {
    std::env::var_os("COMPAT_RECORD_FULL").is_some()
}

/// The results of both runs.
pub struct Pair {
    pub native: Output,
    pub mirrored: Output,
    /// The directory of the native run.
    pub native_directory: PathBuf,
    /// The directory of the recorded run.
    pub mirrored_directory: PathBuf,
}

/// Creates the two directories and runs a command in both.
pub fn run<S: AsRef<OsStr>>(directory: &Path, arguments: &[S]) -> Pair {
    let place = |name: &str| {
        let place = directory.join(name);
        std::fs::create_dir(&place).expect("a directory");
        place
    };
    let (native_directory, mirrored_directory) = (place("native"), place("mirror"));
    let mut plain = Command::new(&arguments[0]);
    plain.args(&arguments[1..]).current_dir(&native_directory).env("LC_ALL", "C");
    let native = finish(plain, b"");
    let mut recorded = command(directory, arguments);
    recorded.current_dir(&mirrored_directory).env("LC_ALL", "C");
    let mirrored = finish(recorded, b"");
    Pair { native, mirrored, native_directory, mirrored_directory }
}

/// Asserts that both outputs have the same lines. The first difference is shown.
fn assert_same_lines(mirrored: &str, native: &str) {
    for (native, mirrored) in native.lines().zip(mirrored.lines()) {
        assert_eq!(mirrored, native);
    }
    assert_eq!(mirrored, native);
}

/// Runs shell commands that do both runs, in a separate mount namespace. Returns the contents of `native.out`
/// and `mirror.out`.
pub fn outputs(directory: &Path, commands: &str) -> (String, String) {
    let mut run = Command::new("unshare");
    run.args(["-m", "sh", "-c", commands]).current_dir(directory);
    assert_code(&finish(run, b""), 0);
    let text = |name: &str| std::fs::read_to_string(directory.join(name)).expect("the file was written");
    (text("native.out"), text("mirror.out"))
}

/// Like [`outputs`], and asserts that both contents are the same.
pub fn assert_same_outputs(directory: &Path, commands: &str) -> String {
    let (native, mirrored) = outputs(directory, commands);
    assert_same_lines(&mirrored, &native);
    mirrored
}

/// Returns shell commands that run a command natively and recorded (`run.jsonl`) on two stacked overlays.
/// These are too deep for FUSE passthrough, so every byte goes through the server.
pub fn served(command: &str) -> String {
    format!(
        "set -e
        overlay() {{
            mkdir -p memory$1 over$1; mount -t tmpfs memory memory$1; mkdir memory$1/upper memory$1/work
            mount -t overlay over -o lowerdir=$2,upperdir=memory$1/upper,workdir=memory$1/work over$1
        }}
        mkdir lower; overlay 1 lower; overlay 2 over1; mkdir over2/native over2/mirror; top=$PWD
        cd $top/over2/native; {command} > $top/native.out
        cd $top/over2/mirror; {COMPAT} record -q -o $top/run.jsonl -- {command} > $top/mirror.out"
    )
}

/// Like [`run`], and asserts that both runs succeed with the same output.
pub fn assert_same<S: AsRef<OsStr>>(directory: &Path, arguments: &[S]) -> Pair {
    let pair = run(directory, arguments);
    assert_code(&pair.native, 0);
    assert_code(&pair.mirrored, 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_same_lines(&text(&pair.mirrored.stdout), &text(&pair.native.stdout));
    assert_eq!(text(&pair.mirrored.stderr), text(&pair.native.stderr));
    pair
}

/// Writes a script beside the directories of the runs. Other users may enter its directory.
pub fn script(directory: &Path, text: &str) -> String {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    let path = directory.join("script.py");
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}
