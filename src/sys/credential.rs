//! Credentials of one thread. The C library's functions of the same names change every thread of the
//! process; the system calls change the calling one alone, which is what a file server needs.

use std::io;

/// Sets the user and group for which this thread touches files. Leaving user 0 takes the capabilities
/// that concern files out of the thread's effective set, coming back to it restores them
/// (capabilities(7)).
pub fn set_file_system_ids(user: u32, group: u32) {
    // SAFETY: these calls take numbers only. They cannot fail in a way that is told; a thread without
    // the right keeps its ids, which are then those of the only user it serves.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, group);
        libc::syscall(libc::SYS_setfsuid, user);
    }
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
