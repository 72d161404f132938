//! Makes the mounts of a plan: inside, where they vanish with the last process, and outside.

use std::ffi::{CString, OsStr};
use std::io::{self, PipeWriter};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::control::ServerMessage;
use super::error::Error;
use super::external_mount::{ExternalMount, MountNamespace};
use super::inner_namespace::InnerNamespace;
use super::mount_table::Mount;
use super::mount_tree::{MountTree, copy_mounts};
use super::namespace::Users;
use super::plan::MountStep;
use super::start::Start;
use super::{Mounted, walk};

/// Mounts the mirror in the original mount namespace and returns to the own namespace.
pub(super) fn make_outside(
    start: &Start<'_>,
    outside: &ExternalMount,
    first: u32,
    volumes: Vec<Mounted>,
    bound: &[OwnedFd],
    server: &mut PipeWriter,
) -> Result<(), Error> {
    let failed = |source| Error::MountPath { path: outside.place().to_owned(), source };
    let process = Path::new("/proc");
    let own = MountNamespace::current().map_err(failed)?;
    let mut copies = bound.iter().map(copy_mounts).collect::<Vec<_>>().into_iter().zip(bound);
    outside.enter().map_err(failed)?;
    let shown = ShownMount { source: OsStr::new(outside.mark()), further: SUBTYPE };
    let mut volumes = (first..).zip(volumes);
    let Some(((_, root), mount)) = volumes.next().zip(start.plan.mirrors().next()) else {
        return own.enter().map_err(failed);
    };
    let target = walk::path_of(process, outside.directory());
    mount_mirror(start, mount, root, &target, shown).map_err(failed)?;
    outside.assert_first().map_err(failed)?;
    let root = outside.root().map_err(failed)?;
    let private = mount_change(walk::path_of(process, &root), MountPropagationFlags::PRIVATE);
    private.map_err(|error| failed(error.into()))?;
    ServerMessage::Mounted(first).send(server).map_err(failed)?;
    let tree = MountTree::new(root, outside.place(), process).of_place(&mount.place);
    let mut bind_next = |place: &[u8]| {
        let Some((copy, source)) = copies.next() else { return Ok(()) };
        bind(&tree, place, copy, || outside.find(place, source))
    };
    add_all(start, &tree, (&start.plan.steps[1..], volumes), |_| shown, &mut bind_next, server)?;
    own.enter().map_err(failed)
}

/// Makes the planned mounts and enters them. The working directory stays in the old root, so that a relative path
/// reaches its `/proc`.
pub(super) fn make_inside(
    start: &Start<'_>,
    volumes: Vec<Mounted>,
    bound: &[OwnedFd],
    server: &mut PipeWriter,
) -> Result<(), Error> {
    let (place, process) = (Path::new("/"), Path::new("proc"));
    let failed = |source: io::Error| Error::Mount { place: place.to_owned(), source };
    std::env::set_current_dir(place).map_err(failed)?;
    let mut volumes = (0..).zip(volumes);
    let Some(((number, root), mount)) = volumes.next().zip(start.plan.mirrors().next()) else {
        return Ok(());
    };
    let shown = |mount| ShownMount::of(mount, start);
    mount_mirror(start, mount, root, place, shown(mount)).map_err(failed)?;
    ServerMessage::Mounted(number).send(server).map_err(failed)?;
    // A mount over `/` is reached through the name `/..`.
    rustix::process::chroot("/..").map_err(|error| failed(error.into()))?;
    let root = rustix::fs::open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let tree = MountTree::new(root.map_err(|error| failed(error.into()))?, place, process);
    let mut sources = bound.iter();
    let mut bind_next = |place: &[u8]| {
        let Some(source) = sources.next() else { return Ok(()) };
        bind(&tree, place, copy_mounts(source), || source.try_clone())
    };
    add_all(start, &tree, (&start.plan.steps[1..], volumes), shown, &mut bind_next, server)
}

/// Enters the namespace of the command and mounts the mirrors of the shares over their originals.
pub(super) fn make_shares(
    start: &Start<'_>,
    inner: &InnerNamespace,
    volumes: Vec<Mounted>,
    bound: &[OwnedFd],
    server: &mut PipeWriter,
) -> Result<(), Error> {
    let (place, process) = (Path::new("/"), Path::new("/proc"));
    let failed = |source: io::Error| Error::Mount { place: place.to_owned(), source };
    inner.enter().map_err(failed)?;
    // The mirrors will cover these places.
    let find = |(place, known)| inner.find(place, known).and_then(|found| Ok((copy_mounts(&found)?, found)));
    let mut sources = start.plan.bound().zip(bound).map(find).collect::<Vec<_>>().into_iter();
    let tree = MountTree::new(inner.root().try_clone().map_err(failed)?, place, process);
    let mut bind_next = |place: &[u8]| match sources.next() {
        Some(Ok((copy, found))) => bind(&tree, place, Ok(copy), || Ok(found)),
        Some(Err(error)) => {
            bind(&tree, place, Err(error), || Err(io::Error::from_raw_os_error(libc::ESTALE)))
        }
        None => Ok(()),
    };
    let shown = |mount| ShownMount::of(mount, start);
    add_all(start, &tree, (&start.plan.steps, (0..).zip(volumes)), shown, &mut bind_next, server)
}

/// Takes these steps. `shown` returns the source and options that the mount table shows for a volume. `bind_next`
/// binds the next bound place.
fn add_all<'a>(
    start: &Start<'a>,
    tree: &MountTree<'_>,
    (steps, mut volumes): (&'a [MountStep], impl Iterator<Item = (u32, Mounted)>),
    shown: impl Fn(&'a Mount) -> ShownMount<'a>,
    bind_next: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    server: &mut PipeWriter,
) -> Result<(), Error> {
    for step in steps {
        match step {
            MountStep::Mirror(mount) => {
                let Some((number, volume)) = volumes.next() else { return Ok(()) };
                add(start, tree, number, volume, mount, shown(mount), server)?;
            }
            MountStep::Again { mount, first } => add_again(start, tree, mount, first)?,
            MountStep::Bind(place) => bind_next(place)?,
        }
    }
    Ok(())
}

/// Binds the mirror of a directory to another mount point of that directory, with the flags of that mount.
fn add_again(start: &Start<'_>, tree: &MountTree<'_>, planned: &Mount, first: &[u8]) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Mount { place: tree.shown(&planned.place), source };
    let Some(source) = open_target(tree, first)? else { return Ok(()) };
    let Some(target) = open_target(tree, &planned.place)? else { return Ok(()) };
    let mut flags = planned.flags;
    flags.set(MountFlags::RDONLY, start.options.read_only || flags.contains(MountFlags::RDONLY));
    match tree.bind_again(source, (&planned.place, target), flags) {
        Err(error) if is_gone(&error) => Ok(()),
        other => other.map_err(failed),
    }
}

/// Mounts a volume other than the root. A volume is skipped if it was removed or its server ended since it was opened,
/// if a link has replaced its mount point, or if the volume around it was skipped.
fn add(
    start: &Start<'_>,
    tree: &MountTree<'_>,
    number: u32,
    volume: Mounted,
    planned: &Mount,
    shown: ShownMount<'_>,
    server: &mut PipeWriter,
) -> Result<(), Error> {
    let failed = |source| Error::Mount { place: tree.shown(&planned.place), source };
    let Some(target) = open_target(tree, &planned.place)? else { return Ok(()) };
    match mount_mirror(start, planned, volume, &tree.path(&target), shown) {
        Err(error) if is_gone(&error) => return Ok(()),
        other => other.map_err(failed)?,
    }
    ServerMessage::Mounted(number).send(server).map_err(failed)?;
    // The mirror now covers the opened directory.
    if let Some(root) = open_target(tree, &planned.place)? {
        tree.ask_size(&root);
    }
    Ok(())
}

/// Binds a place. It is skipped if it was removed since it was opened.
fn bind(
    tree: &MountTree<'_>,
    place: &[u8],
    copy: io::Result<Option<OwnedFd>>,
    source: impl FnOnce() -> io::Result<OwnedFd>,
) -> Result<(), Error> {
    let Some(target) = open_target(tree, place)? else { return Ok(()) };
    match copy.and_then(|copy| tree.bind((place, target), copy, source)) {
        Err(source) if !is_gone(&source) => Err(Error::Mount { place: tree.shown(place), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Opens a mount point, or returns `None` if it no longer exists or cannot be reached.
fn open_target(tree: &MountTree<'_>, place: &[u8]) -> Result<Option<OwnedFd>, Error> {
    match tree.open(place) {
        Ok(target) => Ok(Some(target)),
        Err(error) if is_gone(&error) || error.raw_os_error() == Some(libc::EACCES) => Ok(None),
        Err(source) => Err(Error::Mount { place: tree.shown(place), source }),
    }
}

/// Whether an error means that a mount point no longer exists or has become a link or a file.
fn is_gone(error: &io::Error) -> bool {
    let gone = [libc::ENOENT, libc::ENOTCONN, libc::ECONNABORTED, libc::ESTALE, libc::ENOTDIR, libc::ELOOP];
    error.raw_os_error().is_some_and(|number| gone.contains(&number))
}

/// The option that marks an external mirror in the mount table (`plan::is_mirror`).
const SUBTYPE: &str = ",subtype=compat";

/// The option that marks the mirror of a share (`plan::SHARE_MIRROR`).
const SHARE_SUBTYPE: &str = ",subtype=compat-share";

/// The source and options of a mirror in the mount table.
#[derive(Clone, Copy)]
struct ShownMount<'a> {
    source: &'a OsStr,
    /// Options in addition to those of every mirror, each with a leading comma.
    further: &'a str,
}

impl<'a> ShownMount<'a> {
    /// Shows the source of the mirrored mount. The mirror of a share is marked, so that no further mirror is made of it.
    fn of(mount: &'a Mount, start: &Start<'_>) -> Self {
        let further = if start.options.mirrored.is_partial() { SHARE_SUBTYPE } else { "" };
        Self { source: OsStr::from_bytes(&mount.source), further }
    }
}

/// Mounts a volume at `target`.
fn mount_mirror(
    start: &Start<'_>,
    planned: &Mount,
    volume: Mounted,
    target: &Path,
    shown: ShownMount<'_>,
) -> io::Result<()> {
    let stat = rustix::fs::fstat(&volume.root)?;
    let (user, group) = match start.users {
        Users::Many => (0, 0),
        Users::One { user, group } => (user, group),
    };
    let permissions = if start.users == Users::Many { ",default_permissions" } else { "" };
    let ShownMount { source, further } = shown;
    let options = format!(
        "fd={},rootmode={:o},user_id={user},group_id={group},allow_other{permissions}{further}",
        volume.device.as_raw_fd(),
        stat.st_mode & libc::S_IFMT,
    );
    let mut flags = planned.flags;
    flags.set(MountFlags::RDONLY, volume.read_only);
    let options = CString::new(options)?;
    Ok(mount(source, target, c"fuse", flags, options.as_c_str())?)
}
