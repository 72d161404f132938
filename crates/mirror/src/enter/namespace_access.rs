//! Access to the mirror of the lead: descriptors of its namespaces and root, and the connection on which they arrived.

use std::io::{self, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::rendezvous::peer_fault;

/// The descriptors that are required to enter the mirror of the lead.
#[derive(Debug)]
pub struct NamespaceAccess {
    stream: UnixStream,
    user: OwnedFd,
    mounts: OwnedFd,
    root: OwnedFd,
    /// Whether only shares are mirrored.
    partial: bool,
}

/// The reason for which admission is impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The process at the other end is not trusted, for this reason.
    Untrusted(String),
    /// Nobody is admitted any more.
    Never,
    /// The other end does not trust this process.
    Unknown,
}

/// Requests admission with this request. Returns `None` if the request must be repeated later.
pub(super) fn ask(
    mut stream: UnixStream,
    request: u32,
    limit: Duration,
) -> Result<Option<NamespaceAccess>, Refusal> {
    let lead = compat_sys::peer(stream.as_fd())
        .map_err(|error| Refusal::Untrusted(format!("is unknown: {error}")))?;
    if let Some(what) = peer_fault(lead, rustix::process::geteuid().as_raw()) {
        return Err(Refusal::Untrusted(what));
    }
    // A stopped lead does not reply.
    let _ = stream.set_read_timeout(Some(limit));
    let answer = stream.write_all(&request.to_ne_bytes()).and_then(|()| receive(&stream));
    let _ = stream.set_read_timeout(None);
    match answer {
        Ok((kind @ (b'y' | b'Y'), Some([user, mounts, root]))) => {
            Ok(Some(NamespaceAccess { stream, user, mounts, root, partial: kind == b'Y' }))
        }
        Ok((b'n', _)) => Err(Refusal::Never),
        Ok((b'x', _)) => Err(Refusal::Unknown),
        // This also happens while the lead of the previous job step is ending.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// Waits for one byte, with or without three descriptors.
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
    /// Enters the mirror. The working directory becomes its root. This process must have no other threads.
    ///
    /// # Errors
    ///
    /// Those of setns(2): `EPERM` if the lead is in its own container.
    pub(super) fn enter(&self) -> io::Result<()> {
        if !is_own(&self.user)? {
            move_into_link_name_space(self.user.as_fd(), Some(LinkNameSpaceType::User))?;
        }
        move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        fchdir(&self.root)?;
        Ok(chroot(".")?)
    }

    /// Whether only shares are mirrored.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// Announces to the lead that from now on all requests belong to the command, and waits for its reply.
    ///
    /// # Errors
    ///
    /// If the lead has ended.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.stream.write_all(b"b")?;
        self.stream.read_exact(&mut [0])
    }

    /// Whether the lead has ended or ends within `limit`.
    pub(super) fn is_void(&self, limit: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        let mut ends = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        poll(&mut ends, Some(&limit)).is_ok_and(|count| count > 0)
    }
}

/// Whether this process is in this user namespace.
fn is_own(user: &OwnedFd) -> io::Result<bool> {
    let own = rustix::fs::stat("/proc/self/ns/user")?;
    let theirs = rustix::fs::fstat(user)?;
    Ok((own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino))
}
