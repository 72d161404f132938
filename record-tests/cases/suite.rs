//! Other people's suites, on a folder in the mirror.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::case::Case;
use crate::harness::recorder::{assert_code, finish, record};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("suite::pjdfstest_fails_nowhere_that_it_does_not_natively", &["pjdfstest"], pjdfstest),
        Case::new("suite::fsx_finds_no_fault", &["fsx"], fsx),
    ]
}

const SETTINGS: &str = r#"
[features.posix_fallocate]
[features.rename_ctime]
[features.utimensat]
[features.utime_now]
[settings]
naptime = 0.1
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"], ["bin", "bin"]]
"#;

fn pjdfstest(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("our folder");
    fs::write(folder.join("settings.toml"), SETTINGS).expect("a file");
    let run = |name: &str| {
        fs::create_dir(folder.join(name)).expect("a folder");
        ["pjdfstest", "-c", "settings.toml", "-p", name].map(str::to_owned)
    };
    let mut native = Command::new("pjdfstest");
    native.args(&run("native")[1..]).current_dir(folder);
    let native = outcomes(&finish(native, b"").stdout);
    let mirrored = outcomes(&record(folder, &run("mirror")).stdout);
    assert!(native.0 > 300, "only {} tests have run", native.0);
    assert_eq!(mirrored.1.difference(&native.1).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(mirrored.0 + 5 > native.0, "{} tests instead of {}", mirrored.0, native.0);
}

/// How many tests passed, and the names of those that failed.
fn outcomes(output: &[u8]) -> (usize, BTreeSet<String>) {
    let text = String::from_utf8_lossy(output).into_owned();
    let mut failed = BTreeSet::new();
    let mut passed = 0;
    for line in text.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [name, "ok"] if name.contains("::") => passed += 1,
            [name, "FAILED"] if name.contains("::") => {
                failed.insert(name.to_owned());
            }
            _ => {}
        }
    }
    (passed, failed)
}

fn fsx(folder: &Path) {
    assert_code(&record(folder, &["fsx", "-S", "7", "-N", "20000", "file"]), 0);
}
