//! A rank's way into the mirror of its node's lead: ranks meet at a Unix socket that has the job's name, in a
//! directory that is their user's alone (`rendezvous`). Who connects is let in only as the lead's own user, and
//! believes only a lead that is its own user; each looks at the other before a namespace is handed on or entered.

use std::io::{self, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{chroot, fchdir, getpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Outcome;
use super::child;
use super::control::Report;
use super::descendants::{Descendants, adopt, signals};
use super::error::Error;
use super::rank_listener::LeadSocket;
use super::rendezvous::{Directories, LeadLock, connect, is_of_several};
use super::supervisor::let_go_of_streams;

/// How often it is tried to reach the lead.
const PACE: Duration = Duration::from_millis(20);

/// How long after what runs in its mirror the lead may end, where both are ended.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// A rank of a node, and how the ranks of its job meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    pub number: u32,
    /// Whether it leads; where nothing tells, who comes first does.
    pub leads: Option<bool>,
    /// How many ranks the node has, where that is known.
    pub expected: Option<u32>,
    /// What all ranks of the job on this node have in common and no other job has.
    pub meeting: String,
    /// Where they meet.
    pub directories: Directories,
    /// How long they wait for each other.
    pub patience: Duration,
}

/// What a rank has become.
#[derive(Debug)]
pub enum RankRole {
    /// It makes the mirror, and lets the others in.
    Lead(LeadSocket),
    /// It has been let in.
    Guest(NamespaceAccess),
}

/// The keys to the lead's mirror.
#[derive(Debug)]
pub struct NamespaceAccess {
    stream: UnixStream,
    user: OwnedFd,
    mounts: OwnedFd,
    root: OwnedFd,
}

/// Meets the other ranks of the node.
///
/// # Errors
///
/// Where the lead does not come, or another one is there, or others could pass for this user.
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
                ask(stream, rank.number, deadline.saturating_duration_since(Instant::now()))?
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

/// Asks to be let in; nothing where it is to be tried again later.
fn ask(mut stream: UnixStream, rank: u32, limit: Duration) -> Result<Option<NamespaceAccess>, Error> {
    let lead = compat_sys::peer(stream.as_fd()).map_err(Error::Join)?;
    if let Some(what) = peer_fault(lead, rustix::process::geteuid().as_raw()) {
        return Err(Error::Lead { what });
    }
    // A lead that is stopped answers nothing.
    let _ = stream.set_read_timeout(Some(limit.max(PACE)));
    let answer = stream.write_all(&rank.to_ne_bytes()).and_then(|()| receive(&stream));
    let _ = stream.set_read_timeout(None);
    match answer {
        Ok((b'y', Some([user, mounts, root]))) => Ok(Some(NamespaceAccess { stream, user, mounts, root })),
        Ok((b'n', _)) => Err(Error::Lead { what: "has ended before its mirror was there".to_owned() }),
        Ok((b'x', _)) => Err(Error::Lead { what: format!("does not know rank {rank}'s process or user") }),
        // Also where the lead of the step before is just ending.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// Why the process at the other end is not to be believed.
pub(super) fn peer_fault(peer: compat_sys::Peer, own: u32) -> Option<String> {
    match peer {
        compat_sys::Peer { user, .. } if user != own || is_of_several(user) => {
            Some(format!("is of another user ({user})"))
        }
        compat_sys::Peer { process: 0, .. } => {
            Some("is in another container, where its processes are not seen".to_owned())
        }
        _ => None,
    }
}

/// Waits for one byte, with three descriptors or without.
fn receive(stream: &UnixStream) -> io::Result<(u8, Option<[OwnedFd; 3]>)> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = rustix::net::recvmsg(stream, &mut [io::IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let byte = if message.bytes == 0 { 0 } else { byte[0] };
    Ok((byte, descriptors.try_into().ok()))
}

impl NamespaceAccess {
    /// Enters the mirror; its root is the working directory then. This process must have no other
    /// threads.
    ///
    /// # Errors
    ///
    /// Those of setns(2): `EPERM` where the lead is in a container of its own.
    pub fn enter(&self) -> io::Result<()> {
        if !is_own(&self.user)? {
            move_into_link_name_space(self.user.as_fd(), Some(LinkNameSpaceType::User))?;
        }
        move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        fchdir(&self.root)?;
        Ok(chroot(".")?)
    }

    /// Tells the lead that all that comes is the command's, and waits until it knows.
    ///
    /// # Errors
    ///
    /// Where the lead has ended.
    pub fn begin(&mut self) -> io::Result<()> {
        self.stream.write_all(b"b")?;
        self.stream.read_exact(&mut [0])
    }

    /// Whether the lead has ended, or does so in this time.
    fn is_void(&self, limit: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        let mut ends = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        poll(&mut ends, Some(&limit)).is_ok_and(|count| count > 0)
    }
}

/// Whether this is the user namespace that this process is in.
fn is_own(user: &OwnedFd) -> io::Result<bool> {
    let own = rustix::fs::stat("/proc/self/ns/user")?;
    let theirs = rustix::fs::fstat(user)?;
    Ok((own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino))
}

/// Runs a rank's command in the mirror that it has been let into.
///
/// # Errors
///
/// Where it cannot be entered; nothing was run then.
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
    let reported = Report::receive(&mut from_command).map_err(failed)?;
    let void = reported.is_some() && access.is_void(Duration::ZERO);
    let_go_of_streams();
    let lives = supervise(&mut descendants, &access).map_err(failed)? && !void;
    match reported {
        _ if !lives => Ok(Outcome::LeadKilled),
        Some(Report::Failed(error)) => Err(error),
        Some(Report::NotExecuted(error)) => Ok(Outcome::not_executed(error)),
        None => Ok(Outcome::Ended(descendants.code.unwrap_or(1))),
    }
}

/// Waits for the command and what it leaves behind; tells whether the lead lived that long. Where it did
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_users_processes_that_can_be_seen_are_believed() {
        let fault = |process, user, own| peer_fault(compat_sys::Peer { process, user }, own);
        assert_eq!(fault(7, 1000, 1000), None);
        assert_eq!(fault(7, 1001, 1000).as_deref(), Some("is of another user (1001)"));
        assert_eq!(fault(7, 0, 1000).as_deref(), Some("is of another user (0)"));
        assert!(fault(0, 1000, 1000).is_some_and(|fault| fault.contains("another container")));
        let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").expect("a number");
        let overflow = overflow.trim().parse().expect("a number");
        assert!(fault(7, overflow, overflow).is_some(), "it may be anybody");
    }
}
