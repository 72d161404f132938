//! Processes and namespaces.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use super::signal::{ignore, pipe_was_ignored};

/// Forks this process, which must have no other threads. Returns `None` in the child.
///
/// # Errors
///
/// Errors of fork(2), and an error if the process has other threads.
pub fn fork() -> io::Result<Option<Pid>> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other("a process with several threads cannot fork"));
    }
    // SAFETY: the process has no other thread that could hold a lock in the child.
    let pid = unsafe { libc::fork() };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(Pid::from_raw(pid)) }
}

/// Executes another program with the original disposition of `SIGPIPE`. Returns only the error.
pub fn execute(command: &mut Command) -> io::Error {
    if pipe_was_ignored() {
        let restore = || {
            ignore(libc::SIGPIPE, true);
            Ok(())
        };
        // SAFETY: the function makes one system call, which is allowed in any state of this process.
        unsafe { command.pre_exec(restore) };
    }
    command.exec()
}

/// Closes the files that this process has inherited, except for its standard streams: the descriptors without the
/// close-on-exec flag, which this program sets for each file that it opens. This process must have no other threads.
pub fn close_inherited() {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > libc::STDERR_FILENO) {
        // SAFETY: the calls take a number and no memory. No object of this program owns an inherited descriptor.
        unsafe {
            let flags = libc::fcntl(number, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(number);
            }
        }
    }
}

/// Gives this thread its own working directory, root and file mode creation mask.
///
/// # Errors
///
/// Errors of unshare(2).
pub fn unshare_directory_and_mask() -> io::Result<()> {
    unshare(UnshareFlags::FS)
}

/// Gives this process its own mount namespace, inside a new user namespace if `as_user` is set.
///
/// # Errors
///
/// Errors of unshare(2). `EPERM` without the required privilege.
pub fn unshare_mounts(as_user: bool) -> io::Result<()> {
    unshare(if as_user { UnshareFlags::NEWUSER | UnshareFlags::NEWNS } else { UnshareFlags::NEWNS })
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the table of file descriptors stays shared. Unsharing it is the only case that Rust's types do
    // not allow.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}
