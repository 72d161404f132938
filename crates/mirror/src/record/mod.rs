//! Records a command: runs it in a mirror, and writes a log of the files that it touches.
//!
//! The mirror notifies the `recorder` of each request before the caller receives its reply. The recorder adds the time
//! and the process, and passes the event to the log's thread in order. If the queue is full, callers wait. No event is
//! dropped.

mod bounded;
mod execution;
mod log;
pub mod out;
mod process;
pub mod rank;
mod recorder;
mod refusal;
pub(crate) mod served;
mod service;
mod trusted_path;

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::enter::{self, ExternalPlace, LeadSocket, Outcome, Ready, Task};
use compat_trace::{Format, Header, Name, VERSION};
use out::Out;
pub use recorder::Selection;
pub use refusal::Refusal;
pub(crate) use service::RecordingService;

/// Options of a recorded run.
#[derive(Debug)]
pub struct Options {
    /// The program and its arguments, or waiting for others to enter.
    pub task: Task,
    /// The working directory. The default is the current directory.
    pub directory: Option<PathBuf>,
    /// Whether the mirror is read-only.
    pub read_only: bool,
    /// Whether all bytes that are read and written are counted, at the cost of speed.
    pub counts_bytes: bool,
    /// The place at which other processes reach the mirror.
    pub place: ExternalPlace,
    /// The rank of the command in a parallel job.
    pub rank: Option<u32>,
    /// The path of the log. An older file is replaced when the run begins.
    pub out: PathBuf,
    /// The format of the log.
    pub format: Format,
    /// The paths to record.
    pub selection: Selection,
}

/// The result of a recorded run.
#[derive(Debug)]
pub struct Recorded {
    /// The end of the command.
    pub outcome: Outcome,
    /// The log, even if its path now leads to another file.
    pub log: File,
    /// The error that left the log incomplete, if any.
    pub unwritten: Option<io::Error>,
}

/// The reason for not recording anything.
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
    /// The mirror could not be created or entered.
    #[error(transparent)]
    Enter(#[from] enter::Error),
}

impl Error {
    /// Returns a hint for the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            // The log is written by a thread.
            Self::Log { source, .. } if source.raw_os_error() == Some(libc::EAGAIN) => {
                Some(enter::too_few_processes())
            }
            Self::Log { source, .. } => Refusal::of(source).map(|refusal| refusal.hint().to_owned()),
            Self::Enter(error) => error.hint(),
        }
    }
}

/// Messages during a run.
#[derive(Debug)]
pub enum News<'a> {
    /// The mirror can be entered.
    Ready(&'a Ready<'a>),
    /// These processes came from outside and are still in the mirror. They receive SIGTERM.
    StillInside(&'a [u32]),
    /// Some ranks of the node did not come.
    RanksMissing {
        /// The number of ranks that came, including the lead.
        came: u32,
        /// The number of ranks of the node.
        expected: u32,
    },
    /// Processes or threads could not be started, because the limit is `most`.
    ProcessesRefused {
        /// The number of refusals during the run.
        refused: u64,
        /// The limit of the control group.
        most: u64,
    },
}

/// Runs the command in a mirror of the root and writes a log of the files that it touches. The ranks that connect to
/// the socket are recorded, too. `tell` is called in this process.
///
/// # Errors
///
/// If the log or the mirror cannot be created. In this case no command was run, no new log is left, and an existing
/// file is unchanged.
pub fn record(
    options: &Options,
    socket: Option<LeadSocket>,
    tell: &mut dyn FnMut(&News<'_>),
) -> Result<Recorded, Error> {
    let opened = OpenLog::new(options)?;
    let entering = enter::Options {
        task: options.task.clone(),
        mirrored: enter::Mirrored::Everything,
        directory: options.directory.clone(),
        read_only: options.read_only,
        place: options.place.clone(),
    };
    let before = enter::ProcessLimit::here();
    let mut service = opened.service(tell)?;
    let outcome = enter::run(&entering, socket, &mut service);
    drop(service);
    if let (Ok(_), Some(before), Some(after)) = (&outcome, before, enter::ProcessLimit::here())
        && after.refused > before.refused
    {
        tell(&News::ProcessesRefused { refused: after.refused - before.refused, most: after.most });
    }
    opened.finish(outcome)
}

/// A log that was opened for a run.
pub(crate) struct OpenLog<'a> {
    options: &'a Options,
    out: Out,
    log: File,
    /// The pipe through which the server reports a failed log.
    received: PipeReader,
    unwritten: PipeWriter,
}

impl<'a> OpenLog<'a> {
    /// Opens the log. An existing file is unchanged until the run begins.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub(crate) fn new(options: &'a Options) -> Result<Self, Error> {
        let failed = |source| Error::Log { path: options.out.clone(), source };
        let (out, log) = Out::open(&options.out).map_err(failed)?;
        let (received, unwritten) = io::pipe().map_err(failed)?;
        Ok(Self { options, out, log, received, unwritten })
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Log { path: self.options.out.clone(), source }
    }

    /// Returns the service that writes the log.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub(crate) fn service<'b>(
        &'b self,
        tell: &'b mut dyn FnMut(&News<'_>),
    ) -> Result<RecordingService<'b>, Error> {
        let log = self.log.try_clone().map_err(|source| self.failed(source))?;
        let unwritten = self.unwritten.try_clone().map_err(|source| self.failed(source))?;
        Ok(RecordingService::new(&self.out, log, unwritten, self.options, header(self.options), tell))
    }

    /// Returns the result of a run. If no command was run, no new log is left.
    ///
    /// # Errors
    ///
    /// If the mirror could not be created, or the log could not be begun.
    pub(crate) fn finish(self, outcome: Result<Outcome, enter::Error>) -> Result<Recorded, Error> {
        if outcome.as_ref().is_err_and(|error| !matches!(error, enter::Error::MountLeft { .. })) {
            self.out.take_back();
        }
        let outcome = outcome.map_err(|error| match error {
            enter::Error::Begin(source) => self.failed(source),
            other => other.into(),
        });
        Ok(Recorded { outcome: outcome?, log: self.log, unwritten: read_error(self.received) })
    }
}

/// Returns the error that the server reported before it ended, if any. Other child processes may still hold the other
/// end of the pipe, so its end is not waited for.
fn read_error(mut received: PipeReader) -> Option<io::Error> {
    rustix::io::ioctl_fionbio(&received, true).ok()?;
    let mut number = [0; 4];
    received.read_exact(&mut number).ok()?;
    Some(io::Error::from_raw_os_error(i32::from_ne_bytes(number)))
}

fn header(options: &Options) -> Header {
    let system = rustix::system::uname();
    let directory = options.directory.as_deref().unwrap_or(Path::new("."));
    let directory = std::path::absolute(directory).unwrap_or_default();
    let command = options.task.command();
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

/// The variables in which container runtimes name the image. `COMPAT_IMAGE` is for runtimes that do not.
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
