//! The output of `compat trace` for real recordings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use compat_trace::EventKind;
use serde_json::Value;

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, finish, log, record};
use crate::harness::recording::{Recording, read};

/// The Python with Perfetto's trace processor.
const PERFETTO: &str = "/opt/compat-tests/perfetto/bin/python";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("trace::a_summary_has_the_counts_of_the_log", &[], summary),
        case("trace::files_are_those_of_the_log", &[], files),
        case("trace::libraries_are_listed_with_their_search", &["gcc"], libraries),
        case("trace::the_same_command_twice_is_the_same_and_another_differs", &[], difference),
        case("trace::opens_are_slices_that_do_not_overlap_on_a_track", &["python3"], perfetto),
        case("trace::perfettos_own_processor_reads_each_slice", &[PERFETTO, "node", "python3"], processor),
        case("trace::a_recording_is_converted_compressed_and_decompressed", &[], convert),
        case("trace::a_truncated_recording_is_read_and_reported", &[], cut),
        case("trace::a_closed_pipe_is_not_an_error", &[], pipe),
        case("trace::a_file_that_is_not_a_recording_is_named", &[], foreign),
        case("trace::a_summary_of_the_run_is_printed_at_its_end", &[], summary_of_the_run),
    ]
}

fn trace(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(COMPAT);
    command.arg("trace").args(arguments).current_dir(directory);
    finish(command, b"")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(directory: &Path, arguments: &[&str]) -> Value {
    let output = trace(directory, arguments);
    assert_code(&output, 0);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn recorded(directory: &Path, script: &str) -> Recording {
    assert_code(&record(directory, &["sh", "-c", script]), 0);
    read(&log(directory))
}

/// Opens, creates and misses files, with a space in a name.
const SCRIPT: &str = "echo a > 'with space'; cat 'with space' /etc/passwd > copy; test -e none/x || rm copy";

fn summary(directory: &Path) {
    let recording = recorded(directory, SCRIPT);
    let summary = json(directory, &["summary", "--format", "json", "run.jsonl"]);
    let counted: BTreeMap<EventKind, u64> = recording.end.counts.clone();
    for (kind, count) in &counted {
        assert_eq!(summary["events"][kind.word()], *count);
    }
    let opened = recording.paths(&[EventKind::Open, EventKind::Create], |_| true);
    assert_eq!(summary["paths"]["opened"], opened.len());
    assert_eq!(summary["paths"]["missed"], recording.missed(|_| true).len());
    assert_eq!(summary["paths"]["created"], 2);
    assert_eq!((&summary["runs"][0]["end"], &summary["runs"][0]["code"]), (&"exited".into(), &0.into()));
    let programs = summary["programs"].as_array().expect("programs");
    let cat = programs.iter().find(|row| row["program"].as_str().is_some_and(|path| path.ends_with("/cat")));
    assert_eq!(cat.expect("cat ran")["processes"], 1);
    let output = trace(directory, &["summary", "run.jsonl"]);
    let shown = text(&output.stdout);
    assert!(shown.contains("exited with 0") && shown.contains("misses by directory:"), "{shown}");
}

fn files(directory: &Path) {
    let recording = recorded(directory, SCRIPT);
    let listed = |selection: &str| -> BTreeSet<String> {
        let output = trace(directory, &["files", selection, "--paths", "-0", "run.jsonl"]);
        assert_code(&output, 0);
        output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(text).collect()
    };
    assert_eq!(listed("--created"), recording.paths(&[EventKind::Create], |_| true));
    assert_eq!(listed("--missed"), recording.missed(|_| true));
    let kinds = [EventKind::Open, EventKind::Create, EventKind::OpenDirectory];
    assert_eq!(listed("--opened"), recording.paths(&kinds, |_| true));
    let own = directory.join("with space").display().to_string();
    let shown = json(directory, &["files", "--glob", &own, "--format", "json", "run.jsonl"]);
    assert_eq!(
        (&shown[0]["path"], &shown[0]["created"], &shown[0]["opened"]),
        (&own.into(), &1.into(), &2.into())
    );
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    let lines = text(&trace(directory, &["files", "--sort", "path", "run.jsonl"]).stdout);
    assert!(lines.lines().any(|line| line.ends_with("/with space")), "{lines}");
}

fn libraries(directory: &Path) {
    let build = "mkdir l1 l2; echo 'int f(void){return 1;}' > f.c; echo 'int f(void);int main(void){return f()-1;}' > m.c
        gcc -shared -fPIC -Wl,-soname,libown.so.1 -o l2/libown.so.1.5 f.c; ln -s libown.so.1.5 l2/libown.so.1
        gcc -o m m.c l2/libown.so.1";
    assert!(
        Command::new("sh").args(["-ec", build]).current_dir(directory).status().expect("a shell").success()
    );
    let path = format!("LD_LIBRARY_PATH={0}/l1:{0}/l2", directory.display());
    assert_code(&record(directory, &["env", &path, "./m"]), 0);
    let rows = json(directory, &["libraries", "--format", "json", "run.jsonl"]);
    let rows = rows.as_array().expect("rows");
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    let own = row("libown.so.1");
    assert_eq!(own["role"], "library");
    assert_eq!(own["places"][0]["path"], directory.join("l2/libown.so.1.5").display().to_string());
    assert!(own["misses"].as_u64() >= Some(1), "no miss in l1: {own}");
    let program = directory.join("m").display().to_string();
    assert!(own["programs"].as_array().is_some_and(|by| by.iter().any(|by| *by == program)), "{own}");
    assert_eq!(row("m")["role"], "program");
    assert!(rows.iter().any(|row| row["role"] == "interpreter"));
    let output = text(&trace(directory, &["libraries", "run.jsonl"]).stdout);
    assert!(output.lines().any(|line| line.starts_with("library     libown.so.1 => ")), "{output}");
}

fn difference(directory: &Path) {
    fs::write(directory.join("conf"), "a").expect("a file");
    let script = "cat conf missing 2>/dev/null; cat /etc/passwd > /dev/null";
    let keep = |name: &str| fs::rename(log(directory), directory.join(name)).expect("a log");
    recorded(directory, script);
    keep("one.jsonl");
    recorded(directory, script);
    keep("two.jsonl");
    let same = trace(directory, &["diff", "--counts", "one.jsonl", "two.jsonl"]);
    assert_code(&same, 0);
    assert!(text(&same.stdout).ends_with("the same\n"), "{}", text(&same.stdout));
    fs::write(directory.join("missing"), "b").expect("a file");
    recorded(directory, script);
    keep("three.jsonl");
    let output = trace(directory, &["diff", "one.jsonl", "three.jsonl"]);
    assert_code(&output, 1);
    let path = directory.join("missing").display().to_string();
    let expected = format!("different outcomes:\n  {path}: missed -> opened\n");
    assert!(text(&output.stdout).contains(&expected), "{}", text(&output.stdout));
    // The lookups of cat for its error message are excluded as well.
    let excluded =
        ["diff", "--exclude", &path, "--exclude", "/usr/share/locale/**", "one.jsonl", "three.jsonl"];
    assert_code(&trace(directory, &excluded), 0);
    let output = trace(directory, &["diff", "--format", "json", "one.jsonl", "three.jsonl"]);
    assert_code(&output, 1);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&found["same"], &found["changed"][0]["path"]), (&false.into(), &path.into()));
}

/// Two processes and two threads with files open at the same time, one of which is never closed explicitly.
const OVERLAPS: &str = "import os, threading\n\
    a = open('a', 'w'); b = open('b', 'w'); a.close(); c = open('c', 'w'); b.close(); c.close()\n\
    t = threading.Thread(target=lambda: [open('/etc/passwd').close() for _ in range(20)]); t.start()\n\
    [open('/etc/group').close() for _ in range(20)]; t.join()\n\
    os.system('cat a b c none 2>/dev/null')";

fn perfetto(directory: &Path) {
    assert_code(&record(directory, &["python3", "-c", OVERLAPS]), 0);
    let recording = read(&log(directory));
    let written = json(directory, &["perfetto", "run.jsonl", "run.jsonl"]);
    let events = check_trace(&written);
    // Each open appears once for each run, and so does each miss.
    let opens = recording.end.counts[&EventKind::Open] + recording.end.counts[&EventKind::Create];
    let opens = (opens + recording.end.counts.get(&EventKind::OpenDirectory).unwrap_or(&0)) as usize;
    assert_eq!(events.iter().filter(|event| event["ph"] == "X").count(), 2 * opens);
    let misses = recording.events.iter().filter(|event| event.error.as_deref() == Some("ENOENT"));
    let told = events.iter().filter(|event| event["cat"] == "miss").count();
    assert_eq!(told, 2 * misses.filter(|event| event.event == EventKind::Lookup).count());
    let processes = |first: bool| -> BTreeSet<u64> {
        let of_run = events.iter().filter_map(|event| event["pid"].as_u64()).filter(|pid| *pid > 0);
        of_run.filter(|pid| (*pid < 1 << 22) == first).collect()
    };
    assert_eq!(processes(true).len(), processes(false).len());
    assert!(processes(true).len() >= 2 && !events.is_empty());
    // The recorder writes the same trace as a conversion of its log.
    let mut run = Command::new(COMPAT);
    run.args(["record", "-q", "-o", "direct.json", "--format", "perfetto", "--", "cat", "/etc/passwd"]);
    assert_code(&finish(run_in(run, directory), b""), 0);
    let direct: Value =
        serde_json::from_slice(&fs::read(directory.join("direct.json")).expect("a trace")).expect("JSON");
    let direct = check_trace(&direct);
    assert!(direct.iter().any(|event| event["ph"] == "X" && event["name"] == "/etc/passwd"), "{direct:?}");
}

fn processor(directory: &Path) {
    assert_code(&record(directory, &["python3", "-c", OVERLAPS]), 0);
    let recording = read(&log(directory));
    assert_code(&trace(directory, &["perfetto", "-o", "trace.json", "run.jsonl", "run.jsonl"]), 0);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("record-tests/fixtures/perfetto_reads.py");
    let mut python = Command::new(PERFETTO);
    python.arg(script).args(["trace.json", "."]);
    let output = finish(run_in(python, directory), b"");
    assert_code(&output, 0);
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read["errors"], serde_json::json!([]));
    let slices = read["slices"].as_array().expect("slices");
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}"));
    let is_open =
        |slice: &&Value| matches!(slice[1].as_str(), Some("open" | "create" | "exec" | "open-folder"));
    // Each open of both runs: path, start and length in nanoseconds, not nested.
    let mut told: Vec<(String, u64, u64)> = slices
        .iter()
        .filter(is_open)
        .inspect(|slice| assert_eq!(slice[4], 0, "a slice within another: {slice}"))
        .map(|slice| (slice[0].as_str().unwrap_or_default().to_owned(), number(&slice[2]), number(&slice[3])))
        .collect();
    let mut recorded = [opens(&recording), opens(&recording)].concat();
    told.sort();
    recorded.sort();
    assert_eq!(told, recorded);
    let names =
        read["threads"].as_array().expect("threads").iter().map(|row| row[1].as_str().unwrap_or_default());
    assert!(
        names.filter(|name| name.contains("open file 2")).count() >= 2,
        "overlapping opens have separate tracks"
    );
}

/// Returns each open: path, time, and duration until its close or the end.
fn opens(recording: &Recording) -> Vec<(String, u64, u64)> {
    let closes: BTreeMap<u64, u64> = recording
        .events
        .iter()
        .filter(|event| matches!(event.event, EventKind::Close | EventKind::CloseDirectory))
        .filter_map(|event| Some((event.open?, event.t)))
        .collect();
    let kinds = [EventKind::Open, EventKind::Create, EventKind::OpenDirectory];
    let opened = recording.events.iter().filter(|event| kinds.contains(&event.event));
    let end = recording.end.t.expect("an end");
    let row = |event: &compat_trace::Event| {
        let closed = closes.get(&event.open?).copied().unwrap_or(end);
        Some((event.path.text().into_owned(), event.t, closed - event.t))
    };
    opened.filter_map(row).collect()
}

fn run_in(mut command: Command, directory: &Path) -> Command {
    command.current_dir(directory);
    command
}

/// Checks the rules of the Trace Event Format for the written events. Every event has the fields of its
/// phase, complete events of a thread nest, and a thread belongs to one process and has a name.
fn check_trace(trace: &Value) -> &[Value] {
    let events = trace.as_array().expect("the array form");
    let mut slices: BTreeMap<(u64, u64), Vec<(f64, f64)>> = BTreeMap::new();
    let (mut named, mut used, mut owner) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for event in events {
        assert!(event["name"].is_string() && event["args"].is_object(), "{event}");
        let track = (event["pid"].as_u64().expect("a pid"), event["tid"].as_u64().expect("a tid"));
        assert!(track.0 <= u64::from(u32::MAX) && track.1 <= u64::from(u32::MAX), "{event}");
        let time =
            |key: &str| event[key].as_f64().filter(|time| *time >= 0.0).unwrap_or_else(|| panic!("{event}"));
        match event["ph"].as_str().expect("a phase") {
            "X" => slices.entry(track).or_default().push((time("ts"), time("ts") + time("dur"))),
            "i" => assert!(time("ts") >= 0.0 && matches!(event["s"].as_str(), Some("t" | "g")), "{event}"),
            "M" if event["name"] == "thread_name" => {
                assert!(event["args"]["name"].as_str().is_some_and(|name| !name.is_empty()), "{event}");
                named.insert(track);
            }
            "M" => assert!(matches!(event["name"].as_str(), Some("process_name" | "recording")), "{event}"),
            other => panic!("phase {other} in {event}"),
        }
        if event["ph"] == "X" || event["s"] == "t" {
            assert!(event["cat"].is_string());
            used.insert(track);
            assert_eq!(
                *owner.entry(track.1).or_insert(track.0),
                track.0,
                "a thread of two processes: {event}"
            );
        }
    }
    assert!(used.is_subset(&named), "{:?} have no name", used.difference(&named));
    for (track, slices) in &mut slices {
        // Of two events with the same start, the longer contains the other.
        slices.sort_by(|one, other| (one.0, -one.1).partial_cmp(&(other.0, -other.1)).expect("numbers"));
        let mut around: Vec<f64> = Vec::new();
        for (start, end) in slices {
            // Times are microseconds with the precision of nanoseconds.
            around.retain(|outer| *outer > *start + 0.000_5);
            assert!(
                around.last().is_none_or(|outer| *end <= *outer + 0.000_5),
                "slices of {track:?} overlap"
            );
            around.push(*end);
        }
    }
    events
}

fn convert(directory: &Path) {
    recorded(directory, SCRIPT);
    let whole = fs::read(log(directory)).expect("a log");
    let compressed = &["convert", "--to", "jsonl", "--compress", "-o", "run.zst", "run.jsonl"];
    assert_code(&trace(directory, compressed), 0);
    assert!(fs::read(directory.join("run.zst")).expect("a file").starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    let back = trace(directory, &["convert", "--to", "jsonl", "run.zst"]);
    assert_code(&back, 0);
    assert!(back.stdout == whole, "the bytes differ after compression");
    let old = trace(directory, &["convert", "--to", "compat-lib", "run.zst"]);
    let lines = text(&old.stdout);
    assert!(
        lines.lines().any(|line| line.contains("Create ") && line.ends_with(r"/with\040space")),
        "{lines}"
    );
    let one = json(directory, &["convert", "--to", "perfetto", "run.zst"]);
    check_trace(&one);
    let refused = trace(directory, &["convert", "--to", "perfetto", "-o", "run.zst", "run.zst"]);
    assert_code(&refused, 2);
    assert_code(&trace(directory, &["summary", "run.zst"]), 0);
    let mut piped = Command::new(COMPAT);
    piped.args(["trace", "files", "--created", "--paths", "-"]);
    let compressed = fs::read(directory.join("run.zst")).expect("a file");
    let output = finish(run_in(piped, directory), &compressed);
    assert_code(&output, 0);
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
}

fn cut(directory: &Path) {
    let recording = recorded(directory, SCRIPT);
    let whole = fs::read(log(directory)).expect("a log");
    fs::write(directory.join("cut.jsonl"), &whole[..whole.len() - 300]).expect("a file");
    let output = trace(directory, &["summary", "--format", "json", "cut.jsonl"]);
    assert_code(&output, 0);
    assert!(text(&output.stderr).contains("cut.jsonl is cut off"), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let events = summary["runs"][0]["events"].as_u64().expect("a number") as usize;
    assert!(events > 0 && events <= recording.events.len() && summary["runs"][0].get("end").is_none());
    let output = trace(directory, &["perfetto", "cut.jsonl"]);
    check_trace(&serde_json::from_slice(&output.stdout).expect("JSON"));
}

fn pipe(directory: &Path) {
    recorded(directory, "ls -lR /etc > /dev/null");
    for subcommand in ["files", "perfetto"] {
        let script = format!("{{ {COMPAT} trace {subcommand} run.jsonl; echo $? >&2; }} | head -c 10");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(directory);
        let output = finish(shell, b"");
        assert_eq!((output.stdout.len(), text(&output.stderr).as_str()), (10, "0\n"), "{subcommand}");
    }
}

fn foreign(directory: &Path) {
    let mut run = Command::new(COMPAT);
    run.args(["record", "-q", "-o", "old.log", "--format", "compat-lib", "--", "true"]);
    assert_code(&finish(run_in(run, directory), b""), 0);
    let output = trace(directory, &["convert", "--to", "jsonl", "-o", "made.jsonl", "old.log"]);
    assert_code(&output, 3);
    let expected = "error: old.log is not a recording: it is a text log of compat-lib, which lacks programs, users and errors";
    assert!(text(&output.stderr).starts_with(expected), "{}", text(&output.stderr));
    assert!(!directory.join("made.jsonl").exists(), "no file is written");
    fs::write(directory.join("kept.json"), "kept").expect("a file");
    assert_code(&trace(directory, &["perfetto", "-o", "kept.json", "old.log"]), 3);
    assert_eq!(fs::read_to_string(directory.join("kept.json")).expect("a file"), "kept");
}

fn summary_of_the_run(directory: &Path) {
    let mut run = Command::new(COMPAT);
    run.args(["record", "-o", "run.jsonl", "--summary", "--", "sh", "-c", "echo told; cat none; exit 7"]);
    let output = finish(run_in(run, directory), b"");
    assert_code(&output, 7);
    assert_eq!(text(&output.stdout), "told\n", "the summary is printed to standard error");
    let shown = text(&output.stderr);
    assert!(shown.contains("exited with 7 after") && shown.contains("programs:"), "{shown}");
    let mut run = Command::new(COMPAT);
    run.args(["record", "-o", "run.json", "--summary", "--format", "perfetto", "--", "touch", "touched"]);
    let output = finish(run_in(run, directory), b"");
    assert_code(&output, 2);
    assert_eq!(text(&output.stderr), "error: --summary requires --format jsonl: it is made from the log\n");
    assert!(!directory.join("touched").exists(), "the command does not run");
}
