//! The process that was called: starts the other two, passes signals on, waits for everything to end.

use std::io::{self, PipeReader, PipeWriter};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait, waitpid,
};

use super::control::{Message, Report};
use super::error::Error;
use super::namespace::Users;
use super::plan::Plan;
use super::{Mounted, Options, Outcome, Service, child, inside, server};
use crate::sys::{self, SignalSet};

/// What the three processes start from.
pub struct Start<'a> {
    pub options: &'a Options,
    pub folder: &'a Path,
    pub plan: &'a Plan,
    pub users: Users,
    pub volumes: Vec<Mounted>,
    /// The signals that the command is to have blocked.
    pub before: SignalSet,
}

/// The signals that ask for an end.
const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// The signals that are waited for: they are the command's business, or tell of it.
pub fn signals() -> SignalSet {
    let others = [libc::SIGCHLD, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];
    let stopping = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    SignalSet::of(&[&ENDING[..], &others, &stopping].concat())
}

/// Starts and waits.
///
/// # Errors
///
/// Where the mirror cannot be made; nothing was run then.
pub fn run(start: Start<'_>, service: &mut dyn Service) -> Result<Outcome, Error> {
    let failed = |source| Error::Process { doing: "start the mirror's processes", source };
    set_child_subreaper(Some(getpid())).map_err(|error| failed(error.into()))?;
    let earlier = inside::children();
    let (from_all, to_server) = io::pipe().map_err(failed)?;
    let (answer, to_command) = io::pipe().map_err(failed)?;
    let (from_command, report) = io::pipe().map_err(failed)?;
    let Some(server) = sys::fork().map_err(failed)? else {
        drop((to_server, answer, from_command, report));
        server::run(start.volumes, from_all, to_command, service);
    };
    drop((from_all, to_command));
    let supervisor = getpid();
    let Some(command) = sys::fork().map_err(failed)? else {
        drop(from_command);
        child::run(start, child::Pipes { server: to_server, answer, report }, supervisor);
    };
    drop((start.volumes, report, answer));
    let mut supervisor = Supervisor { server, command, earlier, to_server, code: None, asked_to_end: false };
    supervisor.supervise(from_command, service)
}

struct Supervisor {
    server: Pid,
    command: Pid,
    /// Children that this process had before.
    earlier: Vec<Pid>,
    to_server: PipeWriter,
    /// The command's exit code, when it has ended.
    code: Option<i32>,
    /// Whether somebody has asked this process to end.
    asked_to_end: bool,
}

impl Supervisor {
    fn supervise(&mut self, mut report: PipeReader, service: &mut dyn Service) -> Result<Outcome, Error> {
        let failed = |source| Error::Process { doing: "wait for the command", source };
        let reported = self.wait_for_report(&mut report)?;
        if reported.is_none() {
            let_go_of_streams();
        }
        let signals = signals();
        while !self.reap() {
            if self.server_ended() {
                inside::end_all(&[]);
                self.reap_all();
                service.server_killed();
                return Ok(Outcome::ServerKilled);
            }
            let received = sys::wait_for(&signals, Duration::from_secs(1)).map_err(failed)?;
            if let Some(received) = received.filter(|received| received.sent) {
                self.pass_on(received.signal);
            }
            if self.asked_to_end && self.code.is_some() {
                inside::end_all(&[self.server]);
            }
        }
        let outcome = self.outcome(reported);
        let code = match &outcome {
            Ok(Outcome::Ended(code) | Outcome::NotExecuted { code, .. }) => *code,
            Ok(Outcome::ServerKilled) | Err(_) => 1,
        };
        if Message::End(code).send(&mut self.to_server).is_err() || !self.server_done() {
            service.server_killed();
            return Ok(Outcome::ServerKilled);
        }
        outcome
    }

    /// Waits until the command is executed, or why it was not. A server that dies meanwhile would leave
    /// the command waiting for it.
    fn wait_for_report(&mut self, report: &mut PipeReader) -> Result<Option<Report>, Error> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let failed = |source| Error::Process { doing: "start the command", source };
        loop {
            let limit = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            let ready = poll(&mut [PollFd::new(&*report, PollFlags::IN)], Some(&limit));
            if ready.is_ok_and(|count| count > 0) {
                return Report::receive(report).map_err(failed);
            }
            if self.server_ended() {
                let _ = kill_process(self.command, Signal::KILL);
                return Report::receive(report).map_err(failed);
            }
            if let Some(received) = sys::wait_for(&signals(), Duration::ZERO).map_err(failed)?
                && received.signal != libc::SIGCHLD
            {
                let _ = kill_process(self.command, Signal::KILL);
            }
        }
    }

    fn outcome(&self, reported: Option<Report>) -> Result<Outcome, Error> {
        match reported {
            Some(Report::Failed(error)) => Err(error),
            Some(Report::NotExecuted(error)) => {
                let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
                Ok(Outcome::NotExecuted { code, error })
            }
            None => Ok(Outcome::Ended(self.code.unwrap_or(1))),
        }
    }

    /// Takes in what has ended or stopped; tells whether nothing is left inside.
    fn reap(&mut self) -> bool {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        loop {
            match wait(options) {
                Ok(Some((pid, status))) => self.take_in(pid, status),
                Ok(None) => return self.code.is_some() && self.nothing_left(),
                // Not even a server.
                Err(_) => return self.code.is_some() && self.server_ended_before(),
            }
            if self.server_ended_before() {
                return false;
            }
        }
    }

    fn take_in(&mut self, pid: Pid, status: WaitStatus) {
        if pid == self.server && !status.stopped() {
            self.server = GONE;
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
        let others = inside::children();
        others.iter().all(|pid| *pid == self.server || self.earlier.contains(pid))
    }

    fn server_ended_before(&self) -> bool {
        self.server == GONE
    }

    fn server_ended(&mut self) -> bool {
        if !self.server_ended_before() && !matches!(waitpid(Some(self.server), WaitOptions::NOHANG), Ok(None))
        {
            self.server = GONE;
        }
        self.server_ended_before()
    }

    fn reap_all(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            self.take_in(pid, status);
        }
    }

    /// Waits for the server to end well.
    fn server_done(&mut self) -> bool {
        if self.server_ended_before() {
            return false;
        }
        loop {
            match waitpid(Some(self.server), WaitOptions::empty()) {
                Ok(Some((_, status))) => return status.exit_status() == Some(0),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// A signal that somebody sent to this process is meant for the command. What that leaves behind
    /// when it has ended is waited for, unless an end was asked for.
    fn pass_on(&mut self, signal: i32) {
        let Some(named) = Signal::from_named_raw(signal) else { return };
        self.asked_to_end |= ENDING.contains(&signal);
        if self.code.is_none() && signal != libc::SIGCHLD {
            let _ = kill_process(self.command, named);
        }
    }
}

/// Stands for a process that has ended: the first one's number is never a child's.
const GONE: Pid = Pid::INIT;

/// Lets go of standard input and output, which are the command's: who reads its output sees the end when
/// the command has closed it.
pub fn let_go_of_streams() {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(null) = rustix::fs::open("/dev/null", flags, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
