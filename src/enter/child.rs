//! The process that becomes the command: mounts the mirror, enters it, executes.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount, mount_bind_recursive};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::control::{Message, Report};
use super::error::Error;
use super::namespace::Users;
use super::plan::Step;
use super::supervisor::Start;
use super::{Mounted, mount_table::Mount};
use crate::sys;

/// The ends of the pipes that the command's process holds.
pub struct Pipes {
    pub server: PipeWriter,
    pub answer: PipeReader,
    pub report: PipeWriter,
}

/// Becomes the command, or reports why not; does not come back.
pub fn run(start: Start<'_>, mut pipes: Pipes, supervisor: rustix::process::Pid) -> ! {
    let report = match enter_and_execute(start, &mut pipes, supervisor) {
        Ok(error) => Report::NotExecuted(error),
        Err(error) => Report::Failed(error),
    };
    let _ = report.send(&mut pipes.report);
    std::process::exit(1)
}

fn enter_and_execute(
    mut start: Start<'_>,
    pipes: &mut Pipes,
    supervisor: rustix::process::Pid,
) -> Result<io::Error, Error> {
    let failed = |doing| move |source| Error::Process { doing, source };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed("watch")(error.into()))?;
    if getppid() != Some(supervisor) {
        std::process::exit(1);
    }
    let folder = start.folder;
    let change = || std::env::set_current_dir(folder);
    change().map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
    let (name, arguments) = start.options.command.split_first().expect("a command has a name");
    let found = find_program(name);
    let volumes = std::mem::take(&mut start.volumes);
    make_mounts(&start, volumes, &mut pipes.server)?;
    change().map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
    let program = match found {
        Ok(program) => program,
        Err(error) => return Ok(error),
    };
    Message::Begin(std::process::id()).send(&mut pipes.server).map_err(failed("reach the server"))?;
    pipes.answer.read_exact(&mut [0]).map_err(failed("reach the server"))?;
    sys::restore(&start.before);
    Ok(Command::new(program).arg0(name).args(arguments).exec())
}

/// Makes the planned mounts. The working directory stays in the old root, so that a relative path leads
/// to a source there and an absolute one to a place in the mirror.
fn make_mounts(start: &Start<'_>, volumes: Vec<Mounted>, server: &mut PipeWriter) -> Result<(), Error> {
    let at_root = |source: io::Error| Error::Mount { place: "/".into(), source };
    std::env::set_current_dir("/").map_err(at_root)?;
    let mut volumes = volumes.into_iter();
    let mut number = 0;
    for step in &start.plan.steps {
        match step {
            Step::Mirror(mount) => {
                let Some(volume) = volumes.next() else { continue };
                mount_mirror(start, mount, volume)?;
                Message::Mounted(number).send(server).map_err(at_root)?;
                if number == 0 {
                    // What is mounted over `/` is reached through the name above it.
                    rustix::process::chroot("/..").map_err(|error| at_root(error.into()))?;
                }
                number += 1;
            }
            Step::Bind(place) => bind(place)?,
        }
    }
    Ok(())
}

fn mount_mirror(start: &Start<'_>, planned: &Mount, volume: Mounted) -> Result<(), Error> {
    let place = Path::new(OsStr::from_bytes(&planned.place));
    let failed = |source: io::Error| Error::Mount { place: place.to_owned(), source };
    let stat = rustix::fs::fstat(&volume.root).map_err(|error| failed(error.into()))?;
    let (user, group) = match start.users {
        Users::Many => (0, 0),
        Users::One { user, group } => (user, group),
    };
    let permissions = if start.users == Users::Many { ",default_permissions" } else { "" };
    let options = format!(
        "fd={},rootmode={:o},user_id={user},group_id={group},allow_other{permissions}",
        volume.device.as_raw_fd(),
        stat.st_mode & libc::S_IFMT,
    );
    let mut flags = planned.flags;
    flags.set(MountFlags::RDONLY, flags.contains(MountFlags::RDONLY) || start.options.read_only);
    let options = CString::new(options).map_err(|error| failed(error.into()))?;
    let source = OsStr::from_bytes(&planned.source);
    mount(source, place, c"fuse", flags, options.as_c_str()).map_err(|error| failed(error.into()))
}

fn bind(place: &[u8]) -> Result<(), Error> {
    let target = Path::new(OsStr::from_bytes(place));
    let source = Path::new(OsStr::from_bytes(place.strip_prefix(b"/").unwrap_or(place)));
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
