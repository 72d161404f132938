//! The process that serves the mirror.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};

use super::control::{BEGUN, FailureReport, ServerMessage};
use super::error::Error;
use super::external_mount::ExternalMount;
use super::namespace_processes::{NamespaceProcesses, ask_to_end};
use super::start::ServerPipes;
use super::streams::let_go_of_streams;
use super::{End, Mounted, Service};

/// Serves until all has ended; does not come back. Signals that end others are blocked here: the server
/// goes when nobody needs it any more.
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
            // The supervisor sees the server end, ends the command and reports why.
            let _ = FailureReport::Failed(error).send(&mut pipes.report);
            std::process::exit(1)
        }
    }
}

/// Obeys the messages until the end.
fn serve(volumes: Vec<Mounted>, pipes: &mut ServerPipes, service: &mut dyn Service) -> Result<End, Error> {
    let mut volumes: Vec<Option<Mounted>> = volumes.into_iter().map(Some).collect();
    loop {
        match ServerMessage::receive(&mut pipes.control) {
            Ok(Some(ServerMessage::Mounted(number))) => {
                let Some(volume) = volumes.get_mut(number as usize).and_then(Option::take) else { continue };
                let place = PathBuf::from(OsStr::from_bytes(&volume.place));
                service.mounted(volume).map_err(|source| Error::Serve { place, source })?;
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
            Ok(Some(ServerMessage::End(code))) => return Ok(End::Code(code)),
            Ok(None) | Err(_) => return Ok(End::Killed),
        }
    }
}

/// The supervisor was killed: nobody else ends what is left and takes the mirror away.
fn end_all(inside: &NamespaceProcesses, outside: Option<&ExternalMount>) {
    inside.end_all(&[]);
    if let Some(outside) = outside {
        ask_to_end(|| outside.inhabitants(&[]));
        // Nobody is left to report a failure to.
        let _ = outside.leave();
    }
}

/// The limits of the command are not those of its server, which holds a descriptor for each of its, writes a log
/// of everybody's events and works for all of them. What is left of the limits is told as an error by the call
/// that meets it, and ends nobody.
fn raise_limits() {
    raise(Resource::Nofile, Some(1 << 20));
    for (resource, signal) in [(Resource::Fsize, libc::SIGXFSZ), (Resource::Cpu, libc::SIGXCPU)] {
        raise(resource, None);
        compat_sys::ignore(signal, true);
    }
}

/// Raises a limit to so much, without any where that is nothing; or, where that is not allowed, as far as it is.
fn raise(resource: Resource, wanted: Option<u64>) {
    let limit = getrlimit(resource);
    let is_more = limit.maximum.is_some_and(|maximum| wanted.is_none_or(|wanted| maximum < wanted));
    let higher = Rlimit { current: wanted, maximum: if is_more { wanted } else { limit.maximum } };
    if setrlimit(resource, higher).is_err() {
        let _ = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
