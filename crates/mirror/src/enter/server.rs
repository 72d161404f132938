//! The process that serves the mirror.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};

use super::control::{BEGUN, FailureReport, ServerMessage};
use super::error::Error;
use super::external_mount::ExternalMount;
use super::namespace_processes::{NamespaceProcesses, ask_to_end};
use super::start::ServerPipes;
use super::streams::let_go_of_streams;
use super::{End, Mounted, Service};

/// Serves until all processes have ended. Does not return. Terminating signals are blocked here: the server exits when
/// it is no longer needed.
pub(super) fn run(
    volumes: Vec<Mounted>,
    mut pipes: ServerPipes,
    inside: &NamespaceProcesses,
    outside: Option<&ExternalMount>,
    service: &mut dyn Service,
) -> ! {
    let _ = setsid();
    let_go_of_streams();
    raise_limits();
    match serve(volumes, &mut pipes, service) {
        Ok(end) => {
            if end == End::Killed {
                end_all(inside, outside);
            }
            service.end(end);
            std::process::exit(0)
        }
        Err(error) => {
            // The supervisor sees that the server ended, kills the command and reports the reason.
            let _ = FailureReport::Failed(error).send(&mut pipes.report);
            std::process::exit(1)
        }
    }
}

/// Handles messages until the end.
fn serve(volumes: Vec<Mounted>, pipes: &mut ServerPipes, service: &mut dyn Service) -> Result<End, Error> {
    let mut volumes: Vec<Option<Mounted>> = volumes.into_iter().map(Some).collect();
    loop {
        match ServerMessage::receive(&mut pipes.control) {
            Ok(Some(ServerMessage::Mounted(number))) => {
                let Some(volume) = volumes.get_mut(number as usize).and_then(Option::take) else { continue };
                let place = PathBuf::from(OsStr::from_bytes(&volume.place));
                match service.mounted(volume) {
                    // Its mirror replies with the same error to everybody.
                    Err(source) if has_ended(&source) && place != Path::new("/") => {}
                    other => other.map_err(|source| Error::Serve { place, source })?,
                }
            }
            Ok(Some(ServerMessage::Begin(command))) => {
                service.begin(command).map_err(Error::Begin)?;
                let _ = pipes.report.write_all(BEGUN);
                let _ = pipes.answer.write_all(b"b");
            }
            Ok(Some(ServerMessage::Joining(process))) => {
                service.joining(process);
                let _ = pipes.answer.write_all(b"j");
            }
            Ok(Some(ServerMessage::Joined { process, rank })) => {
                service.joined(process, rank);
                let _ = pipes.answer.write_all(b"j");
            }
            Ok(Some(ServerMessage::Figures(number))) => {
                pipes.figures.send(number, &service.figures());
            }
            Ok(Some(ServerMessage::End(code))) => return Ok(End::Code(code)),
            Ok(None) | Err(_) => return Ok(End::Killed),
        }
    }
}

/// Whether an error means that the server of a mirrored file system ended since it was opened.
fn has_ended(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ESTALE))
}

/// Cleans up after a killed supervisor: kills the remaining processes and unmounts the mirror.
fn end_all(inside: &NamespaceProcesses, outside: Option<&ExternalMount>) {
    inside.end_all(&[]);
    if let Some(outside) = outside {
        ask_to_end(|| outside.inhabitants(&[]));
        // No process is left to receive an error.
        let _ = outside.leave();
    }
}

/// Raises the limits of the server above those of the command. The server holds a descriptor for each descriptor of the
/// command, writes the log and works for all processes. If a limit is reached anyway, the call returns an error, and
/// the process is not killed.
fn raise_limits() {
    raise_file_limit();
    for (resource, signal) in [(Resource::Fsize, libc::SIGXFSZ), (Resource::Cpu, libc::SIGXCPU)] {
        raise(resource, None);
        compat_sys::ignore(signal, true);
    }
}

/// Raises the limit of open files as far as permitted.
pub(super) fn raise_file_limit() {
    raise(Resource::Nofile, Some(1 << 20));
}

/// Raises a limit to `wanted`, or removes it if `wanted` is `None`. If that is not permitted, raises it as far as
/// possible.
fn raise(resource: Resource, wanted: Option<u64>) {
    let limit = getrlimit(resource);
    let is_more = limit.maximum.is_some_and(|maximum| wanted.is_none_or(|wanted| maximum < wanted));
    let higher = Rlimit { current: wanted, maximum: if is_more { wanted } else { limit.maximum } };
    if setrlimit(resource, higher).is_err() {
        let _ = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
