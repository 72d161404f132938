//! Every operation on an open file: with a name, without one, unlinked, renamed, in a directory that was
//! moved or removed. Each mode of opening is covered, for root, for a user, and for a user to whom root gave
//! the file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::case::{Case, case};
use crate::harness::pair;
use crate::harness::recorder::{COMPAT, assert_code, finish, record_as_user};
use crate::harness::user::USER;

const TOOLS: &[&str] = &["python3", "setpriv", "unshare"];

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("open_file::of_root", TOOLS, |directory| passed(directory, "root")),
        case("open_file::of_root_that_others_may_write", TOOLS, |directory| passed(directory, "shared")),
        case("open_file::of_a_user", TOOLS, |directory| passed(directory, "user")),
        case("open_file::that_root_gave_to_a_user", TOOLS, |directory| passed(directory, "guest")),
        case("open_file::of_root_without_passthrough", TOOLS, |directory| {
            served(directory, "root");
        }),
        case("open_file::of_a_user_without_passthrough", TOOLS, |directory| {
            served(directory, "user");
        }),
        case("open_file::that_root_gave_to_a_user_without_passthrough", TOOLS, |directory| {
            served(directory, "guest");
        }),
        case("open_file::in_a_mirror_of_the_user", TOOLS, own),
        case("open_file::make_collects_its_output_in_a_file_without_a_name", MAKE, make),
    ]
}

/// Differences if reads and writes bypass the mirror: a part of the line, and the reason.
const INHERENT: &[(&str, &str)] = &[
    (
        "| append | append taken away",
        "the kernel opens a file for passthrough once, with the flags of open(2)",
    ),
    (
        "guest | unnamed |",
        "root has it open with its own credentials, and let others write only after that (docs/security.md)",
    ),
];

/// Whether the line may differ. If root holds the file, only lines that open it for writing again may differ.
fn is_inherent(native: &str, mirrored: &str) -> bool {
    let (appends, held) = (INHERENT[0].0, INHERENT[1].0);
    native.contains(appends) || native.starts_with(held) && mirrored.ends_with("ETXTBSY")
}

/// Asserts that both outputs are the same except for inherent differences. Returns the number of those lines.
fn compare(native: &str, mirrored: &str) -> usize {
    assert_eq!(mirrored.lines().count(), native.lines().count());
    assert!(native.lines().count() > 3000, "{native}");
    let differ = native.lines().zip(mirrored.lines()).filter(|(native, mirrored)| native != mirrored);
    let mut inherent = 0;
    for (native, mirrored) in differ {
        assert!(is_inherent(native, mirrored), "native: {native}\nmirror: {mirrored}");
        inherent += 1;
    }
    inherent
}

/// Writes the script beside the directories of the runs, which other users may enter.
fn script(directory: &Path) -> String {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    let path = directory.join("script.py");
    fs::write(&path, include_str!("../fixtures/open_file.py")).expect("a file");
    path.display().to_string()
}

fn passed(directory: &Path, who: &str) {
    let pair = pair::run(directory, &["python3", &script(directory), who]);
    assert_code(&pair.native, 0);
    assert_code(&pair.mirrored, 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let differences = compare(&text(&pair.native.stdout), &text(&pair.mirrored.stdout));
    assert_ne!(differences, 0, "no inherent difference was seen");
}

fn served(directory: &Path, who: &str) {
    let command = format!("python3 {} {who}", script(directory));
    let (native, mirrored) = pair::outputs(directory, &pair::served(&command));
    assert_eq!(compare(&native, &mirrored), 0);
}

/// A mirror that an ordinary user makes.
fn own(directory: &Path) {
    let script = script(directory);
    let mut native = Command::new("setpriv");
    native.args(USER).args(["/usr/bin/python3", &script, "user"]).current_dir(directory);
    let native = finish(native, b"");
    let mirrored = record_as_user(directory, "", &format!("/usr/bin/python3 {script} user"));
    assert_code(&native, 0);
    assert_code(&mirrored, 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(compare(&text(&native.stdout), &text(&mirrored.stdout)), 0);
}

const MAKE: &[&str] = &["make", "setpriv", "unshare"];

fn make(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("our directory");
    let rules = "all: a b c d\na b c:\n\t@echo out $@; echo err $@ >&2\nd:\n\t@echo last; exit 5\n";
    fs::write(directory.join("Makefile"), rules).expect("a file");
    let as_user = format!("setpriv {}", USER.join(" "));
    let run = |before: &str| {
        let script =
            format!("{before} make -j3 -k --output-sync > out 2>&1; echo $? >> out; sort out; rm out");
        let mut run = Command::new("sh");
        run.args(["-c", &script]).current_dir(directory).env("TMPDIR", directory);
        String::from_utf8_lossy(&finish(run, b"").stdout).into_owned()
    };
    let native = run("");
    assert!(native.starts_with("2\nerr a\nerr b\nerr c\nlast\n"), "{native}");
    let record = format!("{COMPAT} record -q -o run.jsonl --");
    for recorder in [&record, &format!("{record} {as_user}"), &as_user] {
        assert_eq!(run(recorder), native, "{recorder}");
    }
    let command = "sh -c 'make -j3 -k --output-sync 2>&1; echo $?'";
    let output = record_as_user(directory, "rm run.jsonl", command);
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines.join("\n") + "\n", native);
}
