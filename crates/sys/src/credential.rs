//! Credentials of one thread. The C library's functions of the same names change every thread of the
//! process; the system calls change the calling one alone, which is what a file server needs.

use std::io;

/// Sets the user for which this thread touches files. Leaving user 0 takes the capabilities that concern
/// files out of the thread's effective set, coming back to it restores them (capabilities(7)).
///
/// # Errors
///
/// `EPERM` without `CAP_SETUID`, or where the user namespace does not have the user.
pub fn set_file_system_user(user: u32) -> io::Result<()> {
    set_id(libc::SYS_setfsuid, user)
}

/// Sets the group for which this thread touches files.
///
/// # Errors
///
/// `EPERM` without `CAP_SETGID`, or where the user namespace does not have the group.
pub fn set_file_system_group(group: u32) -> io::Result<()> {
    set_id(libc::SYS_setfsgid, group)
}

/// Calls setfsuid(2) or setfsgid(2), which say what was set before and nothing of a failure: the second call, for an
/// id that there cannot be, changes nothing and says what is set now.
fn set_id(call: libc::c_long, id: u32) -> io::Result<()> {
    // SAFETY: both calls take a number only.
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
    // SAFETY: the kernel reads `groups.len()` ids of four bytes at the pointer.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
