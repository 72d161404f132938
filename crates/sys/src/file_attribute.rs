//! The ioctls for a file's extended flags (`struct fsxattr`, `linux/fs.h`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_ulong;

/// `struct fsxattr` as bytes, which are passed on unchanged.
pub type FileAttributes = [u8; 28];

/// `FS_IOC_FSGETXATTR`: `_IOR('X', 31, struct fsxattr)`.
const GET: c_ulong = 0x801c_581f;
/// `FS_IOC_FSSETXATTR`: `_IOW('X', 32, struct fsxattr)`.
const SET: c_ulong = 0x401c_5820;

/// Returns a file's flags, extent size and project.
///
/// # Errors
///
/// `ENOTTY` or `EOPNOTSUPP` if the file system does not support them.
pub fn file_attributes(file: BorrowedFd<'_>) -> io::Result<FileAttributes> {
    let mut attributes = [0; 28];
    // SAFETY: the request writes one `struct fsxattr` of 28 bytes.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), GET as _, attributes.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes) }
}

/// Sets a file's flags, extent size and project.
///
/// # Errors
///
/// `EPERM` for flags that need a privilege, `EOPNOTSUPP` for flags that the file system does not support.
pub fn set_file_attributes(file: BorrowedFd<'_>, attributes: &FileAttributes) -> io::Result<()> {
    // SAFETY: the request reads one `struct fsxattr` of 28 bytes, which is valid until the call returns.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), SET as _, attributes.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
