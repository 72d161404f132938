//! Recording: a command in a mirror, and a log of what it touched.
//!
//! The mirror notifies the `recorder` of each request before the caller gets its answer; the recorder adds
//! the time and the process and hands it to the log's thread, in order. A full queue makes callers wait:
//! nothing is dropped.

mod bounded;
mod execution;
mod log;
pub mod out;
mod process;
pub mod rank;
mod recorder;
mod refusal;
mod service;
mod trusted_path;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::enter::{self, ExternalPlace, LeadSocket, Outcome, Ready, Task};
use compat_trace::{Format, Header, Name, VERSION};
use out::Out;
pub use recorder::Selection;
pub use refusal::Refusal;
use service::RecordingService;

/// Options of a recorded run.
#[derive(Debug)]
pub struct Options {
    /// The program and its arguments, or waiting for others to enter.
    pub task: Task,
    /// Where it runs; the current directory otherwise.
    pub directory: Option<PathBuf>,
    /// Whether the mirror cannot be written to.
    pub read_only: bool,
    /// Whether all bytes that are read and written are counted, at the cost of time.
    pub counts_bytes: bool,
    /// Where others reach the mirror.
    pub place: ExternalPlace,
    /// The rank of a parallel job whose command it is.
    pub rank: Option<u32>,
    /// The log; it is replaced when the run begins.
    pub out: PathBuf,
    /// The format of the log.
    pub format: Format,
    /// Which paths are recorded.
    pub selection: Selection,
}

/// How a recorded run ended.
#[derive(Debug)]
pub struct Recorded {
    /// How the command ended.
    pub outcome: Outcome,
    /// The log, also where something else is found by its name now.
    pub log: File,
    /// Why the log is not whole, where it could not be written to its end.
    pub unwritten: Option<io::Error>,
}

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log could not be opened.
    #[error("could not write {}", path.display())]
    Log {
        /// The path of the log.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The mirror could not be made or entered.
    #[error(transparent)]
    Enter(#[from] enter::Error),
}

impl Error {
    /// A hint for the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            // Its writer is a thread.
            Self::Log { source, .. } if source.raw_os_error() == Some(libc::EAGAIN) => {
                Some(enter::too_few_processes())
            }
            Self::Log { source, .. } => Refusal::of(source).map(|refusal| refusal.hint().to_owned()),
            Self::Enter(error) => error.hint(),
        }
    }
}

/// News of a run while it lasts.
#[derive(Debug)]
pub enum News<'a> {
    /// The mirror waits to be entered.
    Ready(&'a Ready<'a>),
    /// These processes came from outside and are still in the mirror; they are asked to end.
    StillInside(&'a [u32]),
    /// Only so many of a node's ranks have come.
    RanksMissing {
        /// How many came, the lead included.
        came: u32,
        /// How many the node has.
        expected: u32,
    },
    /// So many processes or threads could not be started, because there may be only `most`.
    ProcessesRefused {
        /// How many were refused during the run.
        refused: u64,
        /// How many the control group allows.
        most: u64,
    },
}

/// Runs the command in a mirror of the root and writes what it touched; so do the ranks that come to the
/// socket. `tell` is called from this process.
///
/// # Errors
///
/// If the log or the mirror cannot be made; nothing was run then, no log is left, and an older one or what
/// is no file stays as it was.
pub fn record(
    options: &Options,
    socket: Option<LeadSocket>,
    tell: &mut dyn FnMut(&News<'_>),
) -> Result<Recorded, Error> {
    let failed = |source| Error::Log { path: options.out.clone(), source };
    let (out, log) = Out::open(&options.out).map_err(failed)?;
    let kept = log.try_clone().map_err(failed)?;
    let entering = enter::Options {
        task: options.task.clone(),
        directory: options.directory.clone(),
        read_only: options.read_only,
        place: options.place.clone(),
    };
    let (told, unwritten) = io::pipe().map_err(failed)?;
    let before = enter::ProcessLimit::here();
    let mut service = RecordingService::new(&out, log, unwritten, options, header(options), tell);
    let outcome = enter::run(&entering, socket, &mut service);
    drop(service);
    if let (Ok(_), Some(before), Some(after)) = (&outcome, before, enter::ProcessLimit::here())
        && after.refused > before.refused
    {
        tell(&News::ProcessesRefused { refused: after.refused - before.refused, most: after.most });
    }
    if outcome.as_ref().is_err_and(|error| !matches!(error, enter::Error::MountLeft { .. })) {
        out.take_back();
    }
    let outcome = outcome.map_err(|error| match error {
        enter::Error::Begin(source) => failed(source),
        other => other.into(),
    });
    Ok(Recorded { outcome: outcome?, log: kept, unwritten: read_error(told) })
}

/// The error that the server reported, if it did; it has ended. Others that were started meanwhile may still have
/// the other end, so the end of the pipe is not waited for.
fn read_error(mut told: PipeReader) -> Option<io::Error> {
    rustix::io::ioctl_fionbio(&told, true).ok()?;
    let mut number = [0; 4];
    told.read_exact(&mut number).ok()?;
    Some(io::Error::from_raw_os_error(i32::from_ne_bytes(number)))
}

fn header(options: &Options) -> Header {
    let system = rustix::system::uname();
    let directory = options.directory.as_deref().unwrap_or(Path::new("."));
    let directory = std::path::absolute(directory).unwrap_or_default();
    let command: &[OsString] = match &options.task {
        Task::Command(command) => command,
        Task::Wait => &[],
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Header {
        compat_recording: VERSION,
        command: command.iter().map(|argument| Name::from(argument.as_bytes())).collect(),
        directory: Name::from(directory.as_os_str().as_bytes()),
        host: system.nodename().to_string_lossy().into_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        image: IMAGE_VARIABLES.iter().find_map(|name| std::env::var(name).ok()),
        started: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
    }
}

/// The variables in which container runtimes name the image; `COMPAT_IMAGE` is for whoever starts one
/// that names none.
const IMAGE_VARIABLES: &[&str] = &["COMPAT_IMAGE", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_a_thread_to_write_it_names_the_limit() {
        let source = io::Error::from_raw_os_error(libc::EAGAIN);
        let error = Error::Log { path: "run.jsonl".into(), source };
        assert!(error.hint().is_some_and(|hint| hint.contains("`--pids-limit`")));
    }
}
