//! A share that runs as a child process of a suite.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::serve::{OPTIONS, READY};
use crate::{Counts, Options};

/// The time for which an orderly end is waited for.
const END: Duration = Duration::from_secs(5);

/// A share cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program does not start.
    #[error("cannot start the process of a share")]
    Process(#[from] io::Error),
    /// The options cannot be passed on, because a path is not UTF-8.
    #[error("cannot pass on the options of a share")]
    Options(#[from] serde_json::Error),
    /// The process has ended at once.
    #[error("the share did not start: {0}")]
    Ended(String),
}

/// A running share. Dropping it ends its process and unmounts it.
#[derive(Debug)]
pub struct SlowShare {
    child: Mutex<Child>,
    process: Pid,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    mountpoint: PathBuf,
}

impl SlowShare {
    /// Starts a share in a process of this program. Its `main` must call [`crate::serve_if_asked`]. The mount is
    /// ready when this returns.
    ///
    /// # Errors
    ///
    /// If the process does not start or cannot mount. The text has the reason.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        Self::start_with(std::env::current_exe()?.as_os_str(), options)
    }

    /// Starts a share in a process of another program that calls [`crate::serve_if_asked`], such as the
    /// `slow-share` of this package.
    ///
    /// # Errors
    ///
    /// See [`Self::start`].
    pub fn start_with(program: &OsStr, options: &Options) -> Result<Self, StartError> {
        let mut command = Command::new(program);
        command.env(OPTIONS, serde_json::to_string(options)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let mut pipes = (input, BufReader::new(output));
        let mut line = String::new();
        pipes.1.read_line(&mut line)?;
        let process = Pid::from_child(&child);
        let mountpoint = options.mountpoint.clone();
        let share = Self { child: Mutex::new(child), process, pipes: Mutex::new(pipes), mountpoint };
        if line.trim_end() == READY { Ok(share) } else { Err(StartError::Ended(line.trim_end().to_owned())) }
    }

    /// The directory in which the share is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The process that serves the share.
    pub fn pid(&self) -> Pid {
        self.process
    }

    /// The counters.
    ///
    /// # Panics
    ///
    /// If the share has ended.
    pub fn counters(&self) -> Counts {
        serde_json::from_str(&self.ask("get")).expect("a share answers with its counters")
    }

    /// Sets the counters to zero.
    ///
    /// # Panics
    ///
    /// If the share has ended.
    pub fn reset(&self) {
        self.ask("reset");
    }

    /// Changes the delay.
    ///
    /// # Panics
    ///
    /// If the share has ended.
    pub fn set_delay(&self, delay: Duration) {
        self.ask(&format!("delay {}", delay.as_secs_f64() * 1000.0));
    }

    /// Changes the limit of requests a second. 0 means without limit.
    ///
    /// # Panics
    ///
    /// If the share has ended.
    pub fn set_limit(&self, limit: f64) {
        self.ask(&format!("limit {limit}"));
    }

    /// Stops the process (`SIGSTOP`): requests wait, and commands too, until [`Self::resume`].
    ///
    /// # Panics
    ///
    /// If the share has ended.
    pub fn pause(&self) {
        kill_process(self.process, Signal::STOP).expect("the share runs");
    }

    /// Continues a stopped process.
    ///
    /// # Panics
    ///
    /// If the share has ended.
    pub fn resume(&self) {
        kill_process(self.process, Signal::CONT).expect("the share runs");
    }

    /// Ends the process and unmounts the share. Processes that still use it get `ENOTCONN`.
    pub fn stop(self) {}

    fn ask(&self, command: &str) -> String {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.0, "{command}").expect("the share runs");
        let mut answer = String::new();
        pipes.1.read_line(&mut answer).expect("the share runs");
        assert!(!answer.is_empty(), "the share has ended");
        answer
    }

    /// Whether the process ends by itself in time.
    fn ends(child: &mut Child) -> bool {
        let limit = Instant::now() + END;
        while Instant::now() < limit {
            if !matches!(child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }
}

impl Drop for SlowShare {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if matches!(child.try_wait(), Ok(None)) {
            let _ = kill_process(self.process, Signal::CONT);
            let _ = kill_process(self.process, Signal::TERM);
            if !Self::ends(child) {
                let _ = child.kill();
            }
        }
        if child.wait().is_ok_and(|status| !status.success()) {
            // The process was killed, and its mount is still there.
            let _ = rustix::mount::unmount(&self.mountpoint, UnmountFlags::DETACH);
        }
    }
}
