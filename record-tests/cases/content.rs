//! The name by which a file was used, and the number of bytes that went through it.

use std::fs;
use std::path::Path;

use compat_trace::{Event, EventKind};

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, command, finish, log, record, record_as_user};
use crate::harness::recording::{Recording, read};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("content::a_hard_link_is_recorded_by_the_name_that_was_used", &["python3"], hard_links),
        case("content::lookups_after_a_listing_are_recorded", &["python3"], listed),
        case("content::equal_runs_with_unnamed_files_do_not_differ", &["python3"], unnamed),
        case("content::copied_bytes_are_counted", &["python3", "setpriv", "unshare"], copied),
        case("content::bytes_from_the_page_cache_are_unknown", &["setpriv", "unshare"], cached),
        case("content::count_bytes_counts_each_read_and_write", &["python3"], counted),
    ]
}

/// Returns the names of opened files in a directory, with or without a close, in order.
fn names(recording: &Recording, directory: &Path, wanted: impl Fn(&Event) -> bool) -> Vec<String> {
    let events = recording.events.iter().filter(|event| event.error.is_none() && wanted(event));
    let paths = events.map(|event| event.path.text().into_owned());
    let inside = |path: String| path.strip_prefix(&format!("{}/", directory.display())).map(str::to_owned);
    paths.filter_map(inside).collect()
}

fn hard_links(directory: &Path) {
    let opened = |script: &str, expected: &[&str]| {
        let inner = directory.join("d");
        let _ = fs::remove_dir_all(&inner);
        fs::create_dir(&inner).expect("a directory");
        assert_code(&record(directory, &["sh", "-c", &format!("cd d; {script}")]), 0);
        let recording = read(&log(directory));
        let is_open = |event: &Event| event.event == EventKind::Open;
        assert_eq!(names(&recording, &inner, is_open), expected, "{script}");
        let closed = names(&recording, &inner, |event| event.event == EventKind::Close);
        assert!(
            expected.iter().all(|name| closed.iter().any(|closed| closed == name)),
            "{script}: {closed:?}"
        );
    };
    opened("echo 1 > a; ln a b; rm b; cat a", &["a"]);
    opened("echo 1 > a; ln a b; cat a; cat b; cat a; rm a; cat b", &["a", "b", "a", "b"]);
    opened("echo 1 > a; ln a b; mv b c; cat a; cat c; mv a e; cat e c", &["a", "c", "e", "c"]);
    opened("mkdir f; echo 1 > a; ln a f/b; mv f g; cat a; cat g/b; cat a", &["a", "g/b", "a"]);
    opened("cp /bin/true t; ln t u; ./u; ./t; rm u; ./t", &["u", "t", "t"]);
    let threads = "import os, threading\n\
        open('a', 'w').close(); names = ['a'] + [f'l{n}' for n in range(3)]\n\
        [os.link('a', name) for name in names[1:]]\n\
        for name in names:\n \
            thread = threading.Thread(target=lambda: [open(name).close() for _ in range(3)]); thread.start(); thread.join()";
    fs::write(directory.join("threads.py"), threads).expect("a script");
    let expected: Vec<&str> = ["a", "l0", "l1", "l2"].into_iter().flat_map(|name| [name; 3]).collect();
    opened("exec python3 -S -E ../threads.py", &expected);
}

fn listed(directory: &Path) {
    fs::create_dir(directory.join("d")).expect("a directory");
    for name in ["one", "two", "three"] {
        fs::write(directory.join("d").join(name), "").expect("a file");
    }
    let script = "import os\nfor round in range(3): os.listdir('d')\n[os.stat('d/' + name) for name in ('one', 'two')]";
    assert_code(&record(directory, &["python3", "-c", script]), 0);
    let looked_at =
        names(&read(&log(directory)), &directory.join("d"), |event| event.event == EventKind::Lookup);
    assert_eq!(looked_at, ["one", "two"], "only these names were looked up");
}

fn unnamed(directory: &Path) {
    let script = "import os, tempfile\nfor n in range(3):\n file = tempfile.TemporaryFile(dir='.'); file.write(b'x'); file.close()";
    let mut paths = Vec::new();
    for _ in 0..2 {
        assert_code(&record(directory, &["python3", "-c", script]), 0);
        let created = names(&read(&log(directory)), directory, |event| event.event == EventKind::Create);
        paths.push(created.into_iter().filter(|name| name != "run.jsonl").collect::<Vec<_>>());
    }
    assert_eq!(paths, [["#unnamed"; 3], ["#unnamed"; 3]]);
}

/// Returns the bytes of the closes of a file, in order.
fn traffic(recording: &Recording, name: &str) -> Vec<(Option<u64>, Option<u64>)> {
    let closes = recording.events.iter().filter(|event| event.event == EventKind::Close);
    let closes = closes.filter(|event| event.path.text().ends_with(&format!("/{name}")));
    closes.map(|event| (event.read, event.written)).collect()
}

fn copied(directory: &Path) {
    fs::write(directory.join("a"), vec![7; 1_000_000]).expect("a file");
    let script = "import os\na = os.open('a', os.O_RDONLY); b = os.open('b', os.O_CREAT | os.O_WRONLY)\n\
        left = 1000000\nwhile left: left -= os.copy_file_range(a, b, left)";
    fs::write(directory.join("copy.py"), script).expect("a script");
    assert_code(&record_as_user(directory, "", "python3 copy.py"), 0);
    let recording = read(&log(directory));
    assert_eq!(traffic(&recording, "a"), [(Some(1_000_000), Some(0))]);
    assert_eq!(traffic(&recording, "b"), [(Some(0), Some(1_000_000))]);
}

fn cached(directory: &Path) {
    fs::write(directory.join("a"), vec![7; 10_000]).expect("a file");
    assert_code(&record_as_user(directory, "", "sh -c 'cat a > /dev/null; cat a > /dev/null'"), 0);
    let read = traffic(&read(&log(directory)), "a");
    let [(Some(first), _), second] = read[..] else { panic!("{read:?}") };
    assert!(first >= 10_000, "{read:?}");
    assert_eq!(second, (None, Some(0)), "the second read did not reach the mirror");
}

fn counted(directory: &Path) {
    let script = "import os, mmap\n\
        with open('a', 'wb', 0) as a: [a.write(b'x' * 1000) for n in range(7)]\n\
        for n in range(2):\n with open('a', 'rb', 0) as a:\n  [(a.seek(0), a.read(5000)) for n in range(3)]\n\
        with open('a', 'r+b') as a:\n m = mmap.mmap(a.fileno(), 7000); m[5] = 65; m.flush(); assert open('a', 'rb').read()[4:7] == b'xAx'";
    let mut run = command(directory, &["python3", "-c", script]);
    run = {
        let mut with = std::process::Command::new(COMPAT);
        with.args(["record", "--count-bytes"]).args(run.get_args().skip(1)).current_dir(directory);
        with
    };
    assert_code(&finish(run, b""), 0);
    let recording = read(&log(directory));
    let bytes = traffic(&recording, "a");
    assert_eq!(bytes[..3], [(Some(0), Some(7000)), (Some(15_000), Some(0)), (Some(15_000), Some(0))]);
    let libc = traffic(&recording, "libc.so.6");
    assert!(libc.iter().all(|(read, _)| read.is_some_and(|read| read > 0)), "{libc:?}");
}
