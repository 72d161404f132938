//! What is asked of the share and read from it, by the counters of the share.

use std::fs;
use std::path::{Path, PathBuf};

use compat_harness::process::wait_until;
use slow_share::workload::{Libraries, Modules, Work};
use slow_share::{Counts, Operation};

use crate::harness::case::{Case, case};
use crate::harness::served::{Served, is_full_size, questions, requests, succeeded};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("count::libraries_are_read_once_however_many_processes_start", &["unshare", "cc"], libraries),
        case("count::python_modules_are_read_once", &["unshare", "python3"], modules),
        case("count::a_second_run_in_a_session_asks_nothing", &["unshare", "cc"], session),
        case("count::a_kept_cache_is_confirmed_with_one_question_a_file", &["unshare", "cc"], kept),
        case(
            "count::kept_modules_are_confirmed_with_one_question_a_file",
            &["unshare", "python3"],
            kept_modules,
        ),
        case("count::missing_names_are_not_asked_for", &["unshare"], missing),
    ]
}

/// A slow machine needs longer than the default time, and would confirm facts again.
const UNHURRIED: &[&str] = &["--revalidate", "1h"];

/// Questions that do not depend on the number of files, such as those about the share itself.
const FURTHER: u64 = 50;

fn make_libraries(source: &Path) -> (Work, u64) {
    let options = if is_full_size() {
        Libraries::default()
    } else {
        Libraries { count: 60, directories: 8, bytes: 12_000_000 }
    };
    fs::create_dir_all(source).expect("our directory");
    let work = options.generate(source).expect("a compiler");
    settle();
    // Each library has a link.
    (work, options.count as u64)
}

fn make_modules(source: &Path) -> Work {
    let entries = if is_full_size() { Modules::default().entries } else { 3 };
    fs::create_dir_all(source).expect("our directory");
    let work = Modules { entries }.generate(source).expect("python3");
    settle();
    work
}

/// Files that changed a moment ago are not kept.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

/// Starts the work in this number of processes at once. Returns the counters.
fn start(served: &Served, work: &Work, options: &[&str], processes: u64) -> Counts {
    served.share().reset();
    let script = at_once(&served.place(), work, processes);
    let said = served.run(options, &script);
    assert_eq!(said.out, work.output.repeat(processes as usize), "{}", said.error);
    served.share().counters()
}

/// A script that starts the work in this number of processes.
fn at_once(place: &Path, work: &Work, processes: u64) -> String {
    let command = work.command(place);
    let words: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let words = words.join(" ");
    format!("n=0; while [ $((n += 1)) -le {processes} ]; do {words} & done; wait")
}

fn quoted(word: &std::ffi::OsStr) -> String {
    format!("'{}'", PathBuf::from(word).display())
}

/// Asserts that all files were read once as a whole, and that few questions were asked.
fn assert_read_once(counts: &Counts, work: &Work, links: u64, processes: u64) {
    assert_eq!(counts.bytes_read, work.bytes, "bytes, {processes} processes: {:?}", counts.operations);
    assert_eq!(counts.of(Operation::Open), work.files, "opens, {processes} processes");
    let most = 2 * (work.files + links) + 2 * work.directories + FURTHER;
    assert!(questions(counts) <= most, "{} > {most}: {:?}", questions(counts), counts.operations);
}

fn libraries(directory: &Path) {
    let (work, links) = make_libraries(&directory.join("source"));
    let mut first = None;
    for processes in [1, 8, 32] {
        // The kernel keeps the targets of links, so each run gets a new share.
        let served = Served::start(directory);
        let counts = start(&served, &work, UNHURRIED, processes);
        assert_read_once(&counts, &work, links, processes);
        let first = *first.get_or_insert(requests(&counts));
        let difference = requests(&counts).abs_diff(first);
        assert!(difference * 20 <= first, "{processes} processes: {} and {first}", requests(&counts));
    }
}

fn modules(directory: &Path) {
    let work = make_modules(&directory.join("source"));
    let served = Served::start(directory);
    for processes in [1, 8] {
        // The program compares the times of each source with those in its compiled form.
        assert_read_once(&start(&served, &work, UNHURRIED, processes), &work, work.files, processes);
    }
}

fn session(directory: &Path) {
    let (work, links) = make_libraries(&directory.join("source"));
    let served = Served::start(directory);
    let start = ["spindle", "session", "start", "--coherence", "session", "--cache-dir", "cache"];
    let id = succeeded(&mut served.compat(&start)).out.trim().to_owned();
    let run = |processes| {
        served.share().reset();
        let script = at_once(&served.place(), &work, processes);
        let said = succeeded(&mut served.compat(&["spindle", "--session", &id, "--", "sh", "-c", &script]));
        assert_eq!(said.out, work.output.repeat(processes as usize), "{}", said.error);
        served.share().counters()
    };
    assert_read_once(&run(1), &work, links, 1);
    for processes in [1, 8] {
        assert_eq!(requests(&run(processes)), 0, "{:?}", served.share().counters().paths);
    }
    // Nothing expires.
    settle();
    assert_eq!(requests(&run(1)), 0, "{:?}", served.share().counters().paths);
    succeeded(&mut served.compat(&["spindle", "session", "end", &id]));
    assert!(
        wait_until(std::time::Duration::from_secs(10), || served.cached_bytes() == 0),
        "the cache is left"
    );
}

/// Each file, link and directory is confirmed with one question, and the root once more.
fn assert_confirmed(counts: &Counts, files: u64, directories: u64) {
    assert_eq!((counts.bytes_read, counts.of(Operation::Open)), (0, 0), "{:?}", counts.operations);
    let most = files + directories + 10;
    assert!(requests(counts) <= most, "{} > {most}: {:?}", requests(counts), counts.operations);
}

fn kept(directory: &Path) {
    let (work, links) = make_libraries(&directory.join("source"));
    let served = Served::start(directory);
    start(&served, &work, &["--keep", UNHURRIED[0], UNHURRIED[1]], 1);
    for processes in [1, 8] {
        let counts = start(&served, &work, &["--keep", UNHURRIED[0], UNHURRIED[1]], processes);
        assert_confirmed(&counts, work.files + links, work.directories);
    }
}

fn kept_modules(directory: &Path) {
    let work = make_modules(&directory.join("source"));
    let served = Served::start(directory);
    start(&served, &work, &["--keep", UNHURRIED[0], UNHURRIED[1]], 1);
    let counts = start(&served, &work, &["--keep", UNHURRIED[0], UNHURRIED[1]], 1);
    // The attributes of the sources are requested too.
    assert_confirmed(&counts, 2 * work.files, work.directories);
}

fn missing(directory: &Path) {
    let source = directory.join("source");
    for number in 0..20 {
        fs::create_dir_all(source.join(format!("d{number}"))).expect("our directory");
    }
    settle();
    let served = Served::start(directory);
    let script = "n=0; while [ $((n += 1)) -le 50 ]; do for d in share/d*; do [ -e $d/no$n ] && echo $d; done; done; :";
    served.share().reset();
    assert_eq!(served.run(&[], script).out, "");
    let counts = served.share().counters();
    assert!(requests(&counts) <= 3 * 21 + FURTHER, "{:?}", counts.operations);
}
