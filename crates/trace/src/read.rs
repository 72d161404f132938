//! Reads a recording line by line, plain or compressed with zstd.
//!
//! Only the current line is kept, and its length is limited, so a recording can be larger than memory. Additions by
//! newer versions of the program within the same format version (fields and kinds of events) are ignored.

use std::io::{self, BufRead, BufReader, Read as _};

use serde::Deserialize;

use super::document::{End, Event, EventKind, Header, VERSION};

/// The maximum length of a line, in bytes. The arguments of a command can have megabytes.
const LONGEST_LINE: usize = 32 << 20;

/// The size of the decompression buffer, in bytes.
const BLOCK: usize = 1 << 17;

/// The reason for a recording that cannot be read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("could not read {file}")]
    Read {
        /// The name of the file.
        file: String,
        /// The error of the system or of the decompression.
        source: io::Error,
    },
    /// The file is not a recording.
    #[error("{file} is not a recording: {reason}")]
    Foreign {
        /// The name of the file.
        file: String,
        /// The kind of file that it is.
        reason: Foreign,
    },
    /// The format version of the recording is not supported.
    #[error(
        "{file} is a recording of format version {version}, and this compat reads versions up to {VERSION}; use a newer compat"
    )]
    Newer {
        /// The name of the file.
        file: String,
        /// The version of its format.
        version: u64,
    },
    /// A line is not valid.
    #[error("{file}: line {line} is not a valid line of a recording (column {column}): {reason}")]
    Line {
        /// The name of the file.
        file: String,
        /// The number of the line.
        line: u64,
        /// The position of the error in the line, in bytes from 1.
        column: usize,
        /// The error.
        reason: String,
    },
    /// A line exceeds the maximum length.
    #[error("{file}, line {line}: the line is longer than {LONGEST_LINE} bytes")]
    LongLine {
        /// The name of the file.
        file: String,
        /// The number of the line.
        line: u64,
    },
    /// A line follows the last line of the recording.
    #[error("{file}, line {line}: the line follows the end of the recording")]
    AfterEnd {
        /// The name of the file.
        file: String,
        /// The number of the line.
        line: u64,
    },
}

impl ReadError {
    fn of_line(file: &str, line: u64, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // The message contains a position that treats the line as the only one.
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
        Self::Line { file: file.to_owned(), line, column: error.column(), reason }
    }
}

/// The kind of a file that is not a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// An empty file.
    #[error("it is empty")]
    Empty,
    /// A file that ends inside its first line.
    #[error("it ends inside its first line")]
    CutHeader,
    /// A text log in the format of compat-lib.
    #[error("it is a text log of compat-lib, which lacks programs, users and errors")]
    CompatLib,
    /// A trace for Perfetto.
    #[error("it is a trace for Perfetto's viewer; read the recording from which it was made")]
    Perfetto,
    /// A file compressed with gzip.
    #[error("it is compressed with gzip, but only zstd is supported")]
    Gzip,
    /// Anything else.
    #[error("its first line is not a recording header")]
    NoHeader,
}

/// The end of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The recording has a last line.
    Whole(End),
    /// The recording has no last line, because all processes that could write it were killed, or it is still being
    /// written. A partial line is ignored.
    Cut,
}

/// A reader of a recording: the header, then an iterator over the events, then the ending.
pub struct Reader<'a> {
    /// The name of the file in errors.
    file: String,
    input: Box<dyn BufRead + 'a>,
    header: Header,
    ending: Option<Ending>,
    line: Vec<u8>,
    number: u64,
    unknown: u64,
}

impl<'a> Reader<'a> {
    /// Opens a recording. `file` is its name in errors.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, is not a recording, or has a newer version.
    pub fn new(file: impl Into<String>, input: impl BufRead + 'a) -> Result<Self, ReadError> {
        let file = file.into();
        let mut input =
            decompressed(input).map_err(|source| ReadError::Read { file: file.clone(), source })?;
        let mut line = Vec::new();
        let header = read_header(&file, &mut input, &mut line)?;
        Ok(Self { file, input, header, ending: None, line, number: 1, unknown: 0 })
    }

    /// The name of the recording in errors.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The end of the recording, known after the last event.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// The number of events that were skipped because their kind is unknown.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Returns the next event, or `None` after the last one.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, or a line is invalid.
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

    /// Returns the next event. After an error, the iterator ends.
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

/// Returns the decompressed input. Input that begins with the magic number of zstd is decompressed (RFC 8878, section
/// 3.1.1).
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
        // Other files may have long lines. The beginning is enough to classify them.
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

/// The beginning of each recording.
const BEGINNING: &[u8] = b"{\"compat_recording\":";

/// The end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    /// A newline.
    Newline,
    /// The end of the input.
    Input,
    /// The premature end of compressed input.
    Cut,
}

/// Classifies a file by its first line.
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

/// Whether a line begins with a date and time in the format of Go's log: `2024/11/08 10:46:19 `.
pub(super) fn is_stamped(line: &[u8]) -> bool {
    const SHAPE: &[u8] = b"0000/00/00 00:00:00 ";
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    line.len() >= SHAPE.len() && line.iter().zip(SHAPE).all(fits)
}

/// Reads a line without its terminator, and returns the kind of its end.
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
    /// An event of an unknown kind.
    Unknown,
}

/// Parses a line after the header. Events are tried first, because almost all lines are events.
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
