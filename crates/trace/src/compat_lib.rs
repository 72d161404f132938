//! The text log of compat-lib 0.0.1, which PyPI's `compatlib` reads.
//!
//! A line is `YYYY/MM/DD HH:MM:SS file.go:NN: NANOSECONDS EVENT PATH[\tOPEN]`. Readers split it at white space. The
//! events are Lookup, Open, Close, Create and, at the end, Complete. Readers also expect a path in the Complete line.
//! If they read several logs at once, each must begin with an event that is not an open.

use std::collections::HashSet;
use std::io::{self, Write};

use super::document::{Event, EventKind, Header};
use super::name::Name;

/// The state between events.
#[derive(Debug)]
pub(crate) struct TextLog {
    started: u64,
    /// The directory in which the command ran.
    directory: Name,
    begun: bool,
    /// The opens that the log contains.
    logged: HashSet<u64>,
}

impl TextLog {
    /// A log of the run with this header.
    pub(crate) fn new(header: &Header) -> Self {
        let directory =
            if header.directory.0.is_empty() { Name::from(&b"/"[..]) } else { header.directory.clone() };
        Self { started: header.started, directory, begun: false, logged: HashSet::new() }
    }

    /// Writes an event, if the format has its kind.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(crate) fn event(&mut self, out: &mut impl Write, event: &Event) -> io::Result<()> {
        let word = match (event.event, event.open) {
            (EventKind::Lookup, _) => "Lookup",
            // Readers pair a close with an open, even after a creation.
            (EventKind::Open | EventKind::Create, Some(open)) if event.error.is_none() => {
                self.logged.insert(open);
                if !self.begun {
                    // The file was looked up before the recorder began.
                    self.line(out, "Lookup", event)?;
                }
                if event.event == EventKind::Create {
                    self.line(out, "Create", event)?;
                }
                "Open"
            }
            (EventKind::Close, Some(open)) if self.logged.remove(&open) => "Close",
            _ => return Ok(()),
        };
        self.begun = true;
        self.line(out, word, event)
    }

    fn line(&self, out: &mut impl Write, word: &str, event: &Event) -> io::Result<()> {
        let nanoseconds = self.started.saturating_add(event.t);
        let stamp = date_and_time(nanoseconds / 1_000_000_000);
        write!(out, "{stamp} recorder.go:1: {nanoseconds:>19} {word:>10} ")?;
        write_path(out, &event.path.0)?;
        match event.open.filter(|_| word != "Lookup" && word != "Create") {
            Some(open) => writeln!(out, "\t{open}"),
            None => writeln!(out),
        }
    }

    /// Writes the last line.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(crate) fn complete(&self, out: &mut impl Write, t: u64) -> io::Result<()> {
        let nanoseconds = self.started.saturating_add(t);
        let stamp = date_and_time(nanoseconds / 1_000_000_000);
        write!(out, "{stamp} recorder.go:1: {nanoseconds:>19} {:>10} ", "Complete")?;
        write_path(out, &self.directory.0)?;
        writeln!(out)
    }
}

/// Writes a path with the escapes of the mount table for white space, at which readers would split it, and for invalid
/// UTF-8, which they reject.
fn write_path(out: &mut impl Write, path: &[u8]) -> io::Result<()> {
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                // The separators of Python's split(), and the mark of an escape.
                '\\' | '\u{1c}'..='\u{1f}' => escape(out, character)?,
                _ if character.is_whitespace() => escape(out, character)?,
                _ => write!(out, "{character}")?,
            }
        }
        chunk.invalid().iter().try_for_each(|byte| write!(out, "\\{byte:03o}"))?;
    }
    Ok(())
}

fn escape(out: &mut impl Write, character: char) -> io::Result<()> {
    let mut buffer = [0; 4];
    character.encode_utf8(&mut buffer).bytes().try_for_each(|byte| write!(out, "\\{byte:03o}"))
}

/// Formats a time as `2026/01/31 23:59:59` in UTC.
fn date_and_time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().strftime("%Y/%m/%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::made::recording;
    use super::super::{Format, Reader, Writer};
    use super::*;

    #[test]
    fn a_path_is_one_word_of_text() {
        let written = |path: &[u8]| {
            let mut out = Vec::new();
            write_path(&mut out, path).expect("room");
            String::from_utf8(out).expect("text")
        };
        assert_eq!(written(b"/a b\n\\c"), r"/a\040b\012\134c");
        assert_eq!(written("/ä\u{a0}\u{1f}".as_bytes()), "/ä\\302\\240\\037");
        assert_eq!(written(b"/\xff"), r"/\377");
    }

    #[test]
    fn a_log_begins_with_a_lookup_and_ends_with_complete() {
        let bytes = recording(&["open /a open=1", "create /b open=2", "close /b open=2", "close /x open=9"]);
        let mut reader = Reader::new("run.jsonl", &bytes[..]).expect("a recording");
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, Format::CompatLib, reader.header()).expect("room");
        while let Some(event) = reader.read_event().expect("an event") {
            writer.event(&event).expect("room");
        }
        writer.end("exited", Some(0), 4000).expect("room");
        insta::assert_snapshot!(String::from_utf8_lossy(&out), @r"
        1970/01/01 00:00:00 recorder.go:1:                   0     Lookup /a
        1970/01/01 00:00:00 recorder.go:1:                   0       Open /a	1
        1970/01/01 00:00:00 recorder.go:1:                1000     Create /b
        1970/01/01 00:00:00 recorder.go:1:                1000       Open /b	2
        1970/01/01 00:00:00 recorder.go:1:                2000      Close /b	2
        1970/01/01 00:00:00 recorder.go:1:                4000   Complete /
        ");
    }
}
