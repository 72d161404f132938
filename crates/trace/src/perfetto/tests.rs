//! Checks the output against the rules of the Trace Event Format.

use std::collections::HashMap;

use serde_json::Value;

use super::super::made::recording;
use super::super::{Format, Reader, Writer};
use super::*;

fn written(events: &[&str]) -> Vec<Value> {
    let bytes = recording(events);
    let mut reader = Reader::new("run.jsonl", &bytes[..]).expect("a recording");
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Format::Perfetto, reader.header()).expect("room");
    let mut last = 0;
    while let Some(event) = reader.read_event().expect("an event") {
        writer.event(&event).expect("room");
        last = event.t;
    }
    writer.end("exited", Some(0), last + 1000).expect("room");
    serde_json::from_slice(&out).expect("an array")
}

fn phase<'a>(trace: &'a [Value], wanted: &'a str) -> impl Iterator<Item = &'a Value> {
    trace.iter().filter(move |event| event["ph"] == wanted)
}

/// Complete events of a track must follow each other or nest. Here none overlaps another.
fn assert_tracks(trace: &[Value]) {
    let mut tracks: HashMap<(u64, u64), Vec<(f64, f64)>> = HashMap::new();
    for event in phase(trace, "X") {
        let number = |key: &str| event[key].as_f64().unwrap_or_else(|| panic!("no {key} in {event}"));
        let track = (number("pid") as u64, number("tid") as u64);
        tracks.entry(track).or_default().push((number("ts"), number("ts") + number("dur")));
    }
    for slices in tracks.values_mut() {
        slices.sort_by(|one, other| one.partial_cmp(other).expect("numbers"));
        assert!(slices.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{slices:?}");
    }
}

#[test]
fn an_open_is_a_slice_and_overlapping_ones_have_tracks_of_their_own() {
    let trace = written(&[
        "open /a open=1",
        "open /b open=2",
        "close /a open=1 read=3",
        "open /c open=3",
        "close /b open=2",
        "close /c open=3",
        "open /d open=4",
    ]);
    assert_tracks(&trace);
    let slices: Vec<_> = phase(&trace, "X")
        .map(|event| {
            (event["name"].as_str().unwrap_or_default(), event["ts"].as_f64(), event["dur"].as_f64())
        })
        .collect();
    assert_eq!(
        slices,
        [
            ("/a", Some(0.0), Some(2.0)),
            ("/b", Some(1.0), Some(3.0)),
            ("/c", Some(3.0), Some(2.0)),
            ("/d", Some(6.0), Some(1.0)),
        ]
    );
    let tracks: Vec<u64> = phase(&trace, "X").filter_map(|event| event["tid"].as_u64()).collect();
    assert_eq!(tracks, [1, 1 + (1 << 22), 1, 1], "a free lane is used again");
    let args: Vec<_> = phase(&trace, "X").map(|event| &event["args"]).collect();
    assert_eq!((&args[0]["read"], &args[3]["closed"]), (&Value::from(3), &Value::from(false)));
}

#[test]
fn misses_and_changes_are_instants_and_hits_are_left_out() {
    let trace = written(&[
        "lookup /a",
        "read-link /a",
        "lookup /b error=ENOENT",
        "open /c error=EACCES",
        "rename /d other=/e",
    ]);
    let instants: Vec<_> =
        phase(&trace, "i").map(|event| (&event["name"], &event["cat"], &event["s"])).collect();
    let shown: Vec<_> =
        instants.iter().map(|(name, cat, scope)| format!("{name} {cat} {scope}").replace('"', "")).collect();
    assert_eq!(shown, ["/b miss t", "/c open t", "/d rename t", "end end g"]);
}

#[test]
fn processes_and_threads_are_named_again_when_they_execute_something_else() {
    let trace = written(&[
        "open /a open=1 pid=7 tid=7 exe=/bin/sh",
        "open /a open=2 pid=7 tid=8 exe=/bin/sh",
        "open /a open=3 pid=7 tid=7 exe=/usr/bin/ls",
    ]);
    let names = |kind: &str, tid: u64| -> Vec<&str> {
        let of_kind = phase(&trace, "M").filter(|event| event["name"] == kind && event["tid"] == tid);
        of_kind.filter_map(|event| event["args"]["name"].as_str()).collect()
    };
    assert_eq!(names("process_name", 7), ["sh", "ls"]);
    assert_eq!(names("thread_name", 7), ["sh", "ls"]);
    assert_eq!(names("thread_name", 8), ["sh"]);
    assert_eq!(names("thread_name", 7 + (1 << 22)), ["ls 7, open file 2"]);
    assert_eq!(trace[0]["args"]["header"]["host"], "node1");
}

#[test]
fn a_thread_whose_number_is_given_anew_is_of_the_new_process() {
    let trace = written(&[
        "open /a open=1 pid=7 tid=8 exe=/bin/old",
        "open /b open=2 pid=7 tid=8 exe=/bin/old",
        "open /c open=3 pid=9 tid=9 exe=/bin/new",
        "close /a open=1",
        "open /d open=4 pid=9 tid=8 exe=/bin/new",
    ]);
    assert_tracks(&trace);
    let name = |tid: u64| {
        let names = phase(&trace, "M").filter(|event| event["name"] == "thread_name" && event["tid"] == tid);
        let name = names.last().expect("it has a name");
        (name["pid"].as_u64(), name["args"]["name"].as_str())
    };
    assert_eq!(name(8), (Some(9), Some("new")));
    assert_eq!(name(8 + (1 << 22)), (Some(9), Some("new 8, open file 2")));
}

#[test]
fn a_process_of_a_parallel_job_has_its_rank() {
    let trace = written(&["open /a open=1 rank=3 pid=7 tid=7", "open /a open=2 rank=4 pid=8 tid=8"]);
    let processes = phase(&trace, "M").filter(|event| event["name"] == "process_name");
    let named: Vec<_> =
        processes.map(|event| (event["args"]["name"].as_str(), event["args"]["rank"].as_u64())).collect();
    assert_eq!(named, [(Some("rank 3: app"), Some(3)), (Some("rank 4: app"), Some(4))]);
}

#[test]
fn more_opens_than_lanes_are_pairs_of_asynchronous_events() {
    let count = MOST_LANES as usize + 3;
    let opens = (0..count).map(|number| format!("open /{number} open={number}"));
    let closes = (0..count).map(|number| format!("close /{number} open={number}"));
    let lines: Vec<String> = opens.chain(closes).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let trace = written(&lines);
    assert_tracks(&trace);
    assert_eq!(phase(&trace, "X").count(), MOST_LANES as usize);
    let ids = |wanted| -> Vec<&Value> { phase(&trace, wanted).map(|event| &event["id"]).collect() };
    assert_eq!(ids("b").len(), 3);
    assert_eq!(ids("b"), ids("e"));
}

#[test]
fn bytes_that_are_not_text_are_written_beside_the_name() {
    let name = Name::from(&b"/\xff"[..]);
    assert_eq!((bytes(&name), bytes(&Name::from(&b"/a"[..]))), (Some(&name), None));
}

#[test]
fn two_runs_have_numbers_of_their_own() {
    let mut spaces = Spaces::new(2);
    assert!(spaces.has(0, 1) && spaces.has(1, 1));
    let numbers = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(run, lane)| spaces.number(77, run, lane));
    assert_eq!(numbers, [77, 77 + (1 << 22), 77 + (2 << 22), 77 + (3 << 22)]);
    assert!(!spaces.has(0, MOST_LANES));
}

#[test]
fn paths_of_open_files_and_programs_take_bounded_memory() {
    let header =
        r#"{"compat_recording":1,"command":["app"],"folder":"/","host":"n","kernel":"6","started":0}"#;
    let header: Header = serde_json::from_str(header).expect("a header");
    let (mut tracks, mut spaces, mut out) = (Tracks::new(0, None), Spaces::new(1), Vec::new());
    tracks.begin(&mut out, &header).expect("room");
    let event = |number: u32, kind: EventKind| {
        let line = r#"{"t":1,"event":"open","path":"/","pid":1,"tid":1,"ppid":0,"exe":"/a","uid":0}"#;
        let long = |end: &str| Name(format!("/{}{number}{end}", "d".repeat(60_000)).into_bytes());
        let event: Event = serde_json::from_str(line).expect("an event");
        let (path, exe) = (long(".txt"), long("/app"));
        Event { event: kind, open: Some(number.into()), pid: number, tid: number, path, exe, ..event }
    };
    for number in 1..1000 {
        let mut written = Vec::new();
        tracks.event(&mut written, &mut spaces, &event(number, EventKind::Open)).expect("room");
        let memory = |names: usize| names <= MOST_BYTES + 70_000;
        assert!(memory(tracks.open_bytes) && memory(tracks.process_bytes));
        if number == 999 {
            out.extend(written);
        }
    }
    tracks.event(&mut out, &mut spaces, &event(999, EventKind::Close)).expect("room");
    out.extend(b"]");
    let trace: Vec<Value> = serde_json::from_slice(&out).expect("an array");
    let begun = phase(&trace, "b").next().expect("it is asynchronous");
    assert!(begun["name"].as_str().is_some_and(|name| name.ends_with("999.txt")));
    let ended = phase(&trace, "e").next().expect("its end");
    assert_eq!(
        (&ended["id"], &ended["cat"], &ended["name"]),
        (&begun["id"], &begun["cat"], &Value::from(""))
    );
    let held: usize = tracks.opens.values().map(|slice| slice.path.0.len()).sum();
    assert_eq!(held, tracks.open_bytes);
}

#[test]
fn threads_that_have_nothing_open_are_forgotten_where_they_are_many() {
    let (mut tracks, mut spaces) = (Tracks::new(0, None), Spaces::new(1));
    let event = |number: u32, open: bool| {
        let line = r#"{"t":1,"event":"open","path":"/a","pid":1,"tid":1,"ppid":0,"exe":"/a","uid":0}"#;
        let event: Event = serde_json::from_str(line).expect("an event");
        let (kind, open) = if open { (EventKind::Open, Some(1)) } else { (EventKind::MakeDirectory, None) };
        Event { event: kind, open, pid: number, tid: number, ..event }
    };
    tracks.event(&mut io::sink(), &mut spaces, &event(1, true)).expect("room");
    for number in 2..MOST_KNOWN as u32 + 10 {
        tracks.event(&mut io::sink(), &mut spaces, &event(number, false)).expect("room");
        assert!(tracks.threads.len() <= MOST_KNOWN && tracks.processes.len() <= MOST_KNOWN);
    }
    assert!(tracks.threads.contains_key(&1), "it has a file open");
}
