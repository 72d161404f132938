//! Directories that are private to this user, and locks in them.
//!
//! Each directory is opened and checked once, and then reached through its descriptor. So nobody can exchange it. It
//! may be in a directory that everyone can write to, such as `/tmp`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Statx};
use rustix::io::Errno;
use rustix::path::Arg;
use rustix::process::geteuid;

use super::walk;

/// The reason that a file is not a private directory of this user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPrivate {
    /// It is another kind of file, for example a symbolic link.
    #[error("it is not a directory")]
    NotDirectory,
    /// Another user owns it.
    #[error("it belongs to another user ({0})")]
    Foreign(u32),
    /// Its mode gives rights to other users.
    #[error("other users can enter it (mode {0:o})")]
    Open(u16),
}

/// Opens a private directory of this user (`O_PATH`), and creates it if necessary.
///
/// # Errors
///
/// Those of [`existing`], and those of mkdirat(2).
pub(crate) fn made(parent: impl AsFd, path: impl Arg + Copy) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(&parent, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => existing(parent, path),
        Err(error) => Err(error.into()),
    }
}

/// Opens a private directory of this user (`O_PATH`). The last component of the path must not be a link.
///
/// # Errors
///
/// If it is not private ([`NotPrivate`]), and those of openat(2).
pub(crate) fn existing(parent: impl AsFd, path: impl Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, path, flags, Mode::empty())?;
    assert_own(&walk::look(&directory)?, geteuid().as_raw())?;
    Ok(directory)
}

fn assert_own(stat: &Statx, user: u32) -> io::Result<()> {
    let fault = match walk::kind(stat) {
        FileType::Directory if stat.stx_uid != user => NotPrivate::Foreign(stat.stx_uid),
        FileType::Directory if stat.stx_mode & 0o077 != 0 => NotPrivate::Open(stat.stx_mode & 0o7777),
        FileType::Directory => return Ok(()),
        _ => NotPrivate::NotDirectory,
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, fault))
}

/// Takes the lock on a file of a private directory, and creates the file if necessary. The lock lasts until the last
/// copy of the descriptor is closed.
///
/// Returns `None` if another process holds the lock, or if the file was removed or replaced meanwhile.
///
/// # Errors
///
/// Those of openat(2) and flock(2).
pub(crate) fn lock(directory: impl AsFd, name: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // The previous holder removes its lock file. A lock on a removed file excludes nobody.
    let named = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let stat = rustix::fs::fstat(&lock)?;
    Ok(named.is_ok_and(|named| named.st_ino == stat.st_ino && named.st_dev == stat.st_dev).then_some(lock))
}
