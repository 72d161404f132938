//! The process that becomes the command. It mounts the mirror, enters it and executes the command. A rank that joins
//! enters an existing mirror.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeWriter, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{
    DumpableBehavior, Pid, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
};

use super::control::{FailureReport, ServerMessage};
use super::error::Error;
use super::mounting::{make_inside, make_outside, make_shares};
use super::namespace_access::NamespaceAccess;
use super::start::{CommandPipes, Start};
use super::streams::let_go_of_streams;
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
    let mut found = None;
    let command = start.options.task.command();
    if let Some(program) = command.first()
        && !start.options.mirrored.is_partial()
    {
        // The old root has the same files. Failed lookups there cause no requests to the server.
        set_directory(start.directory)?;
        found = Some(find_program(program));
    }
    let mut volumes = std::mem::take(&mut start.volumes);
    let outside = volumes.split_off(start.plan.mirrors().count());
    let first = volumes.len() as u32;
    let bound = std::mem::take(&mut start.bound);
    if let Some(place) = start.outside {
        make_outside(&start, place, first, outside, &bound, &mut pipes.server)?;
    }
    match start.inner {
        Some(inner) => make_shares(&start, inner, volumes, &bound, &mut pipes.server)?,
        None => make_inside(&start, volumes, &bound, &mut pipes.server)?,
    }
    drop(bound);
    set_directory(start.directory)?;
    begin(pipes)?;
    let command = start.options.task.command();
    let Some(program) = command.first() else { wait(pipes, &start.before) };
    // The originals of shares are slow. Lookups in their mirror are not.
    Ok(match found.unwrap_or_else(|| find_program(program)) {
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
    let mut found = None;
    if !access.is_partial() {
        set_directory(directory)?;
        found = Some(find_program(&command[0]));
    }
    access.enter().map_err(Error::Join)?;
    end_with(supervisor)?;
    set_directory(directory)?;
    let program = match found.unwrap_or_else(|| find_program(&command[0])) {
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
