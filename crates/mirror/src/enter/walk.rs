//! Walks to a place: component by component from an open root, and never through a symbolic link. The result is used
//! through its descriptor, so nobody can replace it by renaming.
//!
//! A path can be longer than the 4,096 bytes that the kernel accepts at once.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags, openat, statx};
use rustix::process::geteuid;

/// The flags for each component: opens the file itself, whatever its type.
const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The mode bit that lets everyone write.
const BY_OTHERS: u16 = 0o002;

/// Opens a place (`O_PATH`). An empty place or `/` is the root itself.
///
/// # Errors
///
/// `ENOTDIR` if a link is on the way, `ELOOP` if the place is a link, and those of openat(2).
pub(super) fn open(root: impl AsFd, place: &[u8]) -> io::Result<OwnedFd> {
    walk(root, place, |_, _| true)
}

/// Opens a place like [`open`], but only if no other user can have created it. Every file in a directory that everyone
/// can write to must belong to root or to this user.
///
/// # Errors
///
/// Those of [`open`], and `EACCES` if another user may have created it.
pub(super) fn open_trusted(root: impl AsFd, place: &[u8]) -> io::Result<OwnedFd> {
    walk(root, place, is_trusted)
}

/// Opens a place like [`open`]. It must be the same file as `known`.
///
/// # Errors
///
/// Those of [`open`], and `ESTALE` if it is a different file.
pub(super) fn open_known(root: impl AsFd, place: &[u8], known: &OwnedFd) -> io::Result<OwnedFd> {
    let found = open(root, place)?;
    let same = identity(&look(&found)?) == identity(&look(known)?);
    same.then_some(found).ok_or_else(|| io::Error::from_raw_os_error(libc::ESTALE))
}

fn walk(root: impl AsFd, place: &[u8], accept: impl Fn(&Statx, &Statx) -> bool) -> io::Result<OwnedFd> {
    let mut found = openat(root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mut directory = look(&found)?;
    for name in place.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        found = openat(&found, name, STEP, Mode::empty())?;
        let next = look(&found)?;
        if !accept(&directory, &next) {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        directory = next;
    }
    if kind(&directory) == FileType::Symlink {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    Ok(found)
}

/// Whether not everyone can write to the directory, or the file in it belongs to root or to this user.
pub(super) fn is_trusted(directory: &Statx, found: &Statx) -> bool {
    directory.stx_mode & BY_OTHERS == 0 || is_own(found)
}

/// Whether the file belongs to root or to this user.
pub(super) fn is_own(found: &Statx) -> bool {
    found.stx_uid == 0 || found.stx_uid == geteuid().as_raw()
}

/// Returns the attributes of an open file without a request to the server of its file system. A file system that is
/// just being mounted is not served yet.
///
/// # Errors
///
/// Those of statx(2).
pub(super) fn look(file: impl AsFd) -> io::Result<Statx> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    Ok(statx(file, c"", flags, StatxFlags::BASIC_STATS)?)
}

/// The type of a file.
pub(super) fn kind(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

/// The identity of a file: major and minor device number, and inode number.
pub(super) type WalkedIdentity = (u32, u32, u64);

/// Returns the identity of a file.
pub(super) fn identity(stat: &Statx) -> WalkedIdentity {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

/// A path to an open file, for system calls that do not take a descriptor. `process` is the path of `/proc`.
pub(super) fn path_of(process: &Path, file: &OwnedFd) -> PathBuf {
    process.join(format!("self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn root(directory: &Path) -> OwnedFd {
        rustix::fs::open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a directory")
    }

    #[test]
    fn no_link_is_followed_on_the_way_or_at_its_end() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(directory.path().join("a/b")).expect("directories");
        symlink("a", directory.path().join("link")).expect("a link");
        symlink("b", directory.path().join("a/end")).expect("a link");
        let root = root(directory.path());
        let found = open(&root, b"/a/b").expect("it is there");
        let expected = fs::metadata(directory.path().join("a/b")).expect("it is there");
        assert_eq!(look(found).expect("facts").stx_ino, expected.ino());
        let error = |place: &[u8]| open(&root, place).expect_err("a link").raw_os_error();
        assert_eq!([error(b"/link/b"), error(b"/a/end")], [Some(libc::ENOTDIR), Some(libc::ELOOP)]);
        assert_eq!(error(b"/a/none"), Some(libc::ENOENT));
    }

    #[test]
    fn a_path_may_be_longer_than_the_kernel_takes() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = root(directory.path());
        let name = "n".repeat(200);
        let mut place = Vec::new();
        let mut inner = root.try_clone().expect("a descriptor");
        for _ in 0..30 {
            rustix::fs::mkdirat(&inner, &name, Mode::RWXU).expect("a directory");
            inner = openat(&inner, &name, STEP, Mode::empty()).expect("it is there");
            place.extend_from_slice(format!("/{name}").as_bytes());
        }
        let found = open(&root, &place).expect("it is there");
        let of = |file: &OwnedFd| identity(&look(file).expect("facts"));
        assert!(place.len() > 4096 && of(&found) == of(&inner));
    }

    #[test]
    fn what_others_may_have_put_there_is_not_trusted() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("mine")).expect("a directory");
        let root = root(directory.path());
        let writable = |mode| {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
            open_trusted(&root, b"mine").is_ok()
        };
        assert!(writable(0o755) && writable(0o1777));
        if geteuid().is_root() {
            std::os::unix::fs::chown(directory.path().join("mine"), Some(1234), None).expect("it is ours");
            assert!(writable(0o755) && !writable(0o1777) && !writable(0o777));
        }
    }
}
