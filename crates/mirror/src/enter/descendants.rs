//! The command and its descendants, as their supervisor sees them.

use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getsid, kill_process, set_child_subreaper, wait, waitpid,
};

use super::end_request::{ENDING, EndRequest};
use super::{job_control, namespace_processes};
use compat_sys::{Received, SignalSet};

/// The signals that stop a job, and the signal that continues it.
const STOPPING: [i32; 4] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT];

/// The signals that the supervisor waits for. They are meant for the command or report a change of it.
pub(super) fn signals() -> SignalSet {
    let others = [libc::SIGCHLD, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];
    SignalSet::of(&[&ENDING[..], &others, &STOPPING].concat())
}

/// Returns a pending signal, or `None` if no signal is pending or the check fails.
fn pending() -> Option<Received> {
    compat_sys::wait_for(&signals(), Duration::ZERO).ok().flatten()
}

/// The relevant children of this process.
pub(super) struct Descendants {
    pub command: Pid,
    /// The server of the mirror while it runs. A rank that joined has none.
    pub server: Option<Pid>,
    /// The children that this process had before the run.
    earlier: Vec<Pid>,
    /// The exit code of the command, once it has ended.
    pub code: Option<i32>,
    /// Whether the command only waits for others and handles no signal.
    pub waits: bool,
    request: EndRequest,
    /// The signal with which a terminal stopped the whole job, until the job continues.
    job_stopped: Option<i32>,
    /// Whether SIGCONT came since the command was last seen to stop.
    let_go_on: bool,
}

/// Makes this process the parent of all orphaned descendants (a subreaper). Returns the existing children.
///
/// # Errors
///
/// Those of prctl(2).
pub(super) fn adopt() -> Result<Vec<Pid>, std::io::Error> {
    set_child_subreaper(Some(getpid()))?;
    Ok(namespace_processes::children())
}

impl Descendants {
    /// A command that was just started.
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

    /// Processes children that ended or stopped. Returns whether the command ended and left no process behind.
    pub(super) fn reap(&mut self) -> bool {
        self.reap_all();
        self.code.is_some() && self.nothing_left()
    }

    /// Processes children that ended or stopped.
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
            // While it was alive, the command may have handled the pending signals.
            while let Some(received) = pending() {
                self.request.take(received, self.waits);
            }
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            self.code = status.exit_status().or(signal);
        }
    }

    /// Stops this process like the command, for the shell that watches it. SIGCONT is passed on.
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

    /// Whether the server has ended. Does not wait for it.
    pub(super) fn server_ended(&mut self) -> bool {
        if let Some(server) = self.server
            && !matches!(waitpid(Some(server), WaitOptions::NOHANG), Ok(None))
        {
            self.server = None;
        }
        self.server.is_none()
    }

    /// Waits for the server. Returns whether it exited successfully.
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

    /// Handles a signal. A signal that a process sent to this one is meant for the command. The command receives the
    /// signals of a terminal itself, except for SIGHUP, which the kernel sends only to the session leader.
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

    /// Whether a signal can be ignored while there is no command yet.
    pub(super) fn is_harmless(&self, signal: i32) -> bool {
        signal == libc::SIGCHLD || STOPPING.contains(&signal) || self.request.ignores(signal)
    }

    /// Whether a request to terminate the run was received.
    pub(super) fn is_asked_to_end(&self) -> bool {
        self.request.is_for_end(self.code)
    }

    /// Kills the command and its descendants, and waits until they are gone.
    pub(super) fn end(&mut self) {
        let deadline = Instant::now() + namespace_processes::PATIENCE;
        while !self.reap() && Instant::now() < deadline {
            let spared: Vec<Pid> = self.earlier.iter().copied().chain(self.server).collect();
            namespace_processes::end_children(&spared);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills the processes that the command left behind if a request to terminate was received. Otherwise they are
    /// waited for.
    pub(super) fn end_leftovers(&self) {
        if self.code.is_some() && self.is_asked_to_end() {
            let spared: Vec<Pid> = self.earlier.iter().copied().chain(self.server).collect();
            namespace_processes::end_children(&spared);
        }
    }
}
