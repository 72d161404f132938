//! Test suites of other projects, on a directory in the mirror.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::case::{Case, case};
use crate::harness::pair;
use crate::harness::recorder::{assert_code, finish, log, record};
use crate::harness::user::{USER, as_user};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("suite::pjdfstest_has_no_further_failures", &["pjdfstest"], pjdfstest),
        case(
            "suite::pjdfstest_of_an_ordinary_user_has_no_further_failures",
            &["pjdfstest", "setpriv", "unshare"],
            pjdfstest_as_user,
        ),
        case("suite::fsx_finds_no_fault", &["fsx"], fsx),
        case("suite::stress_ng_has_no_further_failures", &["stress-ng"], stress),
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

fn pjdfstest(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    fs::write(directory.join("settings.toml"), SETTINGS).expect("a file");
    let run = |name: &str| {
        fs::create_dir(directory.join(name)).expect("a directory");
        ["pjdfstest", "-c", "settings.toml", "-p", name].map(str::to_owned)
    };
    let mut native = Command::new("pjdfstest");
    native.args(&run("native")[1..]).current_dir(directory);
    let native = outcomes(&finish(native, b"").stdout);
    let mirrored = outcomes(&record(directory, &run("mirror")).stdout);
    assert!(native.0 > 300, "only {} tests have run", native.0);
    assert_eq!(mirrored.1.difference(&native.1).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(mirrored.0 + 5 > native.0, "{} tests passed instead of {}", mirrored.0, native.0);
}

/// Runs in a mirror that root has made, and in one of the user.
fn pjdfstest_as_user(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    fs::write(directory.join("settings.toml"), SETTINGS).expect("a file");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program =
        std::env::split_paths(&path).map(|directory| directory.join("pjdfstest")).find(|path| path.is_file());
    fs::copy(program.expect("pjdfstest is required"), directory.join("pjdfstest"))
        .expect("a copy for anybody");
    let suite = |name: &'static str| {
        fs::create_dir(directory.join(name)).expect("a directory");
        std::os::unix::fs::chown(directory.join(name), Some(1234), Some(1235)).expect("its owner");
        ["./pjdfstest", "-c", "settings.toml", "-p", name]
    };
    let lowered = |name: &'static str| [&["setpriv"], &USER[..], &suite(name)].concat();
    let mut native = Command::new("setpriv");
    native.args(&lowered("native")[1..]).current_dir(directory);
    let native = outcomes(&finish(native, b"").stdout);
    assert!(native.0 > 200, "only {} tests have run", native.0);
    let of_root = outcomes(&record(directory, &lowered("mirror")).stdout);
    // The user writes a separate log.
    let _ = fs::remove_file(log(directory));
    let of_user = outcomes(&as_user(directory, "666", &suite("own")).stdout);
    for mirrored in [of_root, of_user] {
        assert_eq!(mirrored.1.difference(&native.1).collect::<Vec<_>>(), Vec::<&String>::new());
        assert!(mirrored.0 + 5 > native.0, "{} tests passed instead of {}", mirrored.0, native.0);
    }
}

/// Returns the number of passed tests and the names of the failed ones.
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

fn fsx(directory: &Path) {
    assert_code(&record(directory, &["fsx", "-S", "7", "-N", "20000", "file"]), 0);
}

/// Failures of stress-ng that occur only in the mirror. The map of a file's extents has no fixed size, but an
/// ioctl to a file system in user space must have one (`FUSE_IOCTL_UNRESTRICTED` is for devices).
const INHERENT: &[&str] = &["fiemap"];

/// Runs all stressors of the class at once for some seconds. At full size they run one after the other,
/// natively and recorded.
fn stress(directory: &Path) {
    let full = pair::is_full_size();
    let amount = if full { ["--seq", "1", "--timeout", "3s"] } else { ["--all", "1", "--timeout", "4s"] };
    for class in if full { &["filesystem", "io"][..] } else { &["filesystem"] } {
        let mut arguments = vec!["stress-ng", "--class", class, "--verify", "--temp-path", "."];
        arguments.extend(amount);
        let place = directory.join(class);
        fs::create_dir(&place).expect("a directory");
        let pair = pair::run(&place, &arguments);
        let (native, mirrored) = (complaints(&pair.native), complaints(&pair.mirrored));
        let further: Vec<_> = mirrored
            .iter()
            .filter(|line| !native.contains(*line) && !INHERENT.contains(&line.as_str()))
            .collect();
        let text = String::from_utf8_lossy(&pair.mirrored.stderr).into_owned();
        assert!(further.is_empty(), "{further:?}\n{text}\nnatively: {native:?}");
        assert_eq!(pair.mirrored.status.code(), pair.native.status.code(), "{text}");
        assert!(text.contains("run completed"), "{text}");
    }
}

/// Returns the stressors that failed, were skipped, or gave up.
fn complaints(output: &std::process::Output) -> BTreeSet<String> {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let words = ["fail:", "skipping", "not supported", "aborted", "terminated on signal", "unsuccessful"];
    let concerned = text.lines().filter(|line| words.iter().any(|word| line.contains(word)));
    concerned.filter_map(stressor).map(without_numbers).collect()
}

/// Returns the name in `stress-ng: info:  [4711] fiemap: it is not supported`.
fn stressor(line: &str) -> Option<&str> {
    line.split(']').nth(1).and_then(|rest| rest.split(':').next()).map(str::trim)
}

/// Removes numbers: `process [4711] (binderfs) aborted early` is then the same in every run.
fn without_numbers(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}
