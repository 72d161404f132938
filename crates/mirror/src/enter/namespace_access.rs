//! Access to the mirror of the lead: descriptors of its namespaces and root, and the connection on which they arrived.

use std::io::{self, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::Error;
use super::rendezvous::peer_fault;

/// The descriptors that are required to enter the mirror of the lead.
#[derive(Debug)]
pub struct NamespaceAccess {
    stream: UnixStream,
    user: OwnedFd,
    mounts: OwnedFd,
    root: OwnedFd,
}

/// Requests admission. Returns `None` if the request must be repeated later.
pub(super) fn ask(
    mut stream: UnixStream,
    rank: u32,
    limit: Duration,
) -> Result<Option<NamespaceAccess>, Error> {
    let lead = compat_sys::peer(stream.as_fd()).map_err(Error::Join)?;
    if let Some(what) = peer_fault(lead, rustix::process::geteuid().as_raw()) {
        return Err(Error::Lead { what });
    }
    // A stopped lead does not reply.
    let _ = stream.set_read_timeout(Some(limit));
    let answer = stream.write_all(&rank.to_ne_bytes()).and_then(|()| receive(&stream));
    let _ = stream.set_read_timeout(None);
    match answer {
        Ok((b'y', Some([user, mounts, root]))) => Ok(Some(NamespaceAccess { stream, user, mounts, root })),
        Ok((b'n', _)) => Err(Error::Lead { what: "ended before its mirror was ready".to_owned() }),
        Ok((b'x', _)) => {
            Err(Error::Lead { what: format!("does not recognise the process or user of rank {rank}") })
        }
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
