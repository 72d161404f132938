//! The original process. It starts the other two, passes signals on, and waits for all processes.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};

use super::admission::Admission;
use super::control::{BEGUN, FailureReport, ServerMessage};
use super::descendants::{Descendants, adopt, signals};
use super::error::Error;
use super::external_mount::ExternalMount;
use super::figures_channel::{FiguresChannel, FiguresReply};
use super::listener::Listener;
use super::namespace_processes::{NamespaceProcesses, ask_to_end};
use super::rendezvous::LeadSocket;
use super::share::Share;
use super::start::{CommandPipes, ServerPipes, Start};
use super::streams::let_go_of_streams;
use super::{Outcome, Ready, Service, Task, child, server};

/// The interval for checking whether the last rank has ended.
const RANK_PACE: Duration = Duration::from_millis(20);

/// The interval for checking whether the server is alive, while nothing else happens.
const PACE: Duration = Duration::from_secs(1);

/// Starts the server and the command, and waits for them.
///
/// # Errors
///
/// If the mirror cannot be created. No command was run in this case.
pub(super) fn run(
    start: Start<'_>,
    socket: &mut Option<LeadSocket>,
    service: &mut dyn Service,
) -> Result<Outcome, Error> {
    let failed = |source| Error::Process { doing: "start the mirror's processes", source };
    let earlier = adopt().map_err(failed)?;
    let (from_all, to_server) = io::pipe().map_err(failed)?;
    let (answer, to_command) = io::pipe().map_err(failed)?;
    let (from_command, report) = io::pipe().map_err(failed)?;
    let (from_server, server_report) = io::pipe().map_err(failed)?;
    let (figures, server_figures) = io::pipe().map_err(failed)?;
    let Some(server) = compat_sys::fork().map_err(failed)? else {
        // Ranks that wait at the socket must see it closed when the supervisor is gone.
        drop((to_server, answer, from_command, report, from_server, figures, socket.take(), start.bound));
        let figures = FiguresReply::new(server_figures);
        let pipes = ServerPipes { control: from_all, answer: to_command, figures, report: server_report };
        server::run(start.volumes, pipes, start.inside, start.outside, service);
    };
    drop((from_all, to_command, server_report, server_figures));
    let supervisor = getpid();
    let for_ranks = answer.try_clone().map_err(failed)?;
    let Some(command) = compat_sys::fork().map_err(failed)? else {
        drop((from_command, from_server, figures, socket.take(), for_ranks));
        child::run(start, CommandPipes { server: to_server, answer, report }, supervisor);
    };
    drop((start.volumes, start.bound, report, answer));
    let mut descendants = Descendants::new(command, Some(server), earlier);
    descendants.waits = start.options.task == Task::Wait;
    let figures = to_server.try_clone().and_then(|pipe| FiguresChannel::new(pipe, figures));
    let mut supervisor = Supervisor {
        descendants,
        figures: Arc::new(figures.map_err(failed)?),
        shares: start.plan.mirrors().map(Share::of).collect(),
        partial: start.options.mirrored.is_partial(),
        to_server,
        from_server,
        task: &start.options.task,
        lingers: false,
        inside: start.inside,
        outside: start.outside,
        as_user: start.as_user,
    };
    supervisor.supervise(from_command, socket, for_ranks, service)
}

struct Supervisor<'a> {
    descendants: Descendants,
    to_server: PipeWriter,
    from_server: PipeReader,
    figures: Arc<FiguresChannel>,
    shares: Vec<Share>,
    /// Whether only shares are mirrored.
    partial: bool,
    task: &'a Task,
    /// Whether the mirror stays after the command until a signal comes.
    lingers: bool,
    inside: &'a NamespaceProcesses,
    outside: Option<&'a ExternalMount>,
    as_user: bool,
}

impl Supervisor<'_> {
    fn supervise(
        &mut self,
        mut report: PipeReader,
        socket: &mut Option<LeadSocket>,
        answer: PipeReader,
        service: &mut dyn Service,
    ) -> Result<Outcome, Error> {
        let failed = |source| Error::Process { doing: "wait for the command", source };
        let reported = self.wait_for_report(&mut report)?;
        let mut listener = None;
        if self.descendants.server_ended() {
            return self.without_server(service);
        }
        if reported.is_none() {
            self.lingers = matches!(self.task, Task::CommandThenWait(_));
            let (process, place) = (self.descendants.command.as_raw_nonzero().get() as u32, self.outside);
            service.ready(&Ready { process, place: place.map(ExternalMount::place), as_user: self.as_user });
            let_go_of_streams();
            listener = socket.take().map(|socket| self.listen(socket, answer)).transpose().map_err(failed)?;
        }
        if !self.wait_for_all(listener.as_ref(), service).map_err(failed)? {
            return self.without_server(service);
        }
        if !matches!(reported, Some(FailureReport::Failed(_))) {
            self.end_others(service);
            if let Some(figures) = self.figures.ask().filter(|figures| !figures.is_empty()) {
                service.figures_of_run(figures);
            }
        }
        self.figures.close();
        if let Some(outside) = self.outside {
            // A failure is reported after the run, which tries once more.
            let _ = outside.leave();
        }
        let outcome = self.outcome(reported);
        let code = match &outcome {
            Ok(Outcome::Ended(code) | Outcome::NotExecuted { code, .. }) => *code,
            Ok(Outcome::ServerKilled | Outcome::LeadKilled) | Err(_) => 1,
        };
        if ServerMessage::End(code).send(&mut self.to_server).is_err() || !self.descendants.server_done() {
            return self.without_server(service);
        }
        outcome
    }

    /// Waits until the command, its descendants and all ranks have ended. Returns false if the server ends first.
    fn wait_for_all(&mut self, listener: Option<&Listener>, service: &mut dyn Service) -> io::Result<bool> {
        let signals = signals();
        let mut ended_at = None;
        while !(self.descendants.reap()
            && (!self.lingers || self.descendants.is_asked_to_end())
            && listener.is_none_or(|listener| listener.is_quiet(&mut ended_at, service)))
        {
            if self.descendants.server_ended() {
                return Ok(false);
            }
            let awaits_ranks = self.descendants.code.is_some() && !self.lingers;
            let pace = if awaits_ranks { RANK_PACE } else { PACE };
            if let Some(received) = compat_sys::wait_for(&signals, pace)? {
                self.descendants.take(received);
            }
            self.descendants.end_leftovers();
            if !self.descendants.is_asked_to_end() && listener.is_some_and(Listener::is_idle) {
                // Handled as if a process had sent it.
                kill_process(getpid(), Signal::TERM)?;
            }
        }
        Ok(true)
    }

    /// Handles a server that ended before the rest: it reported a reason, or was killed.
    fn without_server(&mut self, service: &mut dyn Service) -> Result<Outcome, Error> {
        self.inside.end_all(&[]);
        if let Some(outside) = self.outside {
            outside.end_all();
        }
        // This includes descendants that have left the mirror.
        self.descendants.end();
        let mut sent = Vec::new();
        // A report that cannot be read counts as not sent.
        let _ = self.from_server.read_to_end(&mut sent);
        let (begun, report) = match sent.strip_prefix(BEGUN) {
            Some(report) => (true, report),
            None => (false, &*sent),
        };
        if let Ok(Some(FailureReport::Failed(error))) = FailureReport::receive(&mut &*report) {
            return Err(error);
        }
        if begun {
            service.server_killed();
        }
        Ok(Outcome::ServerKilled)
    }

    fn listen(&self, socket: LeadSocket, answer: PipeReader) -> io::Result<Listener> {
        let server = (self.to_server.try_clone()?, answer);
        let admission = Admission::new(self.inside.inner(), self.partial, server)?;
        Listener::open(socket, admission, &self.figures, &self.shares)
    }

    /// Reports processes that entered from outside, and terminates them before the mirror is unmounted.
    fn end_others(&self, service: &mut dyn Service) {
        let spared: Vec<Pid> = self.descendants.server.into_iter().collect();
        let find = || {
            let mut found = self.inside.others(&spared);
            found.extend(self.outside.iter().flat_map(|outside| outside.inhabitants(&spared)));
            found
        };
        let found = find();
        if !found.is_empty() {
            service.still_inside(&found);
            ask_to_end(find);
        }
    }

    /// Waits until the command is executed, or reports a failure. If the server dies meanwhile, the command is killed,
    /// because it would wait for the server forever.
    fn wait_for_report(&mut self, report: &mut PipeReader) -> Result<Option<FailureReport>, Error> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let failed = |source| Error::Process { doing: "start the command", source };
        loop {
            let limit = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            let ready = poll(&mut [PollFd::new(&*report, PollFlags::IN)], Some(&limit));
            if ready.is_ok_and(|count| count > 0) {
                return FailureReport::receive(report).map_err(failed);
            }
            if self.descendants.server_ended() {
                let _ = kill_process(self.descendants.command, Signal::KILL);
                return FailureReport::receive(report).map_err(failed);
            }
            if let Some(received) = compat_sys::wait_for(&signals(), Duration::ZERO).map_err(failed)?
                && !self.descendants.is_harmless(received.signal)
            {
                self.descendants.take(received);
                let _ = kill_process(self.descendants.command, Signal::KILL);
            }
        }
    }

    fn outcome(&self, reported: Option<FailureReport>) -> Result<Outcome, Error> {
        match reported {
            Some(FailureReport::Failed(error)) => Err(error),
            Some(FailureReport::NotExecuted(error)) => Ok(Outcome::not_executed(error)),
            // With `Task::Wait`, the signal that ends the run kills the waiting process.
            None if *self.task == Task::Wait && self.descendants.is_asked_to_end() => Ok(Outcome::Ended(0)),
            None => Ok(Outcome::Ended(self.descendants.code.unwrap_or(1))),
        }
    }
}
