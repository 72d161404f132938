//! The command and what descends from it, as their supervisor sees them.

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait, waitpid,
};

use super::inside;
use crate::sys::SignalSet;

/// The signals that ask for an end.
const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// The signals that are waited for: they are the command's business, or tell of it.
pub fn signals() -> SignalSet {
    let others = [libc::SIGCHLD, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];
    let stopping = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    SignalSet::of(&[&ENDING[..], &others, &stopping].concat())
}

/// The children of this process that matter.
pub struct Family {
    pub command: Pid,
    /// The mirror's server, while it lives; a rank that joined has none.
    pub server: Option<Pid>,
    /// Children that this process had before.
    earlier: Vec<Pid>,
    /// The command's exit code, when it has ended.
    pub code: Option<i32>,
    /// Whether somebody has asked this process to end.
    pub asked_to_end: bool,
}

/// From here on this process is the parent of all that its children leave behind; tells the children that
/// it has already.
///
/// # Errors
///
/// Those of prctl(2).
pub fn adopt() -> Result<Vec<Pid>, std::io::Error> {
    set_child_subreaper(Some(getpid()))?;
    Ok(inside::children())
}

impl Family {
    /// A command that has just been started.
    pub fn new(command: Pid, server: Option<Pid>, earlier: Vec<Pid>) -> Self {
        Self { command, server, earlier, code: None, asked_to_end: false }
    }

    /// Takes in what has ended or stopped; tells whether the command has ended and left nothing.
    pub fn reap(&mut self) -> bool {
        self.reap_all();
        self.code.is_some() && self.nothing_left()
    }

    /// Takes in what has ended or stopped.
    pub fn reap_all(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            self.take_in(pid, status);
        }
    }

    fn take_in(&mut self, pid: Pid, status: WaitStatus) {
        if self.server == Some(pid) && !status.stopped() {
            self.server = None;
        } else if pid == self.command && status.stopped() {
            // Whoever watches this process sees it stop as the command does, and lets both go on.
            let _ = kill_process(getpid(), Signal::STOP);
            let _ = kill_process(self.command, Signal::CONT);
        } else if pid == self.command {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            self.code = status.exit_status().or(signal);
        }
    }

    fn nothing_left(&self) -> bool {
        inside::children().iter().all(|pid| self.server == Some(*pid) || self.earlier.contains(pid))
    }

    /// Whether the server has ended; it is not waited for.
    pub fn server_ended(&mut self) -> bool {
        if let Some(server) = self.server
            && !matches!(waitpid(Some(server), WaitOptions::NOHANG), Ok(None))
        {
            self.server = None;
        }
        self.server.is_none()
    }

    /// Waits for the server, and tells whether it ended well.
    pub fn server_done(&mut self) -> bool {
        let Some(server) = self.server.take() else { return false };
        loop {
            match waitpid(Some(server), WaitOptions::empty()) {
                Ok(Some((_, status))) => return status.exit_status() == Some(0),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// A signal that somebody sent to this process is meant for the command. What that leaves behind
    /// when it has ended is waited for, unless an end was asked for.
    pub fn pass_on(&mut self, signal: i32) {
        let Some(named) = Signal::from_named_raw(signal) else { return };
        self.asked_to_end |= ENDING.contains(&signal);
        if self.code.is_none() && signal != libc::SIGCHLD {
            let _ = kill_process(self.command, named);
        }
    }

    /// Ends what the command has left behind, where an end was asked for.
    pub fn end_leftovers(&self) {
        if self.asked_to_end && self.code.is_some() {
            let spared: Vec<Pid> = self.earlier.iter().copied().chain(self.server).collect();
            inside::end_children(&spared);
        }
    }
}
