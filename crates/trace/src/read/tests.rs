use super::super::{Format, Name, Writer};
use super::*;
use std::collections::BTreeMap;

fn header() -> Header {
    Header {
        compat_recording: VERSION,
        command: vec![Name::from(&b"app"[..]), Name::from(&b"\xff"[..])],
        directory: Name::from(&b"/tmp"[..]),
        host: "node1".to_owned(),
        kernel: "6.12.0".to_owned(),
        image: None,
        started: 1_767_225_600_000_000_000,
    }
}

const EVENT: &str = r#"{"t":5,"event":"lookup","path":"/a","error":"ENOENT","pid":7,"tid":8,"ppid":6,"exe":"/bin/app","uid":0}"#;

/// A recording with `count` identical events.
fn recording(count: u64) -> Vec<u8> {
    let event = serde_json::from_str(EVENT).expect("an event");
    let mut text = Vec::new();
    let mut writer = Writer::new(&mut text, Format::Jsonl, &header()).expect("a header");
    (0..count).for_each(|_| writer.event(&event).expect("an event"));
    writer.end("exited", Some(3), 9).expect("an end");
    text
}

fn read(bytes: &[u8]) -> Result<(u64, Ending), ReadError> {
    // With a small buffer, lines and the magic number cross its ends.
    let mut reader = Reader::new("run.jsonl", BufReader::with_capacity(3, bytes))?;
    let mut count = 0;
    while reader.read_event()?.is_some() {
        count += 1;
    }
    assert!(reader.read_event()?.is_none(), "the end is the end");
    Ok((count, reader.ending().expect("an ending").clone()))
}

fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

fn refused(bytes: &[u8]) -> String {
    chain(&read(bytes).expect_err("it is refused"))
}

#[test]
fn what_was_written_is_read_compressed_or_not() {
    let text = recording(3);
    let compressed = zstd::bulk::compress(&text, 3).expect("room");
    for bytes in [&text, &compressed] {
        let reader = Reader::new("run.jsonl", &bytes[..]).expect("a recording");
        assert_eq!(reader.header(), &header());
        let events: Result<Vec<Event>, ReadError> = reader.collect();
        let expected: Event = serde_json::from_str(EVENT).expect("an event");
        assert_eq!(events.expect("they can be read"), [&expected; 3].map(Clone::clone));
        let (count, ending) = read(bytes).expect("a recording");
        let Ending::Whole(end) = ending else { panic!("it is whole") };
        assert_eq!((count, end.events, end.code), (3, Some(3), Some(3)));
    }
}

#[test]
fn a_cut_recording_is_read_to_its_last_whole_line() {
    let text = recording(3);
    let header = text.iter().position(|byte| *byte == b'\n').expect("a line");
    for length in header + 1..text.len() - 1 {
        let lines = text[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        let (count, ending) = read(&text[..length]).expect("a recording");
        // A line that lacks only the newline is complete.
        assert!(count == lines - 1 || text[length] == b'\n', "{count} of {lines} lines");
        assert_eq!(ending, Ending::Cut);
    }
    assert!(matches!(read(&text[..text.len() - 1]), Ok((3, Ending::Whole(_)))));
    let long = recording(20_000);
    let compressed = zstd::bulk::compress(&long, 3).expect("room");
    let (count, ending) = read(&compressed[..compressed.len() - 20]).expect("a recording");
    assert!(ending == Ending::Cut && count > 0, "{count} events of a cut compressed recording");
}

#[test]
fn what_is_new_in_the_same_version_is_passed_over() {
    let text = String::from_utf8(recording(1)).expect("text");
    let new = EVENT.replace("lookup", "foreseen").replace("}", ",\"rank\":[1]}");
    let known = EVENT.replace("}", ",\"rank\":3}");
    let text = text.replace(EVENT, &format!("{new}\n{known}"));
    let text = text.replace("\"counts\":{", "\"counts\":{\"foreseen\":1,\"measured\":[2],");
    assert!(text.contains("foreseen\":1"), "{text}");
    let mut reader = Reader::new("run.jsonl", text.as_bytes()).expect("a recording");
    assert!(reader.read_event().expect("an event").is_some_and(|event| event.event == EventKind::Lookup));
    assert!(reader.read_event().expect("the end").is_none());
    assert_eq!(reader.unknown(), 1);
    let Some(Ending::Whole(end)) = reader.ending() else { panic!("it is whole") };
    assert_eq!(end.counts, BTreeMap::from([(EventKind::Lookup, 1)]));
    let text = text.replace("\"lookup\":1", "\"lookup\":-1");
    assert!(read(text.as_bytes()).is_err(), "a count of a known kind is a number");
}

#[test]
fn what_compression_cut_off_within_the_first_line_is_cut_and_not_empty() {
    let compressed = zstd::bulk::compress(&recording(3), 3).expect("room");
    insta::assert_snapshot!(refused(&compressed[..9]), @"run.jsonl is not a recording: it ends inside its first line");
    insta::assert_snapshot!(refused(&compressed[..4]), @"run.jsonl is not a recording: it ends inside its first line");
    let nothing = zstd::bulk::compress(b"", 3).expect("room");
    insta::assert_snapshot!(refused(&nothing), @"run.jsonl is not a recording: it is empty");
}

#[test]
fn what_is_no_recording_is_refused_with_what_it_is() {
    insta::assert_snapshot!(refused(b""), @"run.jsonl is not a recording: it is empty");
    insta::assert_snapshot!(refused(b"\x7fELF\x02\x01"), @"run.jsonl is not a recording: its first line is not a recording header");
    insta::assert_snapshot!(refused(b"{\"compat_recording\":1,\"comm"), @"run.jsonl is not a recording: it ends inside its first line");
    insta::assert_snapshot!(refused(b"2024/11/08 10:46:19 recorder.go:46: 1731062779714551943 Lookup     /etc\n"), @"run.jsonl is not a recording: it is a text log of compat-lib, which lacks programs, users and errors");
    insta::assert_snapshot!(refused(b"[\n{\"name\":\"/a\",\"ph\":\"i\"},\n"), @"run.jsonl is not a recording: it is a trace for Perfetto's viewer; read the recording from which it was made");
    insta::assert_snapshot!(refused(b"{\"traceEvents\":[]}"), @"run.jsonl is not a recording: it is a trace for Perfetto's viewer; read the recording from which it was made");
    insta::assert_snapshot!(refused(b"\x1f\x8b\x08\0"), @"run.jsonl is not a recording: it is compressed with gzip, but only zstd is supported");
    insta::assert_snapshot!(refused(b"{\"compat_recording\":7}\n"), @"run.jsonl is a recording of format version 7, and this compat reads versions up to 1; use a newer compat");
    insta::assert_snapshot!(refused(b"{\"compat_recording\":1}\n"), @"run.jsonl: line 1 is not a valid line of a recording (column 22): missing field `command`");
    insta::assert_snapshot!(refused(b"\x28\xb5\x2f\xfdgarbage"), @"could not read run.jsonl: Dictionary mismatch");
}

#[test]
fn an_invalid_line_is_reported_with_its_number() {
    let text = String::from_utf8(recording(2)).expect("text");
    insta::assert_snapshot!(refused(text.replacen(EVENT, "{\"t\":1", 1).as_bytes()), @"run.jsonl: line 2 is not a valid line of a recording (column 6): EOF while parsing an object");
    insta::assert_snapshot!(refused(text.replacen("\"/a\"", "\"/a", 1).as_bytes()), @"run.jsonl: line 2 is not a valid line of a recording (column 37): expected `,` or `}`");
    insta::assert_snapshot!(refused(format!("{text}{text}").as_bytes()), @"run.jsonl, line 5: the line follows the end of the recording");
    let (start, _) = text.split_once('\n').expect("lines");
    let long = format!("{start}\n\"{}", "x".repeat(LONGEST_LINE));
    insta::assert_snapshot!(refused(long.as_bytes()), @"run.jsonl, line 2: the line is longer than 33554432 bytes");
}

proptest::proptest! {
    #[test]
    fn any_bytes_end(bytes: Vec<u8>) {
        let _ = read(&bytes);
        let mut text = recording(1);
        text.extend(bytes);
        let _ = read(&text);
    }
}
