//! Processes and namespaces.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use super::signal::{ignore, pipe_was_ignored};

/// Makes a copy of this process, which must have no other threads; nothing in the copy.
///
/// # Errors
///
/// Those of fork(2), and one where the process has other threads.
pub fn fork() -> io::Result<Option<Pid>> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other("a process with several threads cannot be copied"));
    }
    // SAFETY: there is no other thread, so no lock is held by one that the copy lacks.
    let pid = unsafe { libc::fork() };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(Pid::from_raw(pid)) }
}

/// Becomes another program, which finds `SIGPIPE` as this one has found it; comes back with the error.
pub fn execute(command: &mut Command) -> io::Error {
    if pipe_was_ignored() {
        let restore = || {
            ignore(libc::SIGPIPE, true);
            Ok(())
        };
        // SAFETY: the function makes one system call, which may be made in any state of this process.
        unsafe { command.pre_exec(restore) };
    }
    command.exec()
}

/// Gives this thread a working directory, a root and a creation mask of its own.
///
/// # Errors
///
/// Those of unshare(2).
pub fn unshare_directory_and_mask() -> io::Result<()> {
    unshare(UnshareFlags::FS)
}

/// Gives this process a mount namespace of its own, within a new user namespace where `as_user`.
///
/// # Errors
///
/// Those of unshare(2): `EPERM` without the right.
pub fn unshare_mounts(as_user: bool) -> io::Result<()> {
    unshare(if as_user { UnshareFlags::NEWUSER | UnshareFlags::NEWNS } else { UnshareFlags::NEWNS })
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the table of file descriptors, the only thing whose unsharing Rust's types do not
    // allow for, stays shared.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}
