//! A rank's way into the mirror of its node's lead: ranks meet at a Unix socket that has the job's name, in a
//! directory that is their user's alone (`rendezvous`). Who connects is let in only as the lead's own user, and
//! believes only a lead that is its own user; each looks at the other before a namespace is handed on or entered.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::getpid;

use super::Outcome;
use super::child;
use super::control::FailureReport;
use super::descendants::{Descendants, adopt, signals};
use super::error::Error;
use super::namespace_access::{NamespaceAccess, ask};
use super::rendezvous::{Directories, LeadLock, LeadSocket, connect, is_of_several};
use super::streams::let_go_of_streams;

/// How often it is tried to reach the lead.
const PACE: Duration = Duration::from_millis(20);

/// How long after what runs in its mirror the lead may end, where both are ended.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// A rank of a node, and how the ranks of its job meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Its number in the job, from 0.
    pub number: u32,
    /// Whether it leads; if that is not known, the first one that comes does.
    pub leads: Option<bool>,
    /// How many ranks the node has, where that is known.
    pub expected: Option<u32>,
    /// A name that all ranks of the job on this node have in common and no other job has.
    pub meeting: String,
    /// Where they meet.
    pub directories: Directories,
    /// How long they wait for each other.
    pub patience: Duration,
}

/// The part that a rank plays on its node.
#[derive(Debug)]
pub enum RankRole {
    /// It makes the mirror, and lets the others in.
    Lead(LeadSocket),
    /// It has been let in.
    Guest(NamespaceAccess),
}

/// Meets the other ranks of the node.
///
/// # Errors
///
/// If the lead does not come, or another one is there, or others could pass for this user.
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
            let (expected, patience) = (rank.expected, rank.patience);
            return Ok(RankRole::Lead(LeadSocket { lock, listener, expected, patience }));
        }
        if rank.leads != Some(true)
            && let Some(stream) = connect(&rank.directories, &rank.meeting)?
            && let Some(access) =
                ask(stream, rank.number, deadline.saturating_duration_since(Instant::now()).max(PACE))?
        {
            return Ok(RankRole::Guest(access));
        }
        if Instant::now() > deadline {
            let seconds = rank.patience.as_secs();
            let what = match rank.leads {
                Some(true) => format!("is there already, and did not end in {seconds} s"),
                _ => format!("did not let rank {} in for {seconds} s", rank.number),
            };
            return Err(Error::Lead { what });
        }
        std::thread::sleep(PACE);
    }
}

/// Runs a rank's command in the mirror that it has been let into.
///
/// # Errors
///
/// If it cannot be entered; nothing was run then.
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

/// Waits for the command and what it leaves behind; returns whether the lead lived that long. Where it did
/// not, they are killed: there is no mirror any more.
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
    // Whoever kills the lead kills with it what runs in its mirror.
    Ok(!(descendants.code == Some(128 + libc::SIGKILL) && access.is_void(AFTERWARDS)))
}
