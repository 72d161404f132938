//! Work for tests and benchmarks: generated programs that start as large applications do. The contents are the
//! same at each generation, and each program prints a checksum of its contents, which is known beforehand.
//!
//! The programs find their files beside themselves. A generated directory can therefore be copied, mounted
//! elsewhere or packed as an image.

mod library;
mod program;
mod python;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

pub use library::Libraries;
pub use program::Programs;
pub use python::Modules;

/// Work cannot be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be written.
    #[error("cannot write below {}", path.display())]
    File {
        /// The directory of the work.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A tool is not installed.
    #[error("cannot start {tool}")]
    Tool {
        /// The name of the tool.
        tool: String,
        /// The system's error.
        source: io::Error,
    },
    /// A tool reports an error.
    #[error("{tool} has failed: {output}")]
    Failed {
        /// The name of the tool.
        tool: String,
        /// Its output.
        output: String,
    },
}

/// Generated work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The program: absolute, or relative to the directory of the work.
    pub program: PathBuf,
    /// Its arguments. The last one is relative to the directory of the work.
    pub arguments: Vec<String>,
    /// The expected output.
    pub output: String,
    /// The regular files that a run reads.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The directories that a run searches or reads, with that of the work.
    pub directories: u64,
}

impl Work {
    /// Returns the command that does the work in a directory: the generated one, or a copy of it.
    pub fn command(&self, directory: &Path) -> Command {
        // `join` leaves an absolute path as it is.
        let mut command = Command::new(directory.join(&self.program));
        if let Some((last, options)) = self.arguments.split_last() {
            command.args(options).arg(directory.join(last));
        }
        command
    }
}

/// Returns an error for files below a directory.
fn at(directory: &Path) -> impl Fn(io::Error) -> Error {
    |source| Error::File { path: directory.to_path_buf(), source }
}

/// Runs a tool. Returns its standard output.
fn run(tool: &str, arguments: &[OsString]) -> Result<String, Error> {
    let error = |source| Error::Tool { tool: tool.to_owned(), source };
    let output = Command::new(tool).args(arguments).output().map_err(error)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Failed { tool: tool.to_owned(), output })
}

/// Calls a function for each number below `count`, on all processors. Returns the first error.
fn in_parallel<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let part = || -> Result<Vec<(usize, T)>, Error> {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(done);
            }
            done.push((number, work(number)?));
        }
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|_| scope.spawn(part)).collect();
        for part in parts {
            all.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(())
    })?;
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

/// Returns the number of bytes of a file.
fn length(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// Bytes that look random, half of them from 16 values: they compress about as well as code.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64*: the state must not be 0.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let word = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        bytes.extend(
            word.to_le_bytes().into_iter().enumerate().map(
                |(at, byte)| {
                    if at % 2 == 0 { byte } else { byte & 0x0f }
                },
            ),
        );
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_for_the_same_seed_only() {
        assert_eq!(noise(1, 1000), noise(1, 1000));
        assert_ne!(noise(1, 1000), noise(2, 1000));
        assert_eq!(noise(7, 13).len(), 13);
    }

    #[test]
    fn results_are_in_order_and_an_error_is_returned() {
        assert_eq!(in_parallel(100, Ok).expect("numbers"), (0..100).collect::<Vec<_>>());
        let failing = |number| if number == 7 { run("false", &[]) } else { Ok(String::new()) };
        assert!(matches!(in_parallel(20, failing), Err(Error::Failed { .. })));
    }
}
