//! The destination of a written recording: a file or standard output, compressed or not.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::app::Failure;
use compat_mirror::record::out::Out;

/// The size of the output buffer, in bytes.
const BLOCK: usize = 1 << 17;

/// The compression level. A higher one costs time and gains little on these lines.
const LEVEL: i32 = 3;

/// A file or standard output, with buffer and compression.
pub(super) struct Sink {
    out: Form,
    path: Option<PathBuf>,
}

enum Form {
    Plain(BufWriter<Target>),
    Compressed(Box<zstd::stream::write::Encoder<'static, BufWriter<Target>>>),
}

enum Target {
    File(File),
    Stdout(io::Stdout),
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stdout(stdout) => stdout.flush(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Form::Plain(out) => out.write(bytes),
            Form::Compressed(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Form::Plain(out) => out.flush(),
            Form::Compressed(out) => out.flush(),
        }
    }
}

impl Sink {
    /// Opens a file and truncates it, or standard output if `path` is missing or `-`.
    ///
    /// # Errors
    ///
    /// If the file is one of the inputs, or cannot be opened.
    pub(super) fn open(path: Option<&Path>, compress: bool, inputs: &[PathBuf]) -> Result<Self, Failure> {
        let path = path.filter(|path| *path != Path::new("-"));
        let failed = |source| failure(path, source);
        let target = match path {
            None => Target::Stdout(io::stdout()),
            Some(path) => {
                refuse_input(path, inputs)?;
                // The output names private files, as the recording does.
                let (out, file) = Out::open(path).map_err(failed)?;
                out.begin(&file).map_err(failed)?;
                Target::File(file)
            }
        };
        let buffer = BufWriter::with_capacity(BLOCK, target);
        let out = if compress {
            let encoder = zstd::stream::write::Encoder::new(buffer, LEVEL).map_err(failed)?;
            Form::Compressed(Box::new(encoder))
        } else {
            Form::Plain(buffer)
        };
        Ok(Self { out, path: path.map(Path::to_owned) })
    }

    /// Calls `write` with the sink, then flushes it.
    ///
    /// # Errors
    ///
    /// Those of `write`, and if the output cannot be written. A closed pipe is not an error.
    pub(super) fn fill(mut self, write: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Failure> {
        let path = self.path.clone();
        let written = write(&mut self).and_then(|()| Ok(self.finish()?));
        match written {
            Err(Fault::Write(error)) if path.is_none() && error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(Fault::Write(error)) => Err(failure(path.as_deref(), error)),
            Err(Fault::Other(failure)) => Err(failure),
            Ok(()) => Ok(()),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self.out {
            Form::Plain(mut out) => out.flush(),
            Form::Compressed(out) => out.finish()?.flush(),
        }
    }
}

/// The reason for a failed write.
pub(super) enum Fault {
    Write(io::Error),
    Other(Failure),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// Refuses to overwrite a recording that is being read.
fn refuse_input(path: &Path, inputs: &[PathBuf]) -> Result<(), Failure> {
    let Ok(target) = path.canonicalize() else { return Ok(()) };
    let is_input = inputs.iter().any(|input| input.canonicalize().is_ok_and(|input| input == target));
    if is_input && target.is_file() {
        let message = format!("cannot write {}: it is also an input", path.display());
        return Err(Failure::usage(message).with_hint("write to another file".to_owned()));
    }
    Ok(())
}

fn failure(path: Option<&Path>, source: io::Error) -> Failure {
    let name = path.map_or("standard output".to_owned(), |path| path.display().to_string());
    let hint = crate::app::output::hint(&source).map(str::to_owned);
    Failure::undecided(&WriteError { name, source }).with_hint(hint)
}

#[derive(Debug, thiserror::Error)]
#[error("could not write {name}")]
struct WriteError {
    name: String,
    source: io::Error,
}

/// Writes bytes to standard output as they are.
///
/// # Errors
///
/// If the bytes cannot be written. A closed pipe is not an error.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    Sink::open(None, false, &[])?.fill(|sink| Ok(sink.write_all(bytes)?))
}
