//! The ioctls of `/dev/fuse` (`linux/fuse.h`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_ulong};

/// `_IOR(229, 0, u32)`: attaches this open device to the connection of another one.
const CLONE: c_ulong = ioctl(READ, 0, 4);
/// `_IOW(229, 1, struct fuse_backing_map)`: registers a file for passthrough.
const BACKING_OPEN: c_ulong = ioctl(WRITE, 1, size_of::<BackingMap>());
/// `_IOW(229, 2, u32)`: unregisters the file.
const BACKING_CLOSE: c_ulong = ioctl(WRITE, 2, 4);

const WRITE: c_ulong = 1;
const READ: c_ulong = 2;

/// The number of an ioctl of FUSE, as `asm-generic/ioctl.h` composes it.
const fn ioctl(direction: c_ulong, number: c_ulong, size: usize) -> c_ulong {
    direction << 30 | (size as c_ulong) << 16 | 229 << 8 | number
}

/// `struct fuse_backing_map`.
#[repr(C)]
struct BackingMap {
    fd: i32,
    flags: u32,
    padding: u64,
}

/// Attaches `device`, a newly opened `/dev/fuse`, to the connection of `session`.
///
/// # Errors
///
/// The kernel's errors. `EINVAL` if it does not support further descriptors.
pub fn clone_device(device: BorrowedFd<'_>, session: BorrowedFd<'_>) -> io::Result<()> {
    let mut source = session.as_raw_fd() as u32;
    // SAFETY: the request reads one u32, which is valid until the call returns.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), CLONE as _, &raw mut source) };
    result_of(result).map(drop)
}

/// Registers a file (an `O_PATH` descriptor is enough) for passthrough and returns its number in the
/// connection. The kernel opens it with the current credentials of this thread.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN` in the initial user namespace or if passthrough was not negotiated, `ELOOP`
/// if the file's file system is stacked too deeply.
pub fn open_backing(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<u32> {
    let mut map = BackingMap { fd: file.as_raw_fd(), flags: 0, padding: 0 };
    // SAFETY: the request reads one `struct fuse_backing_map`, which is valid until the call returns.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), BACKING_OPEN as _, &raw mut map) };
    result_of(result).map(|number| number as u32)
}

/// Unregisters a file. Files that are open through the registration stay open.
///
/// # Errors
///
/// `ENOENT` if no registration has this number.
pub fn close_backing(device: BorrowedFd<'_>, number: u32) -> io::Result<()> {
    let mut number = number;
    // SAFETY: the request reads one u32, which is valid until the call returns.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), BACKING_CLOSE as _, &raw mut number) };
    result_of(result).map(drop)
}

fn result_of(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_header() {
        assert_eq!((CLONE, BACKING_OPEN, BACKING_CLOSE), (0x8004_e500, 0x4010_e501, 0x4004_e502));
    }
}
