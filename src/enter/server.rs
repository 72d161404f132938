//! The process that serves the mirror.

use std::io::{PipeReader, PipeWriter, Write as _};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};

use super::control::Message;
use super::outside::Outside;
use super::{End, Mounted, Service, inside};

/// Serves until all has ended; does not come back. Signals that end others are blocked here: the server
/// goes when nobody needs it any more.
pub fn run(
    volumes: Vec<Mounted>,
    mut control: PipeReader,
    mut answer: PipeWriter,
    outside: Option<&Outside>,
    service: &mut dyn Service,
) -> ! {
    let _ = setsid();
    super::supervisor::let_go_of_streams();
    raise_descriptor_limit();
    let mut volumes: Vec<Option<Mounted>> = volumes.into_iter().map(Some).collect();
    let end = loop {
        match Message::receive(&mut control) {
            Ok(Some(Message::Mounted(number))) => {
                let volume = volumes.get_mut(number as usize).and_then(Option::take);
                if volume.is_none_or(|volume| service.mounted(volume).is_err()) {
                    // The supervisor sees the server end, and ends the command.
                    std::process::exit(1);
                }
            }
            Ok(Some(Message::Begin(command))) => {
                service.begin(command);
                let _ = answer.write_all(b"b");
            }
            Ok(Some(Message::Joining(process))) => {
                service.joining(process);
                let _ = answer.write_all(b"j");
            }
            Ok(Some(Message::Joined { process, rank })) => {
                service.joined(process, rank);
                let _ = answer.write_all(b"j");
            }
            Ok(Some(Message::End(code))) => break End::Code(code),
            Ok(None) | Err(_) => {
                inside::end_all(&[]);
                if let Some(outside) = outside {
                    inside::ask_to_end(|| outside.inhabitants(&[]));
                    // Nobody is left to be told of a failure.
                    let _ = outside.leave();
                }
                break End::Killed;
            }
        }
    };
    service.end(end);
    std::process::exit(0)
}

/// The limit of the command is not that of its server, which may hold a descriptor for each of its.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = Some(1 << 20);
    let higher = Rlimit { current: most, maximum: most };
    if limit.maximum.is_none_or(|maximum| Some(maximum) >= most)
        || setrlimit(Resource::Nofile, higher).is_err()
    {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
