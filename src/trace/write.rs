//! Writing a recording, in one of three formats.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::document::{End, Event, Header, Kind};

/// The format of a written recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// The text log of compat-lib 0.0.1, which PyPI's `compatlib` reads: date, time, source, then
    /// nanoseconds since 1970, event, path and open. It knows look-ups, opens, creations and closes, and
    /// its readers split at white space and expect each close to follow an open.
    CompatLib,
    /// A trace in the Trace Event Format, which Perfetto's viewer opens.
    Perfetto,
}

/// Writes lines to `out`; every call writes whole lines.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    format: Format,
    started: u64,
    counts: BTreeMap<Kind, u64>,
    /// The opens that the text log has told of.
    told: HashSet<u64>,
}

impl<W: Write> Writer<W> {
    /// Begins a recording with its header.
    ///
    /// # Errors
    ///
    /// Those of `out`, as for the other functions.
    pub fn new(mut out: W, format: Format, header: &Header) -> io::Result<Self> {
        match format {
            Format::Jsonl => write_json(&mut out, header)?,
            Format::CompatLib => {}
            Format::Perfetto => out.write_all(b"[\n")?,
        }
        out.flush()?;
        Ok(Self { out, format, started: header.started, counts: BTreeMap::new(), told: HashSet::new() })
    }

    /// Where the lines go.
    pub fn out(&self) -> &W {
        &self.out
    }

    /// Adds an event.
    ///
    /// # Errors
    ///
    /// See [`Writer::new`].
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        *self.counts.entry(event.event).or_default() += 1;
        match self.format {
            Format::Jsonl => write_json(&mut self.out, event),
            Format::CompatLib => self.text_event(event),
            Format::Perfetto => self.trace_event(event),
        }
    }

    fn text_event(&mut self, event: &Event) -> io::Result<()> {
        let word = match (event.event, event.open) {
            (Kind::Lookup, _) => "Lookup",
            // Its readers pair a close with an open, also after a creation.
            (Kind::Open | Kind::Create, Some(open)) if event.error.is_none() => {
                self.told.insert(open);
                if event.event == Kind::Create {
                    self.text_line(event.t, "Create", event)?;
                }
                "Open"
            }
            (Kind::Close, Some(open)) if self.told.remove(&open) => "Close",
            _ => return Ok(()),
        };
        self.text_line(event.t, word, event)
    }

    fn text_line(&mut self, t: u64, word: &str, event: &Event) -> io::Result<()> {
        let nanoseconds = self.started + t;
        let stamp = date_and_time(nanoseconds / 1_000_000_000);
        write!(self.out, "{stamp} recorder.go:1: {nanoseconds:>19} {word:>10} ")?;
        // A path with white space would be split: it is written with the escapes of the mount table.
        for byte in &event.path.0 {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b'\\' => write!(self.out, "\\{byte:03o}")?,
                _ => self.out.write_all(&[*byte])?,
            }
        }
        match event.open.filter(|_| word != "Lookup" && word != "Create") {
            Some(open) => writeln!(self.out, "\t{open}"),
            None => writeln!(self.out),
        }
    }

    fn trace_event(&mut self, event: &Event) -> io::Result<()> {
        #[derive(Serialize)]
        struct Trace<'a> {
            name: &'a str,
            cat: &'a str,
            ph: &'a str,
            /// Microseconds.
            ts: f64,
            pid: u32,
            tid: u32,
            s: &'a str,
            args: &'a Event,
        }
        let name = event.path.text();
        let ts = event.t as f64 / 1000.0;
        let (cat, ph) = (event.event.word(), "i");
        let trace = Trace { name: &name, cat, ph, ts, pid: event.pid, tid: event.tid, s: "t", args: event };
        serde_json::to_writer(&mut self.out, &trace)?;
        self.out.write_all(b",\n")
    }

    /// Hands on what was written.
    ///
    /// # Errors
    ///
    /// See [`Writer::new`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Adds the last line: how it ended, with which code, when (nanoseconds since the start).
    ///
    /// # Errors
    ///
    /// See [`Writer::new`].
    pub fn end(&mut self, how: &str, code: Option<i32>, t: u64) -> io::Result<End> {
        let events = self.counts.values().sum();
        let counts = self.counts.clone();
        let end =
            End { end: how.to_owned(), code, t: Some(t), events: Some(events), dropped: Some(0), counts };
        match self.format {
            Format::Jsonl => write_json(&mut self.out, &end)?,
            Format::CompatLib => {
                let nanoseconds = self.started + t;
                let stamp = date_and_time(nanoseconds / 1_000_000_000);
                writeln!(self.out, "{stamp} recorder.go:1: {nanoseconds:>19} {:>10}", "Complete")?;
            }
            Format::Perfetto => {
                let ts = t as f64 / 1000.0;
                write!(self.out, r#"{{"name":"end","ph":"i","ts":{ts},"pid":0,"tid":0,"s":"g","args":"#)?;
                serde_json::to_writer(&mut self.out, &end)?;
                self.out.write_all(b"}\n]\n")?;
            }
        }
        self.out.flush()?;
        Ok(end)
    }
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// `2026/01/31 23:59:59`, in universal time.
fn date_and_time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().strftime("%Y/%m/%d %H:%M:%S").to_string()
}
