//! The process that becomes the command: mounts the mirror, enters it, executes. A rank that joins enters
//! a mirror that is there.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::process::{
    DumpableBehavior, Pid, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
};

use super::control::{Message, Report};
use super::error::Error;
use super::join::Invitation;
use super::namespace::Users;
use super::outside::{Namespace, Outside, copy_mounts, take_mirrors_out};
use super::plan::Step;
use super::supervisor::Start;
use super::{Mounted, Task, mount_table::Mount};
use crate::sys::{self, SignalSet};

/// The ends of the pipes that the command's process holds.
pub struct Pipes {
    pub server: PipeWriter,
    pub answer: PipeReader,
    pub report: PipeWriter,
}

/// Becomes the command, or reports why not; does not come back.
pub fn run(start: Start<'_>, mut pipes: Pipes, supervisor: Pid) -> ! {
    let report = match become_task(start, &mut pipes, supervisor) {
        Ok(error) => Report::NotExecuted(error),
        Err(error) => Report::Failed(error),
    };
    let _ = report.send(&mut pipes.report);
    std::process::exit(1)
}

/// Comes back with the error where the command cannot be executed.
fn become_task(mut start: Start<'_>, pipes: &mut Pipes, supervisor: Pid) -> Result<io::Error, Error> {
    end_with(supervisor)?;
    // In the old root, where it is the same: what is looked for in vain there asks nothing of the server.
    let found = match &start.options.task {
        Task::Command(command) => {
            set_folder(start.folder)?;
            Some(find_program(&command[0]))
        }
        Task::Wait => None,
    };
    let mut volumes = std::mem::take(&mut start.volumes);
    let outside = volumes.split_off(start.plan.mirrors().count());
    let first = volumes.len() as u32;
    if let Some(place) = start.outside {
        make_outside(&start, place, (first, outside), &mut pipes.server)?;
    }
    make_mounts(&start, volumes, &mut pipes.server)?;
    set_folder(start.folder)?;
    begin(pipes)?;
    let (Task::Command(command), Some(found)) = (&start.options.task, found) else {
        wait(pipes, &start.before)
    };
    Ok(match found {
        Ok(program) => execute(&program, command, &start.before),
        Err(error) => error,
    })
}

/// From here on everything is the command's.
fn begin(pipes: &mut Pipes) -> Result<(), Error> {
    let failed = |source| Error::Process { doing: "reach the server", source };
    Message::Begin(std::process::id()).send(&mut pipes.server).map_err(failed)?;
    pipes.answer.read_exact(&mut [0]).map_err(failed)
}

/// Stands for the mirror until a signal ends it.
fn wait(pipes: &mut Pipes, before: &SignalSet) -> ! {
    super::supervisor::let_go_of_streams();
    // A process that has entered a user namespace is closed even to its own user, who is to enter through it.
    let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    // The supervisor sees the end of the pipe, as it does when a command is executed.
    if let Ok((_, nobody)) = io::pipe() {
        pipes.report = nobody;
    }
    sys::restore(before);
    loop {
        std::thread::park();
    }
}

/// Becomes a rank's command in a mirror that is there, or reports why not; does not come back.
pub fn join(
    command: &[OsString],
    folder: &Path,
    invitation: &mut Invitation,
    before: &SignalSet,
    mut pipe: PipeWriter,
    supervisor: Pid,
) -> ! {
    let report = match enter_and_execute(command, folder, invitation, before, supervisor) {
        Ok(error) => Report::NotExecuted(error),
        Err(error) => Report::Failed(error),
    };
    let _ = report.send(&mut pipe);
    std::process::exit(1)
}

fn enter_and_execute(
    command: &[OsString],
    folder: &Path,
    invitation: &mut Invitation,
    before: &SignalSet,
    supervisor: Pid,
) -> Result<io::Error, Error> {
    set_folder(folder)?;
    let found = find_program(&command[0]);
    invitation.enter().map_err(Error::Join)?;
    end_with(supervisor)?;
    set_folder(folder)?;
    let program = match found {
        Ok(program) => program,
        Err(error) => return Ok(error),
    };
    invitation.begin().map_err(Error::Join)?;
    Ok(execute(&program, command, before))
}

/// The system ends this process with its supervisor from here on.
fn end_with(supervisor: Pid) -> Result<(), Error> {
    let failed = |source| Error::Process { doing: "watch", source };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed(error.into()))?;
    if getppid() != Some(supervisor) {
        std::process::exit(1);
    }
    Ok(())
}

fn set_folder(folder: &Path) -> Result<(), Error> {
    std::env::set_current_dir(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })
}

/// Executes the command, or tells why it cannot be.
fn execute(program: &Path, command: &[OsString], before: &SignalSet) -> io::Error {
    sys::restore(before);
    sys::execute(Command::new(program).arg0(&command[0]).args(&command[1..]))
}

/// Mounts the mirror where this process came from, and comes back.
fn make_outside(
    start: &Start<'_>,
    outside: &Outside,
    (first, volumes): (u32, Vec<Mounted>),
    server: &mut PipeWriter,
) -> Result<(), Error> {
    let failed = |source| Error::MountPath { path: outside.place().to_owned(), source };
    let own = Namespace::current().map_err(failed)?;
    let copies = start.plan.bound().map(|place| (place, copy_mounts(place))).collect::<Vec<_>>();
    outside.enter().map_err(failed)?;
    for ((number, volume), mount) in (first..).zip(volumes).zip(start.plan.mirrors()) {
        let place = outside.inner(&mount.place);
        let mark = OsStr::new(outside.mark());
        match mount_mirror(start, mount, volume, (&place, mark, SUBTYPE)) {
            Err(Error::Mount { source, .. }) if number > first && is_gone(&source) => continue,
            other => other?,
        }
        if number == first {
            outside.assert_first().map_err(failed)?;
        }
        mount_change(&place, MountPropagationFlags::PRIVATE).map_err(|error| failed(error.into()))?;
        Message::Mounted(number).send(server).map_err(failed)?;
        ask_size(&place);
    }
    for (place, copy) in copies {
        match copy.and_then(|copy| outside.bind(place, copy)) {
            Err(source) if !is_gone(&source) => {
                return Err(Error::Mount { place: outside.inner(place), source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    own.enter().map_err(failed)
}

/// Makes the planned mounts. The working directory stays in the old root, so that a relative path leads
/// to a source there and an absolute one to a place in the mirror.
fn make_mounts(start: &Start<'_>, volumes: Vec<Mounted>, server: &mut PipeWriter) -> Result<(), Error> {
    let at_root = |source: io::Error| Error::Mount { place: "/".into(), source };
    std::env::set_current_dir("/").map_err(at_root)?;
    let mut volumes = (0..).zip(volumes);
    for step in &start.plan.steps {
        match step {
            Step::Mirror(mount) => {
                let Some((number, volume)) = volumes.next() else { continue };
                let (place, source) = (OsStr::from_bytes(&mount.place), OsStr::from_bytes(&mount.source));
                match mount_mirror(start, mount, volume, (Path::new(place), source, "")) {
                    // It was removed, or has ended, since it was opened.
                    Err(Error::Mount { source, .. }) if number > 0 && is_gone(&source) => continue,
                    other => other?,
                }
                Message::Mounted(number).send(server).map_err(at_root)?;
                ask_size(Path::new(place));
                if number == 0 {
                    // What is mounted over `/` is reached through the name above it.
                    rustix::process::chroot("/..").map_err(|error| at_root(error.into()))?;
                }
            }
            Step::Bind(place) => {
                let source = Path::new(OsStr::from_bytes(place.strip_prefix(b"/").unwrap_or(place)));
                let place = Path::new(OsStr::from_bytes(place));
                match bind(source, place) {
                    Err(Error::Mount { source, .. }) if is_gone(&source) => continue,
                    other => other?,
                }
                take_mirrors_out(place, Path::new("proc")).map_err(at_root)?;
            }
        }
    }
    Ok(())
}

/// Whether an error tells that there is no such place any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTCONN | libc::ESTALE))
}

/// What makes the mount table show a mirror outside as one (`plan::is_mirror`).
const SUBTYPE: &str = ",subtype=compat";

/// Mounts a volume at a place, with what is shown as its source and further options.
fn mount_mirror(
    start: &Start<'_>,
    planned: &Mount,
    volume: Mounted,
    (place, source, further): (&Path, &OsStr, &str),
) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Mount { place: place.to_owned(), source };
    let stat = rustix::fs::fstat(&volume.root).map_err(|error| failed(error.into()))?;
    let (user, group) = match start.users {
        Users::Many => (0, 0),
        Users::One { user, group } => (user, group),
    };
    let permissions = if start.users == Users::Many { ",default_permissions" } else { "" };
    let options = format!(
        "fd={},rootmode={:o},user_id={user},group_id={group},allow_other{permissions}{further}",
        volume.device.as_raw_fd(),
        stat.st_mode & libc::S_IFMT,
    );
    let mut flags = planned.flags;
    flags.set(MountFlags::RDONLY, volume.read_only);
    let options = CString::new(options).map_err(|error| failed(error.into()))?;
    mount(source, place, c"fuse", flags, options.as_c_str()).map_err(|error| failed(error.into()))
}

/// Has the kernel ask how large a volume of a single file is. It takes it for empty until somebody asks, and
/// sendfile(2) does not. What cannot be asked now gives its error to who opens it.
fn ask_size(place: &Path) {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let known = rustix::fs::statx(CWD, place, flags, StatxFlags::TYPE);
    if known.is_ok_and(|stat| u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG) {
        let flags = AtFlags::STATX_FORCE_SYNC | AtFlags::NO_AUTOMOUNT;
        let _ = rustix::fs::statx(CWD, place, flags, StatxFlags::SIZE);
    }
}

fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    mount_bind_recursive(source, target)
        .map_err(|error| Error::Mount { place: target.to_owned(), source: error.into() })
}

/// Finds a program as execvp(3) does, but in the old root: these look-ups are ours, and faster there.
fn find_program(name: &OsStr) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = None;
    for folder in folders.as_bytes().split(|byte| *byte == b':') {
        let mut path = if folder.is_empty() { b".".to_vec() } else { folder.to_vec() };
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
