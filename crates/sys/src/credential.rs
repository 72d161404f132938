//! Credentials of one thread. The C library's functions with the same names change every thread of the process.
//! The system calls change only the calling thread, as a file server needs.

use std::io;

/// Sets the user with which this thread accesses files. A change from user 0 removes the capabilities for files
/// from the thread's effective set, and a change back restores them (capabilities(7)).
///
/// # Errors
///
/// `EPERM` without `CAP_SETUID`, or if the user namespace does not contain the user.
pub fn set_file_system_user(user: u32) -> io::Result<()> {
    set_id(libc::SYS_setfsuid, user)
}

/// Sets the group with which this thread accesses files.
///
/// # Errors
///
/// `EPERM` without `CAP_SETGID`, or if the user namespace does not contain the group.
pub fn set_file_system_group(group: u32) -> io::Result<()> {
    set_id(libc::SYS_setfsgid, group)
}

/// Calls setfsuid(2) or setfsgid(2). They return the previous ID and do not report a failure. A second call
/// with an invalid ID changes nothing and returns the current ID.
fn set_id(call: libc::c_long, id: u32) -> io::Result<()> {
    // SAFETY: both calls take only a number.
    let now = unsafe {
        libc::syscall(call, id);
        libc::syscall(call, u32::MAX)
    };
    if now as u32 == id { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

/// Sets this thread's supplementary groups.
///
/// # Errors
///
/// `EPERM` without `CAP_SETGID`.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads `groups.len()` IDs of four bytes at the pointer.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
