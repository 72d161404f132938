//! A recording, plain or compressed, and every result of `compat trace`.
//!
//! Invariant: the events, written as JSON lines and read again, are the same and have the same summary. A trace
//! for Perfetto's viewer is JSON. A recording does not differ from itself.

#![no_main]

use compat_trace::{
    Ending, Event, Format, Order, Reader, Survey, Writer, difference, files, libraries, summary,
};
use libfuzzer_sys::fuzz_target;

/// Writes the events, like `compat trace convert`.
fn written(data: &[u8], format: Format) -> Option<(Vec<Event>, Vec<u8>)> {
    let mut reader = Reader::new("run.jsonl", data).ok()?;
    let (mut out, mut events) = (Vec::new(), Vec::new());
    let mut writer = Writer::new(&mut out, format, reader.header()).expect("room");
    while let Some(event) = reader.read_event().ok()? {
        writer.event(&event).expect("room");
        events.push(event);
    }
    match reader.ending().expect("an ending") {
        Ending::Whole(end) => writer.end_as(end, 0).expect("room"),
        Ending::Cut => writer.cut(0).expect("room"),
    }
    Some((events, out))
}

fn survey(data: &[u8]) -> Survey {
    let mut survey = Survey::default();
    let reader = Reader::new("run.jsonl", data).expect("a recording");
    survey.add(reader).expect("it was read before");
    survey
}

fuzz_target!(|data: &[u8]| {
    let Some((events, lines)) = written(data, Format::Jsonl) else {
        if let Err(error) = Reader::new("run.jsonl", data) {
            let _ = error.to_string();
        }
        return;
    };
    let (again, same) = written(&lines, Format::Jsonl).expect("what was written can be read");
    assert!(events == again && lines == same);
    written(data, Format::CompatLib).expect("it was read before");
    let (_, trace) = written(data, Format::Perfetto).expect("it was read before");
    serde_json::from_slice::<Vec<serde_json::Value>>(&trace).expect("a trace is an array");
    let survey = survey(data);
    let (one, mut other) = (summary(&survey, 5), summary(&self::survey(&lines), 5));
    other.runs[0].unknown = one.runs[0].unknown;
    assert_eq!(one, other);
    assert_eq!(files(&survey, Order::First, |_, _| true).len(), survey.paths.len());
    libraries(&survey);
    assert!(difference(&survey, &survey, true, |_| true).same);
});
