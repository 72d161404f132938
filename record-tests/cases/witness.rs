//! The sets of recorded paths equal those that strace(1) sees in the same run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use compat_trace::{Event, EventKind};

use crate::cases::program;
use crate::harness::case::{Case, case};
use crate::harness::recorder::{log, record};
use crate::harness::{recording, witness};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("witness::a_compiler", &["strace", "gcc"], compiler),
        case("witness::python_with_imports", &["strace", "python3"], python),
        case("witness::a_search_for_libraries", &["strace", "gcc"], libraries),
        case("witness::a_shell_script", &["strace"], shell),
        case("witness::a_project_that_is_compiled", &["strace", "gcc", "make"], project),
        case("witness::a_repository_that_is_cloned", &["strace", "git"], clone),
        case("witness::sqlite_with_two_writers", &["strace", "python3"], write_ahead),
    ]
}

fn compiler(directory: &Path) {
    fs::write(
        directory.join("a.c"),
        "#include <stdio.h>\n#include <math.h>\nint main(void) { return puts(\"a\"); }\n",
    )
    .expect("a file");
    compare(directory, &["gcc", "-O1", "-o", "a", "a.c", "-lm"]);
}

fn python(directory: &Path) {
    compare(
        directory,
        &["python3", "-c", "import json, ssl, sqlite3, email, xml.dom, logging, asyncio, csv"],
    );
}

fn shell(directory: &Path) {
    compare(
        directory,
        &["sh", "-c", "for i in a b c; do echo $i > $i; cat $i missing-$i; done; mv a d; rm b; ls -l"],
    );
}

fn libraries(directory: &Path) {
    let build = "for i in 1 2 3 4 5 6 7 8 9; do mkdir -p l$i; echo \"int f$i(void){return $i;}\" > f.c
        gcc -shared -fPIC -o l$i/libf$i.so f.c; done
        echo 'int main(void){return 0;}' > m.c
        gcc -Wl,--no-as-needed -o m m.c $(for i in 1 2 3 4 5 6 7 8 9; do echo -Ll$i -lf$i; done)";
    let built = std::process::Command::new("sh").args(["-ec", build]).current_dir(directory).status();
    assert!(built.expect("a shell").success());
    let path: Vec<String> =
        (1..10).rev().map(|number| format!("{}/l{number}", directory.display())).collect();
    let setting = format!("LD_LIBRARY_PATH={}", path.join(":"));
    compare(directory, &["env", &setting, "./m"]);
}

fn project(directory: &Path) {
    let script = format!("{}; make -s -j2 libzstd.a round", program::unpack());
    let arguments = program::with_project(&script);
    compare(directory, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

fn clone(directory: &Path) {
    let build = "export GIT_CONFIG_GLOBAL=/dev/null; git init -q one; cd one; for i in 1 2 3 4 5; do mkdir $i; echo $i > $i/file
        git add .; git -c user.name=a -c user.email=a@b commit -qm $i; done";
    let built = std::process::Command::new("sh").args(["-ec", build]).current_dir(directory).status();
    assert!(built.expect("a shell").success());
    compare(directory, &["git", "clone", "-q", "--no-local", "one", "two"]);
}

fn write_ahead(directory: &Path) {
    let script = "import os, sqlite3\n\
        base = sqlite3.connect('data.db', timeout=60, isolation_level=None)\n\
        print(base.execute('pragma journal_mode=wal').fetchone()); base.execute('create table t (a, b)'); base.close()\n\
        def write(which):\n  mine = sqlite3.connect('data.db', timeout=60, isolation_level=None)\n  \
        for n in range(50): mine.execute('insert into t values (?, ?)', (which, n))\n\
        for which in (1, 2):\n  if os.fork() == 0: write(which); os._exit(0)\n\
        os.wait(); os.wait(); print(sqlite3.connect('data.db').execute('select count(*) from t').fetchone())";
    compare(directory, &["python3", "-c", script]);
}

/// Runs a command under strace inside a recording, and compares both.
fn compare(directory: &Path, arguments: &[&str]) {
    let mut command = vec!["strace", "-f", "-y", "-s", "8192", "-e", "trace=%file", "-o", "strace.out"];
    command.extend(arguments);
    let output = record(directory, &command);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let witness = witness::read(&directory.join("strace.out"), directory);
    let recording = recording::read(&log(directory));
    let theirs = |event: &Event| !event.exe.text().ends_with("/strace");
    let opened =
        recording.paths(&[EventKind::Open, EventKind::OpenDirectory], |event| theirs(event) && !event.exec);
    let created = recording.paths(&[EventKind::Create], theirs);
    let executed = recording.paths(&[EventKind::Open], |event| event.exec);
    // An existing file is opened, not created, even with O_CREAT.
    let all: BTreeSet<String> = opened.union(&created).cloned().collect();
    let witnessed: BTreeSet<String> = witness.opened.union(&witness.created).cloned().collect();
    assert_sets("opened", &all, &mirrored(&witnessed));
    assert!(created.is_subset(&witness.created), "created: {created:?}\nwitness: {:?}", witness.created);
    let mut missed = mirrored(&witness.missed);
    // If directories were created since, strace does not show which part of the path was missing then.
    missed.retain(|path| !is_missed_above(&recording, path));
    missed.extend(recording.missed(theirs).intersection(&witness.missed).cloned());
    assert_sets("missed", &recording.missed(theirs), &missed);
    assert!(mirrored(&witness.executed).is_subset(&executed), "{executed:?}");
    assert!(!witnessed.is_empty() && !witness.executed.is_empty(), "strace has seen no files");
}

/// Whether the path, or a parent directory, is recorded as missing.
fn is_missed_above(recording: &recording::Recording, path: &str) -> bool {
    let missing = recording.events.iter().filter(|event| event.error.as_deref() == Some("ENOENT"));
    let missing: BTreeSet<String> = missing.map(|event| event.path.text().into_owned()).collect();
    Path::new(path).ancestors().any(|directory| missing.contains(&*directory.to_string_lossy()))
}

/// Returns the paths that are in the mirror.
fn mirrored(paths: &BTreeSet<String>) -> BTreeSet<String> {
    let through = ["/proc", "/dev", "/sys", "/run"];
    let outside = |path: &&String| !through.iter().any(|directory| path.starts_with(directory));
    paths.iter().filter(outside).cloned().collect()
}

fn assert_sets(what: &str, recorded: &BTreeSet<String>, witnessed: &BTreeSet<String>) {
    let only_recorded: Vec<_> = recorded.difference(witnessed).collect();
    let only_witnessed: Vec<_> = witnessed.difference(recorded).collect();
    assert!(
        only_recorded.is_empty() && only_witnessed.is_empty(),
        "{what}: only recorded {only_recorded:?}\nonly strace {only_witnessed:?}"
    );
}
