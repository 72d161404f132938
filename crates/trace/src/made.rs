//! Recordings for tests, from lines such as `open /a open=1 exe=/bin/app`.

use compat_trace::{Reader, Survey};

/// Returns a complete recording with an event every 1000 ns, of process and thread 1, which executes `/bin/app`.
pub(crate) fn recording(events: &[&str]) -> Vec<u8> {
    let mut text = String::from(
        r#"{"compat_recording":1,"command":["app"],"folder":"/","host":"node1","kernel":"6.12","started":0}"#,
    );
    for (number, line) in events.iter().enumerate() {
        text.push('\n');
        text.push_str(&event(number as u64 * 1000, line));
    }
    let (t, count) = (events.len() * 1000, events.len());
    text.push_str(&format!(
        "\n{{\"end\":\"exited\",\"code\":0,\"t\":{t},\"events\":{count},\"dropped\":0}}\n"
    ));
    text.into_bytes()
}

fn event(t: u64, line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut event = serde_json::json!({
        "t": t, "event": words.next(), "path": words.next(),
        "pid": 1, "tid": 1, "ppid": 0, "exe": "/bin/app", "uid": 0,
    });
    for word in words {
        let (key, value) = word.split_once('=').expect("key=value");
        event[key] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    }
    event.to_string()
}

/// Returns the survey of several recordings.
pub(crate) fn survey(recordings: &[&[&str]]) -> Survey {
    let mut survey = Survey::default();
    for (number, events) in recordings.iter().enumerate() {
        let bytes = recording(events);
        let reader = Reader::new(format!("run{}.jsonl", number + 1), &bytes[..]).expect("a recording");
        survey.add(reader).expect("events");
    }
    survey
}
