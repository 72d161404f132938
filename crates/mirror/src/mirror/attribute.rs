//! Attributes of the mirrored files: how they are read, and how owners without a number in the session's user
//! namespace are shown.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use rustix::fs::{AtFlags, Statx, StatxFlags};
use rustix::io::Errno;

/// The attributes that are read for every file: the basic ones, the birth time and the mount.
pub(crate) const WANTED: StatxFlags =
    StatxFlags::BASIC_STATS.union(StatxFlags::BTIME).union(StatxFlags::MNT_ID);

/// The identity of a file. The mount is part of it: a directory that is mounted in two places must be two
/// nodes, because the kernel allows a directory only one place. The birth time distinguishes a new file from
/// an old one with the same inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileIdentity {
    mount: u64,
    device: u64,
    number: u64,
    born: (i64, u32),
}

impl FileIdentity {
    /// The identity of the file with these attributes.
    pub(super) fn of(stat: &Statx) -> Self {
        let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born = if has_birth { (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec) } else { (0, 0) };
        let has_mount = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Self {
            mount: if has_mount { stat.stx_mnt_id } else { 0 },
            device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            number: stat.stx_ino,
            born,
        }
    }

    /// Whether the birth time is known, which distinguishes the file from all earlier files with its inode
    /// number.
    pub(super) fn has_birth(&self) -> bool {
        self.born != (0, 0)
    }

    /// The inode number.
    pub(super) fn inode(&self) -> u64 {
        self.number
    }

    /// Whether both files are in the same mount, as far as the kernel reports it (before Linux 5.8 it does
    /// not).
    pub(super) fn has_mount_of(&self, other: &Self) -> bool {
        self.mount == other.mount
    }

    /// Whether both files are in the same file system.
    pub(super) fn has_device_of(&self, other: &Self) -> bool {
        self.device == other.device
    }
}

/// The devices of cached volumes whose file systems show the birth of a file only in some replies. Without births, a
/// file has one identity.
static WITHOUT_BIRTHS: RwLock<Vec<(u32, u32)>> = RwLock::new(Vec::new());

/// The file systems that always show births (`linux/magic.h`): ext4, XFS, Btrfs, tmpfs, F2FS and overlayfs.
const WITH_BIRTHS: &[u64] = &[0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x794c_7630];

/// Ignores births on the file system of this directory, unless it always shows them.
///
/// # Errors
///
/// If fstatfs(2) or statx(2) fails.
pub(super) fn ignore_uncertain_births(root: &OwnedFd) -> Result<(), Errno> {
    let kind = rustix::fs::fstatfs(root)?.f_type;
    if !WITH_BIRTHS.contains(&(kind as u64 & 0xffff_ffff)) {
        let stat = of_file(root)?;
        let device = (stat.stx_dev_major, stat.stx_dev_minor);
        let mut devices = WITHOUT_BIRTHS.write().unwrap_or_else(PoisonError::into_inner);
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    Ok(())
}

/// Calls statx(2), and removes an uncertain birth from its result.
///
/// # Errors
///
/// If statx(2) fails.
pub(super) fn query(at: impl AsFd, name: &[u8], flags: AtFlags) -> Result<Statx, Errno> {
    let mut stat = rustix::fs::statx(at, name, flags, WANTED)?;
    let devices = WITHOUT_BIRTHS.read().unwrap_or_else(PoisonError::into_inner);
    if devices.contains(&(stat.stx_dev_major, stat.stx_dev_minor)) {
        stat.stx_mask &= !StatxFlags::BTIME.bits();
    }
    Ok(stat)
}

/// Returns the attributes of `name` in `directory`. A symbolic link is not followed.
///
/// # Errors
///
/// If statx(2) fails.
pub(super) fn of_name(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    query(directory, name, flags)
}

/// Returns the attributes of the file behind a descriptor.
///
/// # Errors
///
/// If statx(2) fails.
pub(super) fn of_file(file: impl AsFd) -> Result<Statx, Errno> {
    query(file, b"", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)
}

/// Changes the attributes of another mount than the volume's: only the file type is shown, with access closed
/// to everybody.
pub(super) fn closed(stat: &mut Statx) {
    stat.stx_mode &= libc::S_IFMT as u16;
    (stat.stx_size, stat.stx_blocks) = (0, 0);
}

/// Whether a file that was opened in a directory is in another mount than the directory. The identity shows
/// this already, except on old kernels. Those are queried here.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub(super) fn leaves_mount(directory: &OwnedFd, file: &OwnedFd, stat: &Statx) -> Result<bool, Errno> {
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return Ok(false);
    }
    let number = |file: &OwnedFd| {
        let number = compat_sys::mount_number(file, Path::new("/proc"));
        number.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::ACCESS))
    };
    Ok(number(directory)? != number(file)?)
}

/// Whether the file has several names (link(2)). A directory never has.
pub(super) fn has_several_names(stat: &Statx) -> bool {
    stat.stx_nlink > 1 && kind(stat) != libc::S_IFDIR
}

/// The file's type bits (`S_IFMT`).
pub(super) fn kind(stat: &Statx) -> u32 {
    u32::from(stat.stx_mode) & libc::S_IFMT
}
