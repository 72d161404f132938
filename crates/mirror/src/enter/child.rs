//! The process that becomes the command. It mounts the mirror, enters it and executes the command. A rank that joins
//! enters an existing mirror.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, PipeWriter, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{
    DumpableBehavior, Pid, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
};

use super::control::{FailureReport, ServerMessage};
use super::error::Error;
use super::external_mount::{ExternalMount, MountNamespace};
use super::mount_tree::{MountTree, copy_mounts};
use super::namespace::Users;
use super::namespace_access::NamespaceAccess;
use super::plan::MountStep;
use super::start::{CommandPipes, Start};
use super::streams::let_go_of_streams;
use super::{Mounted, Task, mount_table::Mount, walk};
use compat_sys::SignalSet;

/// Becomes the command, or reports the reason for a failure. Does not return.
pub(super) fn run(start: Start<'_>, mut pipes: CommandPipes, supervisor: Pid) -> ! {
    let report = match become_task(start, &mut pipes, supervisor) {
        Ok(error) => FailureReport::NotExecuted(error),
        Err(error) => FailureReport::Failed(error),
    };
    let _ = report.send(&mut pipes.report);
    std::process::exit(1)
}

/// Returns the error of execve(2) if the command cannot be executed.
fn become_task(mut start: Start<'_>, pipes: &mut CommandPipes, supervisor: Pid) -> Result<io::Error, Error> {
    end_with(supervisor)?;
    // The program is searched for in the old root, which has the same files. Failed lookups there cause no requests to
    // the server.
    let found = match &start.options.task {
        Task::Command(command) => {
            set_directory(start.directory)?;
            Some(find_program(&command[0]))
        }
        Task::Wait => None,
    };
    let mut volumes = std::mem::take(&mut start.volumes);
    let outside = volumes.split_off(start.plan.mirrors().count());
    let first = volumes.len() as u32;
    let bound = std::mem::take(&mut start.bound);
    if let Some(place) = start.outside {
        make_outside(&start, place, first, outside, &bound, &mut pipes.server)?;
    }
    make_inside(&start, volumes, &bound, &mut pipes.server)?;
    set_directory(start.directory)?;
    begin(pipes)?;
    let (Task::Command(command), Some(found)) = (&start.options.task, found) else {
        wait(pipes, &start.before)
    };
    Ok(match found {
        Ok(program) => execute(&program, command, &start.before),
        Err(error) => error,
    })
}

/// Tells the server that everything from here on belongs to the command.
fn begin(pipes: &mut CommandPipes) -> Result<(), Error> {
    let failed = |source| Error::Process { doing: "reach the mirror's server", source };
    ServerMessage::Begin(std::process::id()).send(&mut pipes.server).map_err(failed)?;
    pipes.answer.read_exact(&mut [0]).map_err(failed)
}

/// Keeps the mirror available until a signal terminates this process.
fn wait(pipes: &mut CommandPipes, before: &SignalSet) -> ! {
    let_go_of_streams();
    // The kernel makes a process non-dumpable when it enters a user namespace. Its own user could not enter the mirror
    // through it.
    let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    // The supervisor sees the end of the pipe, as after a successful execve(2).
    if let Ok((_, nobody)) = io::pipe() {
        pipes.report = nobody;
    }
    compat_sys::restore(before);
    loop {
        std::thread::park();
    }
}

/// Becomes the command of a rank in an existing mirror, or reports the reason for a failure. Does not return.
pub(super) fn join(
    command: &[OsString],
    directory: &Path,
    access: &mut NamespaceAccess,
    before: &SignalSet,
    mut pipe: PipeWriter,
    supervisor: Pid,
) -> ! {
    let report = match enter_and_execute(command, directory, access, before, supervisor) {
        Ok(error) => FailureReport::NotExecuted(error),
        Err(error) => FailureReport::Failed(error),
    };
    let _ = report.send(&mut pipe);
    std::process::exit(1)
}

fn enter_and_execute(
    command: &[OsString],
    directory: &Path,
    access: &mut NamespaceAccess,
    before: &SignalSet,
    supervisor: Pid,
) -> Result<io::Error, Error> {
    set_directory(directory)?;
    let found = find_program(&command[0]);
    access.enter().map_err(Error::Join)?;
    end_with(supervisor)?;
    set_directory(directory)?;
    let program = match found {
        Ok(program) => program,
        Err(error) => return Ok(error),
    };
    access.begin().map_err(Error::Join)?;
    Ok(execute(&program, command, before))
}

/// Lets the kernel kill this process when its supervisor ends.
fn end_with(supervisor: Pid) -> Result<(), Error> {
    let failed = |source| Error::Process { doing: "set the parent death signal", source };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed(error.into()))?;
    if getppid() != Some(supervisor) {
        std::process::exit(1);
    }
    Ok(())
}

fn set_directory(directory: &Path) -> Result<(), Error> {
    std::env::set_current_dir(directory)
        .map_err(|source| Error::Directory { path: directory.to_owned(), source })
}

/// Executes the command, or returns the error.
fn execute(program: &Path, command: &[OsString], before: &SignalSet) -> io::Error {
    compat_sys::restore(before);
    compat_sys::execute(Command::new(program).arg0(&command[0]).args(&command[1..]))
}

/// Mounts the mirror in the original mount namespace and returns to the own namespace.
fn make_outside(
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
    let copies = bound.iter().map(copy_mounts).collect::<Vec<_>>();
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
    let tree = MountTree::new(root, outside.place(), process);
    add_all(start, &tree, volumes, |_| shown, server)?;
    for ((place, copy), source) in start.plan.bound().zip(copies).zip(bound) {
        bind(&tree, place, copy, || outside.find(place, source))?;
    }
    own.enter().map_err(failed)
}

/// Makes the planned mounts and enters them. The working directory stays in the old root, so that a relative path
/// reaches its `/proc`.
fn make_inside(
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
    mount_mirror(start, mount, root, place, ShownMount::of(mount)).map_err(failed)?;
    ServerMessage::Mounted(number).send(server).map_err(failed)?;
    // A mount over `/` is reached through the name `/..`.
    rustix::process::chroot("/..").map_err(|error| failed(error.into()))?;
    let root = rustix::fs::open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let tree = MountTree::new(root.map_err(|error| failed(error.into()))?, place, process);
    add_all(start, &tree, volumes, ShownMount::of, server)?;
    for (place, source) in start.plan.bound().zip(bound) {
        bind(&tree, place, copy_mounts(source), || source.try_clone())?;
    }
    Ok(())
}

/// Mounts all volumes except the root at all their places. `shown` returns the source and options that the mount table
/// shows for a volume.
fn add_all<'a>(
    start: &Start<'a>,
    tree: &MountTree<'_>,
    mut volumes: impl Iterator<Item = (u32, Mounted)>,
    shown: impl Fn(&'a Mount) -> ShownMount<'a>,
    server: &mut PipeWriter,
) -> Result<(), Error> {
    // The first step is the root.
    for step in start.plan.steps.iter().skip(1) {
        match step {
            MountStep::Mirror(mount) => {
                let Some((number, volume)) = volumes.next() else { return Ok(()) };
                add(start, tree, number, volume, mount, shown(mount), server)?;
            }
            MountStep::Again { mount, first } => add_again(start, tree, mount, first)?,
            MountStep::Bind(_) => {}
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
    let gone = [libc::ENOENT, libc::ENOTCONN, libc::ESTALE, libc::ENOTDIR, libc::ELOOP];
    error.raw_os_error().is_some_and(|number| gone.contains(&number))
}

/// The option that marks an external mirror in the mount table (`plan::is_mirror`).
const SUBTYPE: &str = ",subtype=compat";

/// The source and options of a mirror in the mount table.
#[derive(Clone, Copy)]
struct ShownMount<'a> {
    source: &'a OsStr,
    /// Options in addition to those of every mirror, each with a leading comma.
    further: &'a str,
}

impl<'a> ShownMount<'a> {
    /// Shows the source of the mirrored mount.
    fn of(mount: &'a Mount) -> Self {
        Self { source: OsStr::from_bytes(&mount.source), further: "" }
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

/// Finds a program like execvp(3), but in the old root. These lookups are not the command's, and they are faster there.
fn find_program(name: &OsStr) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let directories = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = None;
    for directory in directories.as_bytes().split(|byte| *byte == b':') {
        let mut path = if directory.is_empty() { b".".to_vec() } else { directory.to_vec() };
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        let path = PathBuf::from(OsString::from_vec(path));
        match rustix::fs::access(&path, rustix::fs::Access::EXEC_OK) {
            Ok(()) if path.is_file() => return Ok(path),
            Ok(()) => refused = Some(io::Error::from_raw_os_error(libc::EACCES)),
            Err(rustix::io::Errno::ACCESS) => refused = Some(io::Error::from_raw_os_error(libc::EACCES)),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::from_raw_os_error(libc::ENOENT)))
}
