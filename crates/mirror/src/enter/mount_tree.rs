//! A mirror while it is built. A descriptor holds its root, and every mount inside is made on a descriptor. No symbolic
//! link is followed, and no name is looked up twice.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree, unmount,
};

use super::mount_table::{Mount, parse};
use super::plan::is_mirror;
use super::walk;

/// How often to search for a mirror whose mount point is renamed at the same time.
const ATTEMPTS: usize = 3;

/// A mirror, seen from the namespace in which it is mounted.
pub(super) struct MountTree<'a> {
    root: OwnedFd,
    /// The mirrored directory that its root shows.
    of_place: &'a [u8],
    /// The path of its root, as shown to users.
    place: &'a Path,
    /// A path to `/proc` that does not lead through a mirror.
    process: &'a Path,
}

impl<'a> MountTree<'a> {
    /// The mirror with this root at this path.
    pub(super) fn new(root: OwnedFd, place: &'a Path, process: &'a Path) -> Self {
        Self { root, of_place: b"/", place, process }
    }

    /// The same mirror, with a root that shows this directory and not `/`.
    pub(super) fn of_place(self, of_place: &'a [u8]) -> Self {
        Self { of_place, ..self }
    }

    /// A place relative to the directory that the root shows.
    fn relative<'p>(&self, place: &'p [u8]) -> &'p [u8] {
        let place = place.strip_prefix(self.of_place).unwrap_or(place);
        place.strip_prefix(b"/").unwrap_or(place)
    }

    /// The path of a place in the mirror, as shown to users.
    pub(super) fn shown(&self, place: &[u8]) -> PathBuf {
        let place = self.relative(place);
        if place.is_empty() { self.place.to_owned() } else { self.place.join(OsStr::from_bytes(place)) }
    }

    /// Opens a place in the mirror.
    ///
    /// # Errors
    ///
    /// Those of [`walk::open`].
    pub(super) fn open(&self, place: &[u8]) -> io::Result<OwnedFd> {
        walk::open(&self.root, self.relative(place))
    }

    /// The path of an open file for mount(2) and similar calls.
    pub(super) fn path(&self, file: &OwnedFd) -> PathBuf {
        walk::path_of(self.process, file)
    }

    /// Binds a place of the root into the mirror at `target`, with the mounts inside it except for mirrors. `copy`
    /// holds copies of its mounts. Without copies, `source` returns the place itself in this namespace. The binding is
    /// private, so that unmounting here does not unmount anything elsewhere.
    ///
    /// # Errors
    ///
    /// `ENOTDIR` if the place in the mirror has a different type, and those of mount(2) and move_mount(2).
    pub(super) fn bind(
        &self,
        (place, target): (&[u8], OwnedFd),
        copy: Option<OwnedFd>,
        source: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> io::Result<()> {
        if !copy.map_or(Ok(false), |copy| attach(&copy, &target))? {
            let source = source()?;
            assert_same_kind(&source, &target)?;
            // If this process is killed exactly here, the mounts stay shared.
            mount_bind_recursive(self.path(&source), self.path(&target))?;
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change(self.path(&self.open(place)?), private)?;
        }
        self.take_mirrors_out(place)
    }

    /// Binds a mount of the mirror to another place, with different flags. Other processes may already reach the
    /// mirror. With Linux 5.12 or newer, the place never appears without its flags.
    ///
    /// # Errors
    ///
    /// `ESTALE` if `source` is no longer a mount, and those of mount(2), mount_setattr(2) and move_mount(2).
    pub(super) fn bind_again(
        &self,
        source: OwnedFd,
        (place, target): (&[u8], OwnedFd),
        flags: MountFlags,
    ) -> io::Result<()> {
        let found = walk::look(&source)?;
        let is_known = found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
        if is_known && !found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            // The directory underneath belongs to a mount with other flags.
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        if let Some(copy) = copy_of(&source, OpenTreeFlags::empty())?
            && compat_sys::add_mount_flags(&copy, flags)?
            && attach(&copy, &target)?
        {
            return Ok(());
        }
        mount_bind(self.path(&source), self.path(&target))?;
        // The new mount covers the opened directory.
        let bound = self.open(place)?;
        Ok(mount_remount(self.path(&bound), MountFlags::BIND | flags, c"")?)
    }

    /// Unmounts the mirrors, of this run and of others, that are inside a bound place. The mounts there are private, so
    /// nothing else is unmounted.
    fn take_mirrors_out(&self, place: &[u8]) -> io::Result<()> {
        let bound = compat_sys::mount_number(self.open(place)?, self.process)?;
        for _ in 0..ATTEMPTS {
            let mounts = parse(&fs::read(self.process.join("thread-self/mountinfo"))?);
            let is_inside = |mount: &&Mount| is_mirror(mount) && lies_under(&mounts, mount, bound);
            let mirrors: Vec<&Mount> = mounts.iter().filter(is_inside).collect();
            if mirrors.is_empty() {
                break;
            }
            let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            for mirror in mirrors {
                // A mirror inside another one is already gone with it. In a user namespace, mounts of others cannot be
                // unmounted.
                let _ = self.take_out(&root, mirror);
            }
        }
        Ok(())
    }

    /// Unmounts this mount, but not another one that may have taken its place.
    fn take_out(&self, root: &OwnedFd, mount: &Mount) -> io::Result<()> {
        let file = walk::open(root, &mount.place)?;
        if compat_sys::mount_number(&file, self.process)? == mount.number {
            unmount(self.path(&file), UnmountFlags::DETACH)?;
        }
        Ok(())
    }

    /// Lets the kernel request the size of a single-file volume. Until then the kernel takes the file for empty, and
    /// sendfile(2) does not request the size. An error here appears again when the file is opened.
    pub(super) fn ask_size(&self, file: &OwnedFd) {
        let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
        let known = statx(file, c"", flags | AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE);
        if known.is_ok_and(|stat| u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG) {
            let _ = statx(file, c"", flags | AtFlags::STATX_FORCE_SYNC, StatxFlags::SIZE);
        }
    }
}

/// Attaches copied mounts to a place. Returns whether the kernel and system call filters allow it.
fn attach(copy: &OwnedFd, target: &OwnedFd) -> io::Result<bool> {
    assert_same_kind(copy, target)?;
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match move_mount(copy, c"", target, c"", by_descriptor) {
        Ok(()) => Ok(true),
        Err(Errno::NOSYS | Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a mount has this number or is inside the mount with this number.
fn lies_under(mounts: &[Mount], mount: &Mount, number: u64) -> bool {
    let mut at = Some(mount);
    // The table is a tree. The bound guarantees an end for malformed tables.
    for _ in 0..=mounts.len() {
        match at {
            Some(mount) if mount.number == number => return true,
            Some(mount) => at = mounts.iter().find(|other| other.number == mount.parent),
            None => return false,
        }
    }
    false
}

fn assert_same_kind(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    if walk::kind(&walk::look(source)?) == walk::kind(&walk::look(target)?) {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::ENOTDIR))
}

/// Returns a detached copy of the mounts at and in an open place of this process's namespace. In a namespace with
/// private mounts, the copy shares nothing with other mounts. Returns `None` if the kernel does not support such copies
/// (before Linux 5.2) or a system call filter forbids them.
///
/// # Errors
///
/// Those of open_tree(2).
pub(super) fn copy_mounts(place: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    copy_of(place, OpenTreeFlags::AT_RECURSIVE)
}

fn copy_of(place: &OwnedFd, further: OpenTreeFlags) -> io::Result<Option<OwnedFd>> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    match open_tree(place, c"", flags | further) {
        Ok(copy) => Ok(Some(copy)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_mount_is_found_by_the_mounts_above_it() {
        let table = b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /run rw - tmpfs b rw\n\
            3 2 0:3 / /run/x rw - fuse.compat c rw\n4 1 0:4 / /running rw - fuse.compat d rw\n";
        let mounts = parse(table);
        let found: Vec<u64> =
            mounts.iter().filter(|mount| lies_under(&mounts, mount, 2)).map(|mount| mount.number).collect();
        assert_eq!(found, [2, 3]);
    }

    #[test]
    fn a_directory_is_not_bound_over_anything_else() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("file"), "").expect("a file");
        std::os::unix::fs::symlink(".", directory.path().join("link")).expect("a link");
        let open = |path: &Path| {
            rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).expect("it is there")
        };
        let source = open(directory.path());
        let error = |name: &str| {
            assert_same_kind(&source, &open(&directory.path().join(name)))
                .expect_err("another sort")
                .raw_os_error()
        };
        assert_eq!([error("file"), error("link")], [Some(libc::ENOTDIR); 2]);
        assert!(assert_same_kind(&source, &open(Path::new("/"))).is_ok());
    }
}
