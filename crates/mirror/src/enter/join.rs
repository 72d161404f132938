//! The way of a rank into the mirror of the lead rank on its node.
//!
//! Ranks meet at a Unix socket with the name of the job, in a private directory of their user (`rendezvous`). The lead
//! admits only processes of its own user, and a rank trusts only a lead of its own user. Each side checks the other
//! before a namespace is passed on or entered.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::getpid;

use super::Outcome;
use super::child;
use super::control::FailureReport;
use super::descendants::{Descendants, adopt, signals};
use super::error::Error;
use super::namespace_access::{NamespaceAccess, Refusal, ask};
use super::rendezvous::{Directories, ExpectedRanks, LeadLock, LeadSocket, Purpose, connect, is_of_several};
use super::streams::let_go_of_streams;

/// The interval between attempts to reach the lead.
const PACE: Duration = Duration::from_millis(20);

/// The time that the lead may take to end after a command in its mirror was killed, if both were killed together.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// A rank of a node, and the way in which the ranks of its job meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    /// The number of the rank in the job, from 0.
    pub number: u32,
    /// Whether this rank is the lead. If unknown, the first rank to arrive is the lead.
    pub leads: Option<bool>,
    /// The number of ranks of the node, if known.
    pub expected: Option<u32>,
    /// A name that all ranks of the job on this node share, and no other job uses.
    pub meeting: String,
    /// The directories in which they can meet.
    pub directories: Directories,
    /// The time for which they wait for each other.
    pub patience: Duration,
}

/// The role of a rank on its node.
#[derive(Debug)]
pub enum RankRole {
    /// It creates the mirror and admits the other ranks.
    Lead(LeadSocket),
    /// It was admitted by the lead.
    Guest(NamespaceAccess),
}

/// Meets the other ranks of the node.
///
/// # Errors
///
/// If the lead does not appear, another lead exists, or other users could pass for this user.
pub fn meet(rank: &Rank) -> Result<RankRole, Error> {
    let user = rustix::process::geteuid().as_raw();
    if is_of_several(user) {
        return Err(Error::Overflow { user });
    }
    let deadline = Instant::now() + rank.patience;
    loop {
        if rank.leads != Some(false)
            && let Some((lock, listener)) = LeadLock::take(&rank.directories, &rank.meeting)?
        {
            let expected = ExpectedRanks { number: rank.expected, patience: rank.patience };
            return Ok(RankRole::Lead(LeadSocket { lock, listener, purpose: Purpose::Ranks(expected) }));
        }
        if rank.leads != Some(true)
            && let Some(stream) = connect(&rank.directories, &rank.meeting)?
            && let Some(access) = admitted(rank.number, stream, deadline)?
        {
            return Ok(RankRole::Guest(access));
        }
        if Instant::now() > deadline {
            let seconds = rank.patience.as_secs();
            let what = match rank.leads {
                Some(true) => format!("is already running and did not end within {seconds} s"),
                _ => format!("did not admit rank {} within {seconds} s", rank.number),
            };
            return Err(Error::Lead { what });
        }
        std::thread::sleep(PACE);
    }
}

/// Asks the lead for admission. Returns `None` if the request must be repeated later.
fn admitted(rank: u32, stream: UnixStream, deadline: Instant) -> Result<Option<NamespaceAccess>, Error> {
    let left = deadline.saturating_duration_since(Instant::now()).max(PACE);
    ask(stream, rank, left).map_err(|refusal| Error::Lead {
        what: match refusal {
            Refusal::Untrusted(what) => what,
            Refusal::Never => "ended before its mirror was ready".to_owned(),
            Refusal::Unknown => format!("does not recognise the process or user of rank {rank}"),
        },
    })
}

/// Runs the command of a rank in the mirror to which it was admitted.
///
/// # Errors
///
/// If the mirror cannot be entered. No command was run in this case.
pub fn join(
    command: &[std::ffi::OsString],
    directory: &Path,
    mut access: NamespaceAccess,
) -> Result<Outcome, Error> {
    let failed = |source| Error::Process { doing: "start the command", source };
    let directory = super::absolute(directory)?;
    let before = compat_sys::block(&signals());
    let earlier = adopt().map_err(failed)?;
    let (mut from_command, report) = io::pipe().map_err(failed)?;
    let supervisor = getpid();
    let Some(process) = compat_sys::fork().map_err(failed)? else {
        drop(from_command);
        child::join(command, &directory, &mut access, &before, report, supervisor);
    };
    drop(report);
    let mut descendants = Descendants::new(process, None, earlier);
    let reported = FailureReport::receive(&mut from_command).map_err(failed)?;
    let void = reported.is_some() && access.is_void(Duration::ZERO);
    let_go_of_streams();
    let lives = supervise(&mut descendants, &access).map_err(failed)? && !void;
    match reported {
        _ if !lives => Ok(Outcome::LeadKilled),
        Some(FailureReport::Failed(error)) => Err(error),
        Some(FailureReport::NotExecuted(error)) => Ok(Outcome::not_executed(error)),
        None => Ok(Outcome::Ended(descendants.code.unwrap_or(1))),
    }
}

/// Waits for the command and the processes that it leaves behind. Returns whether the lead was alive for that time. If
/// it was not, they are killed, because the mirror is gone.
fn supervise(descendants: &mut Descendants, access: &NamespaceAccess) -> io::Result<bool> {
    let signals = signals();
    while !descendants.reap() {
        if access.is_void(Duration::ZERO) {
            descendants.end();
            return Ok(false);
        }
        if let Some(received) = compat_sys::wait_for(&signals, 5 * PACE)? {
            descendants.take(received);
        }
        descendants.end_leftovers();
    }
    // When the lead is killed, the processes in its mirror are killed with it.
    Ok(!(descendants.code == Some(128 + libc::SIGKILL) && access.is_void(AFTERWARDS)))
}
