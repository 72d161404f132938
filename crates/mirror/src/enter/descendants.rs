//! The command and what descends from it, as their supervisor sees them.

use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getsid, kill_process, set_child_subreaper, wait, waitpid,
};

use super::end_request::{ENDING, EndRequest};
use super::{job_control, namespace_processes};
use compat_sys::{Received, SignalSet};

/// The signals that stop a job, and the one that lets it go on.
const STOPPING: [i32; 4] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT];

/// The signals that are waited for: they are the command's business, or report it.
pub(super) fn signals() -> SignalSet {
    let others = [libc::SIGCHLD, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];
    SignalSet::of(&[&ENDING[..], &others, &STOPPING].concat())
}

/// A signal that has come already; what cannot be asked for has not.
fn pending() -> Option<Received> {
    compat_sys::wait_for(&signals(), Duration::ZERO).ok().flatten()
}

/// The children of this process that matter.
pub(super) struct Descendants {
    pub command: Pid,
    /// The mirror's server, while it lives; a rank that joined has none.
    pub server: Option<Pid>,
    /// Children that this process had before.
    earlier: Vec<Pid>,
    /// The command's exit code, when it has ended.
    pub code: Option<i32>,
    /// Whether it only waits for others, and handles no signal.
    pub waits: bool,
    request: EndRequest,
    /// The signal by which a terminal has stopped all of the job, until it goes on.
    job_stopped: Option<i32>,
    /// Whether the command was let go on since it was last seen to stop.
    let_go_on: bool,
}

/// From here on this process is the parent of all that its children leave behind; tells the children that
/// it has already.
///
/// # Errors
///
/// Those of prctl(2).
pub(super) fn adopt() -> Result<Vec<Pid>, std::io::Error> {
    set_child_subreaper(Some(getpid()))?;
    Ok(namespace_processes::children())
}

impl Descendants {
    /// A command that has just been started.
    pub(super) fn new(command: Pid, server: Option<Pid>, earlier: Vec<Pid>) -> Self {
        Self {
            command,
            server,
            earlier,
            code: None,
            waits: false,
            request: EndRequest::new(),
            job_stopped: None,
            let_go_on: false,
        }
    }

    /// Takes in what has ended or stopped; returns whether the command has ended and left nothing.
    pub(super) fn reap(&mut self) -> bool {
        self.reap_all();
        self.code.is_some() && self.nothing_left()
    }

    /// Takes in what has ended or stopped.
    fn reap_all(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            self.take_in(pid, status);
        }
    }

    fn take_in(&mut self, pid: Pid, status: WaitStatus) {
        if self.server == Some(pid) && !status.stopped() {
            self.server = None;
        } else if let Some(signal) = status.stopping_signal() {
            if pid == self.command {
                self.stop_with(signal);
            }
        } else if pid == self.command {
            // It may have handled those that came while it lived.
            while let Some(received) = pending() {
                self.request.take(received, self.waits);
            }
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            self.code = status.exit_status().or(signal);
        }
    }

    /// Stops this process as the command has stopped, for a shell that watches it. The signal to go on is passed on.
    fn stop_with(&mut self, signal: i32) {
        self.let_go_on = false;
        while let Some(received) = pending() {
            self.take(received);
        }
        let whole_job = self.job_stopped == Some(signal);
        if !self.let_go_on && job_control::stops(whole_job) {
            self.job_stopped = None;
            let _ = kill_process(getpid(), Signal::STOP);
        }
    }

    fn nothing_left(&self) -> bool {
        namespace_processes::children()
            .iter()
            .all(|pid| self.server == Some(*pid) || self.earlier.contains(pid))
    }

    /// Whether the server has ended; it is not waited for.
    pub(super) fn server_ended(&mut self) -> bool {
        if let Some(server) = self.server
            && !matches!(waitpid(Some(server), WaitOptions::NOHANG), Ok(None))
        {
            self.server = None;
        }
        self.server.is_none()
    }

    /// Waits for the server, and returns whether it ended well.
    pub(super) fn server_done(&mut self) -> bool {
        let Some(server) = self.server.take() else { return false };
        loop {
            match waitpid(Some(server), WaitOptions::empty()) {
                Ok(Some((_, status))) => return status.exit_status() == Some(0),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// A signal has come. One that somebody sent to this process is meant for the command; the kernel's, on
    /// behalf of a terminal, the command gets itself, but for the hang-up, which only the session's leader gets.
    pub(super) fn take(&mut self, received: Received) {
        let Received { signal, sent } = received;
        let sent = sent || (signal == libc::SIGHUP && getsid(None) == Ok(getpid()));
        let Some(named) = Signal::from_named_raw(signal) else { return };
        self.request.take(received, self.waits || self.code.is_some());
        if signal == libc::SIGCONT {
            (self.job_stopped, self.let_go_on) = (None, true);
        } else if STOPPING.contains(&signal) && !sent {
            self.job_stopped = Some(signal);
        }
        if self.code.is_none() && signal != libc::SIGCHLD && sent {
            let _ = kill_process(self.command, named);
        }
    }

    /// Whether this signal, coming before there is a command, leaves things as they are.
    pub(super) fn is_harmless(&self, signal: i32) -> bool {
        signal == libc::SIGCHLD || STOPPING.contains(&signal) || self.request.ignores(signal)
    }

    /// Whether the end of the run is asked for.
    pub(super) fn is_asked_to_end(&self) -> bool {
        self.request.is_for_end(self.code)
    }

    /// Kills the command and what descends from it, and waits until all is gone.
    pub(super) fn end(&mut self) {
        let deadline = Instant::now() + namespace_processes::PATIENCE;
        while !self.reap() && Instant::now() < deadline {
            let spared: Vec<Pid> = self.earlier.iter().copied().chain(self.server).collect();
            namespace_processes::end_children(&spared);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends what the command has left behind, where an end was asked for; it is waited for otherwise.
    pub(super) fn end_leftovers(&self) {
        if self.code.is_some() && self.is_asked_to_end() {
            let spared: Vec<Pid> = self.earlier.iter().copied().chain(self.server).collect();
            namespace_processes::end_children(&spared);
        }
    }
}
