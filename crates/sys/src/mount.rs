//! The mount of a file, and the flags of a mount.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::mount::MountFlags;

/// Returns the ID of the mount that contains an open file, as in the mount table. Kernels before Linux 5.8
/// report it only in `/proc`, which is mounted at `process`.
///
/// # Errors
///
/// Errors of statx(2), and of reading `/proc`.
pub fn mount_number(file: impl AsFd, process: &Path) -> io::Result<u64> {
    let file = file.as_fd();
    // The server of the file system is not needed for the answer, and cannot reply while the file system is
    // being mounted.
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = statx(file, c"", flags, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return Ok(stat.stx_mnt_id);
    }
    let facts = std::fs::read_to_string(process.join(format!("self/fdinfo/{}", file.as_raw_fd())))?;
    parse(&facts).ok_or_else(|| io::Error::other("the mount of the file is unknown"))
}

/// `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// The flags of mount_setattr(2) that apply to a single mount.
const ATTRIBUTES: [(MountFlags, u64); 5] = [
    (MountFlags::RDONLY, 0x1),
    (MountFlags::NOSUID, 0x2),
    (MountFlags::NODEV, 0x4),
    (MountFlags::NOEXEC, 0x8),
    (MountFlags::NOSYMFOLLOW, 0x20_0000),
];

/// Adds flags to the mount with an open file as its root. Returns whether the kernel (Linux 5.12) and the
/// system call filters allow it.
///
/// # Errors
///
/// Errors of mount_setattr(2).
pub fn add_mount_flags(mount: impl AsFd, flags: MountFlags) -> io::Result<bool> {
    let set =
        ATTRIBUTES.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, attribute)| attribute).sum();
    let attributes = Attributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path ends with a zero byte, and the kernel reads as many bytes of the structure as are stated
    // here. Both are valid until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    match io::Error::last_os_error() {
        _ if result == 0 => Ok(true),
        error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(false),
        error => Err(error),
    }
}

/// Parses the mount of a file (`/proc/PID/fdinfo`, proc_pid_fdinfo(5)).
fn parse(facts: &str) -> Option<u64> {
    facts.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn both_ways_give_the_same_number() {
        let process = Path::new("/proc");
        let open = |path: &str| File::open(path).expect("the file exists");
        let (root, other) = (open("/"), open("/proc"));
        let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", root.as_raw_fd()));
        let number = mount_number(&root, process).expect("a number");
        assert_eq!(parse(&facts.expect("facts")), Some(number));
        assert_ne!(mount_number(&other, process).expect("a number"), number);
    }
}
