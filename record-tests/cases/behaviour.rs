//! Properties of files and processes that programs can query, natively and in the mirror, by the same
//! scripts.

use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::pair::{self, script};
use crate::harness::recorder::{COMPAT, log, record_as_user};
use crate::harness::recording::read;

const FILES: &str = include_str!("../fixtures/behaviour.py");
const DATA: &str = include_str!("../fixtures/data.py");
const TOGETHER: &str = include_str!("../fixtures/together.py");
const PROGRAM: &str = include_str!("../fixtures/program.py");

/// The cases.
pub fn cases() -> Vec<Case> {
    let tools = &["python3", "setpriv", "unshare", "chattr"];
    vec![
        case("behaviour::files", tools, |directory| passed(directory, FILES)),
        case("behaviour::data_between_descriptors_mappings_and_copies", tools, |directory| {
            passed(directory, DATA);
        }),
        case("behaviour::locks_watches_and_directories_between_processes", tools, |directory| {
            passed(directory, TOGETHER);
        }),
        case("behaviour::programs_users_and_namespaces", tools, |directory| passed(directory, PROGRAM)),
        case("behaviour::files_without_passthrough", tools, |directory| {
            served(directory, FILES);
        }),
        case("behaviour::data_without_passthrough", tools, |directory| {
            served(directory, DATA);
        }),
        case("behaviour::locks_without_passthrough", tools, |directory| {
            served(directory, TOGETHER);
        }),
        case("behaviour::programs_without_passthrough", tools, |directory| {
            served(directory, PROGRAM);
        }),
        case("behaviour::files_that_an_overlay_copies_while_they_are_in_use", tools, copied),
        case("behaviour::a_mounted_file_that_grows_is_read_to_its_end", tools, mounted_file),
    ]
}

/// Returns the number of random operations that bypass the page cache.
fn direct_operations() -> &'static str {
    if pair::is_full_size() { "DIRECT=5000" } else { "DIRECT=1000" }
}

fn passed(directory: &Path, text: &str) {
    let script = script(directory, text);
    pair::assert_same(directory, &["env", direct_operations(), "python3", &script]);
}

/// Every byte goes through the server.
fn served(directory: &Path, text: &str) {
    let script = script(directory, text);
    let commands = pair::served(&format!("env {} python3 {script}", direct_operations()));
    pair::assert_same_outputs(directory, &commands);
    let recording = read(&log(directory));
    assert!(recording.served() > 0, "no read or write went through the mirror");
}

/// An overlay like those of container engines, except that its two layers are on different file systems. A
/// copied file then also shows another device and inode number.
fn copied(directory: &Path) {
    let script = script(directory, include_str!("../fixtures/overlay.py"));
    let commands = format!(
        "set -e
        for name in chmod chown times attribute link rename unlink write truncate append create folder deep lock; do
            mkdir -p lower/$name/inner/deep; echo original content > lower/$name/file; echo deep > lower/$name/inner/deep/file
        done
        for way in native mirror; do
            mkdir memory-$way over-$way; mount -t tmpfs memory memory-$way; mkdir memory-$way/upper memory-$way/work
            mount -t overlay over -o lowerdir=lower,upperdir=memory-$way/upper,workdir=memory-$way/work over-$way
        done
        top=$PWD; cd $top/over-native; python3 {script} > $top/native.out
        cd $top/over-mirror; {COMPAT} record -q -o $top/run.jsonl -- python3 {script} > $top/mirror.out"
    );
    pair::assert_same_outputs(directory, &commands);
}

/// The container engines mount `/etc/hosts` like this. For an ordinary user nothing bypasses the mirror.
/// Another process makes the file longer, and it is opened again.
fn mounted_file(directory: &Path) {
    let before = "echo content > inner; touch outer; mount --bind inner outer
        (while [ ! -e ready ]; do sleep 0.05; done; seq 5000 >> inner; touch grown) &";
    let script = "import os, time
os.sendfile(1, os.open(\"outer\", os.O_RDONLY), None, 100)
open(\"ready\", \"w\").close()
while not os.path.exists(\"grown\"): time.sleep(0.05)
file = os.open(\"outer\", os.O_RDONLY)
while os.sendfile(1, file, None, 100000): pass";
    let output = record_as_user(directory, before, &format!("python3 -c '{script}'"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let longer: String = (1..=5000).map(|number| format!("{number}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("content\ncontent\n{longer}"), "{said}");
}
