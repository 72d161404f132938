//! PyPI's `compatlib` reads the text log: its data frame and its distance matrix of three runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use compat_trace::{Event, EventKind};
use serde_json::Value;

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, finish, log, record};
use crate::harness::recording::read;

/// The Python in which it is installed.
const PYTHON: &str = "/opt/compat-tests/compatlib/bin/python";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("compat_lib::its_data_frame_and_distance_matrix_of_three_runs", &[PYTHON, "python3"], three),
        case("compat_lib::its_data_frame_has_every_event_of_the_recording", &[PYTHON, "python3"], converted),
    ]
}

/// Names that are hard to split, a created file that is closed, and many opens of one file, some at the same
/// time.
const HARD: &str = "import os\n\
    open('with space', 'w').close(); open('new\\nline\\u00a0\\\\', 'w').close()\n\
    os.close(os.open(b'no\\xfftext', os.O_CREAT | os.O_WRONLY))\n\
    for i in range(60): open('with space').close()\n\
    kept = [open('with space') for _ in range(5)]; [file.close() for file in reversed(kept)]";

const COMMANDS: [&[&str]; 3] = [
    &["python3", "-I", "-S", "-c", HARD],
    &["sh", "-c", "echo a > 'a b'; cat 'a b' /etc/passwd > copy; rm copy"],
    &["ls", "-l", "/etc/passwd"],
];

/// Returns compatlib's results for logs.
fn frame(directory: &Path, logs: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("record-tests/fixtures/compatlib_reads.py");
    let mut python = Command::new(PYTHON);
    python.arg(script).args(logs).current_dir(directory);
    let output = finish(python, b"");
    assert_code(&output, 0);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Returns the rows of a log: event, path, open.
fn rows(frame: &Value, log: &str) -> Vec<[String; 3]> {
    let rows = frame["rows"].as_array().expect("rows").iter().filter(|row| row[0] == log);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rows.map(|row| [word(&row[1]), word(&row[2]), word(&row[3])]).collect()
}

fn three(directory: &Path) {
    for (number, arguments) in COMMANDS.iter().enumerate() {
        let mut run = Command::new(COMPAT);
        run.args(["record", "-q", "--format", "compat-lib", "-o", &format!("run{number}.log"), "--"]);
        run.args(*arguments).current_dir(directory);
        assert_code(&finish(run, b""), 0);
    }
    let frame = frame(directory, &["run0.log", "run1.log", "run2.log"]);
    for number in 0..3 {
        let name = format!("run{number}.log");
        let text = fs::read_to_string(directory.join(&name)).expect("a log of text");
        let written: Vec<[String; 3]> = text.lines().map(fields).filter(|row| row[0] != "Complete").collect();
        assert_eq!(rows(&frame, &name), written);
        assert!(written.iter().any(|row| row[0] == "Open"));
    }
    // The file is not read by others. A shell that is started in between reads /etc/passwd if the environment
    // is empty.
    let path = directory.join(r"with\040space").display().to_string();
    let opened = rows(&frame, "run0.log").into_iter().filter(|row| row[0] == "Open" && row[1] == path);
    assert_eq!(opened.count(), 1 + 60 + 5, "the creation and each open");
    check_matrix(&frame);
    let opens = (0..3).flat_map(|number| rows(&frame, &format!("run{number}.log")));
    assert_eq!(
        frame["events"],
        opens.filter(|row| row[0] == "Open").count(),
        "the trace for Perfetto has the same events"
    );
}

/// Returns event, path and open of a line.
fn fields(line: &str) -> [String; 3] {
    let words: Vec<&str> = line.split_whitespace().collect();
    [4, 5, 6].map(|place| words.get(place).copied().unwrap_or_default().to_owned())
}

fn check_matrix(frame: &Value) {
    assert_eq!(frame["names"], serde_json::json!(["run0.log", "run1.log", "run2.log"]));
    let matrix = frame["matrix"].as_array().expect("rows");
    assert_eq!(matrix.len(), 3);
    for (row, cells) in matrix.iter().enumerate() {
        assert_eq!(cells.as_array().map(Vec::len), Some(3));
        for (column, cell) in cells.as_array().into_iter().flatten().enumerate() {
            let distance = cell.as_f64().expect("a number");
            assert_eq!(distance == 0.0, row == column, "{matrix:?}");
            assert_eq!(cell, &matrix[column][row], "the matrix is not symmetric: {matrix:?}");
        }
    }
}

fn converted(directory: &Path) {
    assert_code(&record(directory, COMMANDS[0]), 0);
    let recording = read(&log(directory));
    let mut run = Command::new(COMPAT);
    run.args(["trace", "convert", "--to", "compat-lib", "-o", "run.log", "run.jsonl"]).current_dir(directory);
    assert_code(&finish(run, b""), 0);
    let rows = rows(&frame(directory, &["run.log"]), "run.log");
    let count = |word: &str| rows.iter().filter(|row| row[0] == word).count();
    let events = |wanted: fn(&Event) -> bool| recording.events.iter().filter(|event| wanted(event)).count();
    let opens =
        events(|event| matches!(event.event, EventKind::Open | EventKind::Create) && event.error.is_none());
    assert_eq!(count("Open"), opens);
    assert_eq!(count("Create"), events(|event| event.event == EventKind::Create && event.error.is_none()));
    assert_eq!(count("Close"), events(|event| event.event == EventKind::Close));
    let lookups = events(|event| event.event == EventKind::Lookup);
    assert!(
        [lookups, lookups + 1].contains(&count("Lookup")),
        "wrong number of lookups (one more if the first event is an open)"
    );
    let created: BTreeSet<&str> =
        rows.iter().filter(|row| row[0] == "Create").map(|row| row[1].as_str()).collect();
    let at = |name: &str| directory.join(name).display().to_string();
    let hard = [at(r"new\012line\302\240\134"), at(r"no\377text"), at(r"with\040space")];
    assert_eq!(created, hard.iter().map(String::as_str).collect());
}
