//! Writes a recording in one of three formats.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::compat_lib::TextLog;
use super::document::{End, Event, EventKind, Header};
use super::perfetto::{Spaces, Tracks};

/// The format of a written recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Jsonl,
    /// The text log of compat-lib 0.0.1, which PyPI's `compatlib` reads: date, time, source, then nanoseconds since
    /// 1970, event, path and open. It has lookups, opens, creations and closes. Its readers split at white space and
    /// expect each close to follow an open.
    CompatLib,
    /// A trace in the Trace Event Format, which Perfetto's viewer opens.
    Perfetto,
}

/// Writes lines to `out`.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    form: FormatWriter,
    counts: BTreeMap<EventKind, u64>,
}

/// The state of a format between events.
#[derive(Debug)]
enum FormatWriter {
    Jsonl,
    CompatLib(TextLog),
    Perfetto(Box<(Tracks, Spaces)>),
}

impl<W: Write> Writer<W> {
    /// Begins a recording with its header.
    ///
    /// # Errors
    ///
    /// Those of `out`, as for the other functions.
    pub fn new(mut out: W, format: Format, header: &Header) -> io::Result<Self> {
        let form = match format {
            Format::Jsonl => {
                write_json(&mut out, header)?;
                FormatWriter::Jsonl
            }
            Format::CompatLib => FormatWriter::CompatLib(TextLog::new(header)),
            Format::Perfetto => {
                let mut tracks = Tracks::new(0, None);
                tracks.begin(&mut out, header)?;
                FormatWriter::Perfetto(Box::new((tracks, Spaces::new(1))))
            }
        };
        out.flush()?;
        Ok(Self { out, form, counts: BTreeMap::new() })
    }

    /// The output.
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
        match &mut self.form {
            FormatWriter::Jsonl => write_json(&mut self.out, event),
            FormatWriter::CompatLib(log) => log.event(&mut self.out, event),
            FormatWriter::Perfetto(form) => form.0.event(&mut self.out, &mut form.1, event),
        }
    }

    /// Flushes the output.
    ///
    /// # Errors
    ///
    /// See [`Writer::new`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Adds the last line: the kind of the end, the exit code, and the time in nanoseconds since the start.
    ///
    /// # Errors
    ///
    /// See [`Writer::new`].
    pub fn end(&mut self, how: &str, code: Option<i32>, t: u64) -> io::Result<End> {
        let events = self.counts.values().sum();
        let counts = self.counts.clone();
        let end =
            End { end: how.to_owned(), code, t: Some(t), events: Some(events), dropped: Some(0), counts };
        self.end_as(&end, t)?;
        Ok(end)
    }

    /// Adds the last line of another recording. `last` is the time of the last event.
    ///
    /// # Errors
    ///
    /// See [`Writer::new`].
    pub fn end_as(&mut self, end: &End, last: u64) -> io::Result<()> {
        let t = end.t.unwrap_or(last);
        match &mut self.form {
            FormatWriter::Jsonl => write_json(&mut self.out, end)?,
            FormatWriter::CompatLib(log) => log.complete(&mut self.out, t)?,
            FormatWriter::Perfetto(form) => {
                form.0.end(&mut self.out, &form.1, t, Some(end))?;
                self.out.write_all(b"\n]\n")?;
            }
        }
        self.out.flush()
    }

    /// Finishes the output for a recording without a last line. The output has none either. `t` is the time of the last
    /// event.
    ///
    /// # Errors
    ///
    /// See [`Writer::new`].
    pub fn cut(&mut self, t: u64) -> io::Result<()> {
        if let FormatWriter::Perfetto(form) = &mut self.form {
            form.0.end(&mut self.out, &form.1, t, None)?;
            self.out.write_all(b"\n]\n")?;
        }
        self.out.flush()
    }
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
