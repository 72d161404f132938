//! The process at the other end of a Unix socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// The process that connected, or that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process ID. 0 if it is in a process namespace that this process cannot see.
    pub process: u32,
    /// Its effective user ID in this process's user namespace.
    pub user: u32,
}

/// Returns the process at the other end (`SO_PEERCRED`, unix(7)). `rustix` is not used because its process ID
/// cannot be 0.
///
/// # Errors
///
/// Errors of getsockopt(2).
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = MaybeUninit::<libc::ucred>::zeroed();
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of the structure.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            credentials.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the three numbers are valid as zeros, and the call has filled them in.
    let credentials = unsafe { credentials.assume_init() };
    Ok(Peer { process: u32::try_from(credentials.pid).unwrap_or(0), user: credentials.uid })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_other_end_is_this_process() {
        let (one, _other) = UnixStream::pair().expect("a pair of sockets");
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(peer(one.as_fd()).expect("a peer"), Peer { process: std::process::id(), user });
    }
}
