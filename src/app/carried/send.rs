//! Recordings as layers. Each can be a pipe, so it is read once: it is checked while it is compressed.

use std::collections::HashSet;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::{COMPRESSED, PLAIN};
use crate::app::{Failure, recording};
use compat_oci::artifact::Recording;
use compat_oci::{Error, limit};
use compat_trace::{ReadError, Reader};

/// The compression level of zstd. The lines of a recording have some hundred bytes each and are much alike.
const COMPRESSION_LEVEL: i32 = 9;

/// The first bytes of a zstd file (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The number of bytes that are read at once.
const BLOCK: usize = 1 << 17;

/// Reads recordings, or standard input for `-`, as layers of an artifact. `specification` is the file of its
/// specification.
///
/// # Errors
///
/// If one cannot be read or is not a recording, if together they exceed the limit for one push, if two have the
/// same name, or if standard input is named twice.
pub fn read(paths: &[PathBuf], specification: &Path) -> Result<Vec<Recording>, Failure> {
    let all = paths.iter().map(PathBuf::as_path).chain([specification]);
    if all.filter(|path| *path == Path::new("-")).count() > 1 {
        let message = "standard input is named twice, but can only be one recording or the specification";
        return Err(Failure::usage(message).with_hint("write one of them to a file".to_owned()));
    }
    let mut titles = HashSet::new();
    let mut recordings: Vec<Recording> = Vec::new();
    let mut room = limit::RECORDINGS;
    for (number, path) in paths.iter().enumerate() {
        let recording = Recording { title: title(path, number), content: content(path, room)?.into() };
        if !titles.insert(recording.title.clone()) {
            let message = format!("{} has the name of another recording of this artifact", path.display());
            return Err(Failure::usage(message).with_hint("rename one of the files".to_owned()));
        }
        room = room.saturating_sub(recording.content.len() as u64);
        recordings.push(recording);
    }
    Ok(recordings)
}

/// Returns a recording, compressed. `room` is its maximum size, in bytes.
fn content(path: &Path, room: u64) -> Result<Vec<u8>, Failure> {
    let file = recording::name(path);
    let failed = |source| recording::failure(&ReadError::Read { file: file.clone(), source });
    let mut input = recording::input(path)?;
    let mut start = Vec::new();
    input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    let copy = Copy::new(start == MAGIC, room).map_err(failed)?;
    let mut passing = Passing { input: io::Cursor::new(start).chain(input), copy };
    let outcome = pass(&file, &mut passing);
    let ended = passing.copy.end();
    if passing.copy.is_full() {
        let what = if room < limit::RECORDINGS { "the sum of the recordings".to_owned() } else { file };
        return Err(Failure::from(&Error::TooLarge { what, limit: limit::RECORDINGS }));
    }
    outcome.map_err(|error| recording::failure(&error))?;
    ended.map_err(failed)?;
    Ok(passing.copy.into_bytes())
}

/// Reads a recording to its end, and the rest of the input after it.
fn pass<R: Read>(file: &str, passing: &mut Passing<R>) -> Result<(), ReadError> {
    let mut reader = Reader::new(file, BufReader::with_capacity(BLOCK, &mut *passing))?;
    while reader.read_event()?.is_some() {}
    drop(reader);
    let rest = io::copy(passing, &mut io::sink());
    rest.map(drop).map_err(|source| ReadError::Read { file: file.to_owned(), source })
}

/// An input that is copied as it is read.
struct Passing<R> {
    input: R,
    copy: Copy,
}

impl<R: Read> Read for Passing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.copy.writer().write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// The copy. A compressed input is copied unchanged, and any other input is compressed.
enum Copy {
    Whole(Bounded),
    Packed(zstd::stream::write::Encoder<'static, Bounded>),
}

impl Copy {
    fn new(is_compressed: bool, room: u64) -> io::Result<Self> {
        let bounded = Bounded { bytes: Vec::new(), room, is_full: false };
        if is_compressed {
            return Ok(Self::Whole(bounded));
        }
        Ok(Self::Packed(zstd::stream::write::Encoder::new(bounded, COMPRESSION_LEVEL)?))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Packed(encoder) => encoder,
        }
    }

    fn is_full(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_full,
            Self::Packed(encoder) => encoder.get_ref().is_full,
        }
    }

    /// Completes the copy.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Whole(_) => Ok(()),
            Self::Packed(encoder) => encoder.do_finish(),
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Whole(bytes) => bytes.bytes,
            Self::Packed(mut encoder) => std::mem::take(&mut encoder.get_mut().bytes),
        }
    }
}

/// Bytes in memory, up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    room: u64,
    is_full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.room {
            self.is_full = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the name of a recording in the artifact: the name of its file. An input that is not a file (a pipe)
/// gets a number.
fn title(path: &Path, number: usize) -> String {
    if path == Path::new("-") || !path.is_file() {
        return format!("recording-{}{COMPRESSED}", number + 1);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".zst").unwrap_or(&name);
    format!("{}{COMPRESSED}", stem.strip_suffix(PLAIN).unwrap_or(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "{\"compat_recording\":1,\"command\":[\"a\"],\"folder\":\"/\",\"host\":\"h\",\"kernel\":\"6\",\"started\":1}\n";

    fn read(paths: &[PathBuf]) -> Result<Vec<Recording>, Failure> {
        super::read(paths, Path::new("compat.json"))
    }

    #[test]
    fn a_recording_is_compressed_and_a_compressed_one_taken_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let plain = read(&[file("run.jsonl", RUN.as_bytes())]).unwrap().remove(0);
        assert_eq!(plain.title, "run.jsonl.zst");
        assert_eq!(zstd::decode_all(&plain.content[..]).unwrap(), RUN.as_bytes());
        let compressed = zstd::encode_all(RUN.as_bytes(), 19).unwrap();
        let packed = read(&[file("old.zst", &compressed)]).unwrap().remove(0);
        assert_eq!((packed.title.as_str(), &packed.content[..]), ("old.jsonl.zst", &compressed[..]));
        assert_eq!(read(&[file("log", RUN.as_bytes())]).unwrap()[0].title, "log.jsonl.zst");
    }

    #[test]
    fn a_pipe_is_read_once_and_is_what_the_file_would_be() {
        let directory = tempfile::tempdir().unwrap();
        let event = "{\"t\":1,\"event\":\"lookup\",\"path\":\"/a\",\"pid\":1,\"tid\":1,\"ppid\":1,\"exe\":\"/b\",\"uid\":0}\n";
        let text = format!("{RUN}{}{{\"end\":\"exited\",\"code\":0}}\n", event.repeat(20_000));
        let (file, pipe) = (directory.path().join("run.jsonl"), directory.path().join("pipe"));
        std::fs::write(&file, &text).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        let writer = std::thread::spawn({
            let (pipe, text) = (pipe.clone(), text.clone());
            move || {
                let mut pipe = std::fs::File::create(pipe).unwrap();
                text.as_bytes().chunks(777).for_each(|piece| pipe.write_all(piece).unwrap());
            }
        });
        let recordings = read(&[file, pipe]).unwrap();
        writer.join().unwrap();
        assert_eq!(recordings[1].title, "recording-2.jsonl.zst");
        assert_eq!(recordings[0].content, recordings[1].content);
        assert_eq!(zstd::decode_all(&recordings[1].content[..]).unwrap(), text.as_bytes());
    }

    #[test]
    fn what_is_no_recording_or_has_the_name_of_another_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.jsonl");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let message = read(std::slice::from_ref(&path)).unwrap_err().message;
            message.replace(&directory.path().display().to_string(), "")
        };
        insta::assert_snapshot!(refused("{\"version\":\"1.0.0\"}"), @"/run.jsonl is not a recording: its first line is not a recording header");
        insta::assert_snapshot!(refused("[\n"), @"/run.jsonl is not a recording: it is a trace for Perfetto's viewer; read the recording from which it was made");
        std::fs::write(&path, RUN).unwrap();
        let twice = read(&[path.clone(), path.clone()]).unwrap_err();
        assert!(twice.message.ends_with("/run.jsonl has the name of another recording of this artifact"));
        assert!(read(&[directory.path().join("none")]).is_err());
        let stdin = PathBuf::from("-");
        let twice = super::read(std::slice::from_ref(&stdin), &stdin).unwrap_err();
        insta::assert_snapshot!(twice.message, @"standard input is named twice, but can only be one recording or the specification");
    }

    #[test]
    fn what_is_larger_than_there_is_room_for_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.jsonl");
        let compressed = directory.path().join("run.zst");
        std::fs::write(&path, RUN).unwrap();
        std::fs::write(&compressed, zstd::encode_all(RUN.as_bytes(), 3).unwrap()).unwrap();
        for path in [path, compressed] {
            let length = content(&path, 1000).unwrap().len() as u64;
            assert!(content(&path, length).is_ok());
            let refused = content(&path, length - 1).unwrap_err();
            assert_eq!(refused.message, "the sum of the recordings is larger than 536870912 bytes");
        }
    }
}
