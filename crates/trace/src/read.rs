//! Reading a recording, line by line, plain or compressed with zstd.
//!
//! Nothing is kept but the line at hand, which has a limit, so a recording may be longer than memory. What
//! a newer program of the same version adds (fields, kinds of events) is passed over.

use std::io::{self, BufRead, BufReader, Read as _};

use serde::Deserialize;

use super::document::{End, Event, EventKind, Header, VERSION};

/// The longest line, in bytes: a command's arguments may be megabytes.
const LONGEST_LINE: usize = 32 << 20;

/// How many bytes are decompressed at once.
const BLOCK: usize = 1 << 17;

/// Why a recording cannot be read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("could not read {file}")]
    Read {
        /// The file, as it was called.
        file: String,
        /// The error of the system or of the decompression.
        source: io::Error,
    },
    /// The file is no recording.
    #[error("{file} is not a recording: {reason}")]
    Foreign {
        /// The file, as it was called.
        file: String,
        /// What it is instead.
        reason: Foreign,
    },
    /// The recording has a version that this program does not know.
    #[error(
        "{file} is a recording of version {version}, and this program reads up to version {VERSION}: a newer compat reads it"
    )]
    Newer {
        /// The file, as it was called.
        file: String,
        /// The version of its format.
        version: u64,
    },
    /// A line is no line of a recording.
    #[error("{file}, line {line}, column {column}: no line of a recording: {reason}")]
    Line {
        /// The file, as it was called.
        file: String,
        /// The number of the line.
        line: u64,
        /// The byte of the line at which it goes wrong, counted from 1.
        column: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A line is longer than this program reads.
    #[error("{file}, line {line}: longer than {LONGEST_LINE} bytes")]
    LongLine {
        /// The file, as it was called.
        file: String,
        /// The number of the line.
        line: u64,
    },
    /// A line stands after the one that ends the recording.
    #[error("{file}, line {line}: stands after the recording's end")]
    AfterEnd {
        /// The file, as it was called.
        file: String,
        /// The number of the line.
        line: u64,
    },
}

impl ReadError {
    fn of_line(file: &str, line: u64, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // It says where in the line, as if there were no other.
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
        Self::Line { file: file.to_owned(), line, column: error.column(), reason }
    }
}

/// What a file is that is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// An empty file.
    #[error("it is empty")]
    Empty,
    /// A file that ends within its first line.
    #[error("it ends within its first line")]
    CutHeader,
    /// A text log, as compat-lib writes it.
    #[error("it is a text log of compat-lib, which does not tell who touched a file and what failed")]
    CompatLib,
    /// A trace for Perfetto.
    #[error("it is a trace for Perfetto's viewer, which is written from a recording")]
    Perfetto,
    /// A file that gzip has compressed.
    #[error("it is compressed with gzip; only zstd is read")]
    Gzip,
    /// Anything else.
    #[error("its first line is no header")]
    NoHeader,
}

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its last line.
    Whole(End),
    /// Without one: all who could write it were killed, or it is still being written. What there is of
    /// a last line is passed over.
    Cut,
}

/// A recording that is being read: the header, then an iterator of the events, then how it ends.
pub struct Reader<'a> {
    /// How the file is called in errors.
    file: String,
    input: Box<dyn BufRead + 'a>,
    header: Header,
    ending: Option<Ending>,
    line: Vec<u8>,
    number: u64,
    unknown: u64,
}

impl<'a> Reader<'a> {
    /// Begins to read. `file` is how the recording is called in errors.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, is no recording, or one of a newer version.
    pub fn new(file: impl Into<String>, input: impl BufRead + 'a) -> Result<Self, ReadError> {
        let file = file.into();
        let mut input =
            decompressed(input).map_err(|source| ReadError::Read { file: file.clone(), source })?;
        let mut line = Vec::new();
        let header = read_header(&file, &mut input, &mut line)?;
        Ok(Self { file, input, header, ending: None, line, number: 1, unknown: 0 })
    }

    /// How the recording is called in errors.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the recording ends; known when the last event has been read.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// How many events were passed over, because this program does not know their kind.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// The next event; nothing when there is none any more.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, or a line is none of a recording.
    pub fn read_event(&mut self) -> Result<Option<Event>, ReadError> {
        while self.ending.is_none() {
            self.number += 1;
            let end = read_line(&self.file, self.number, &mut self.input, &mut self.line)?;
            match parse_line(&self.line) {
                Ok(Parsed::Event(event)) => return Ok(Some(event)),
                Ok(Parsed::Unknown) => self.unknown += 1,
                Ok(Parsed::End(end)) => {
                    self.ending = Some(Ending::Whole(end));
                    self.expect_nothing()?;
                }
                Err(_) if end != LineEnd::Newline => self.ending = Some(Ending::Cut),
                Err(error) => return Err(ReadError::of_line(&self.file, self.number, &error)),
            }
        }
        Ok(None)
    }

    fn expect_nothing(&mut self) -> Result<(), ReadError> {
        let line = self.number + 1;
        read_line(&self.file, line, &mut self.input, &mut self.line)?;
        let is_nothing = self.line.is_empty();
        if is_nothing { Ok(()) } else { Err(ReadError::AfterEnd { file: self.file.clone(), line }) }
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Event, ReadError>;

    /// The next event. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_event();
        if next.is_err() {
            self.ending = Some(Ending::Cut);
        }
        next.transpose()
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").field("file", &self.file).field("line", &self.number).finish()
    }
}

/// The input as text: decompressed where it begins as zstd does (RFC 8878, section 3.1.1).
///
/// # Errors
///
/// Those of reading it.
pub(super) fn decompressed<'a>(mut input: impl BufRead + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    const MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    let mut start = Vec::new();
    input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
    let is_compressed = start == MAGIC;
    let input = io::Cursor::new(start).chain(input);
    if is_compressed {
        let decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        Ok(Box::new(BufReader::with_capacity(BLOCK, decoder)))
    } else {
        Ok(Box::new(input))
    }
}

fn read_header(file: &str, input: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<Header, ReadError> {
    #[derive(Deserialize)]
    struct Version {
        compat_recording: u64,
    }
    let foreign = |reason| ReadError::Foreign { file: file.to_owned(), reason };
    let end = match read_line(file, 1, input, line) {
        // Any file may have long lines: what it is can be told from its beginning.
        Err(ReadError::LongLine { .. }) => return Err(foreign(kind_of(line))),
        other => other?,
    };
    match serde_json::from_slice::<Version>(line).map(|version| version.compat_recording) {
        Ok(1..=MOST) => serde_json::from_slice(line).map_err(|error| ReadError::of_line(file, 1, &error)),
        Ok(version @ 1..) => Err(ReadError::Newer { file: file.to_owned(), version }),
        Err(_) if end != LineEnd::Newline && line.starts_with(BEGINNING) => Err(foreign(Foreign::CutHeader)),
        Err(_) if end == LineEnd::Cut && BEGINNING.starts_with(line) => Err(foreign(Foreign::CutHeader)),
        Ok(_) | Err(_) => Err(foreign(kind_of(line))),
    }
}

const MOST: u64 = VERSION as u64;

/// How each recording begins.
const BEGINNING: &[u8] = b"{\"compat_recording\":";

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    /// As it should.
    Newline,
    /// With the input.
    Input,
    /// With the input, which is compressed and cut off.
    Cut,
}

/// What a file seems to be that begins with this line.
fn kind_of(line: &[u8]) -> Foreign {
    let text = line.trim_ascii();
    match text {
        [] => Foreign::Empty,
        [0x1f, 0x8b, ..] => Foreign::Gzip,
        [b'[', ..] => Foreign::Perfetto,
        _ if text.starts_with(b"{\"traceEvents\"") => Foreign::Perfetto,
        _ if is_stamped(text) => Foreign::CompatLib,
        _ => Foreign::NoHeader,
    }
}

/// Whether a line begins with a date and a time as Go's log does: `2024/11/08 10:46:19 `.
pub(super) fn is_stamped(line: &[u8]) -> bool {
    const SHAPE: &[u8] = b"0000/00/00 00:00:00 ";
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    line.len() >= SHAPE.len() && line.iter().zip(SHAPE).all(fits)
}

/// Reads a line, without what ends it, and tells what that is.
fn read_line(
    file: &str,
    number: u64,
    input: &mut dyn BufRead,
    line: &mut Vec<u8>,
) -> Result<LineEnd, ReadError> {
    line.clear();
    loop {
        let block = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(LineEnd::Cut),
            other => other.map_err(|source| ReadError::Read { file: file.to_owned(), source })?,
        };
        if block.is_empty() {
            return Ok(LineEnd::Input);
        }
        let end = memchr::memchr(b'\n', block);
        line.extend_from_slice(&block[..end.unwrap_or(block.len())]);
        let used = end.map_or(block.len(), |end| end + 1);
        input.consume(used);
        if line.len() > LONGEST_LINE {
            return Err(ReadError::LongLine { file: file.to_owned(), line: number });
        }
        if end.is_some() {
            return Ok(LineEnd::Newline);
        }
    }
}

enum Parsed {
    Event(Event),
    End(End),
    /// An event of a kind that is not known here.
    Unknown,
}

/// A line after the header. Events are tried first: they are nearly all.
fn parse_line(line: &[u8]) -> Result<Parsed, serde_json::Error> {
    #[derive(Deserialize)]
    struct AnyEvent {
        event: String,
    }
    let error = match serde_json::from_slice(line) {
        Ok(event) => return Ok(Parsed::Event(event)),
        Err(error) => error,
    };
    if let Ok(end) = serde_json::from_slice(line) {
        return Ok(Parsed::End(end));
    }
    match serde_json::from_slice::<AnyEvent>(line) {
        Ok(AnyEvent { event }) if EventKind::from_word(&event).is_none() => Ok(Parsed::Unknown),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests;
