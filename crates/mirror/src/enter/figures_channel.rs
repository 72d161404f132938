//! The way of the server's figures to the supervisor. The server is asked through its control pipe, and replies through
//! a pipe of its own.
//!
//! A reply consists of the number of the question, the length of the figures (four bytes each, native byte order) and
//! the figures. The number distinguishes a reply that came too late. Neither side waits for the other for longer than
//! its time limit.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::ServerMessage;

/// The greatest length of the figures, in bytes.
pub(super) const LONGEST: usize = 4 << 20;

/// The time that the server may take to reply.
const PATIENCE: Duration = Duration::from_secs(2);

/// The length of the number and the length before the figures.
const HEAD: usize = 8;

/// The supervisor's side.
pub(super) struct FiguresChannel {
    ends: Mutex<Option<Ends>>,
}

struct Ends {
    to_server: PipeWriter,
    from_server: PipeReader,
    asked: u32,
    /// The part of a reply that was received.
    received: Vec<u8>,
}

impl FiguresChannel {
    /// A channel with the control pipe of the server and the pipe of its replies.
    ///
    /// # Errors
    ///
    /// Those of ioctl(2).
    pub(super) fn new(to_server: PipeWriter, from_server: PipeReader) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&from_server, true)?;
        let ends = Ends { to_server, from_server, asked: 0, received: Vec::new() };
        Ok(Self { ends: Mutex::new(Some(ends)) })
    }

    /// Asks the server for its figures. Returns `None` if it does not reply in time.
    pub(super) fn ask(&self) -> Option<Vec<u8>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.ask(PATIENCE)
    }

    /// Ends the channel. A server that replies later is not blocked.
    pub(super) fn close(&self) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Ends {
    fn ask(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        self.asked = self.asked.wrapping_add(1);
        ServerMessage::Figures(self.asked).send(&mut self.to_server).ok()?;
        loop {
            while let Some((number, figures)) = next_reply(&mut self.received) {
                if number == self.asked {
                    return Some(figures);
                }
            }
            wait(&self.from_server, PollFlags::IN, deadline)?;
            let mut part = [0; 1 << 16];
            match self.from_server.read(&mut part) {
                Ok(0) => return None,
                Ok(length) => self.received.extend_from_slice(&part[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

/// Removes the first reply from the received bytes if it is complete.
fn next_reply(received: &mut Vec<u8>) -> Option<(u32, Vec<u8>)> {
    let number = |at: usize| Some(u32::from_ne_bytes(received.get(at..at + 4)?.try_into().ok()?));
    let (asked, length) = (number(0)?, number(4)? as usize);
    if received.len() < HEAD + length {
        return None;
    }
    let rest = received.split_off(HEAD + length);
    let figures = std::mem::replace(received, rest).split_off(HEAD);
    Some((asked, figures))
}

/// The server's side.
pub(super) struct FiguresReply {
    /// `None` after the supervisor did not read a reply in time.
    to_supervisor: Option<PipeWriter>,
}

impl FiguresReply {
    /// A side that replies through this pipe.
    pub(super) fn new(to_supervisor: PipeWriter) -> Self {
        let usable = rustix::io::ioctl_fionbio(&to_supervisor, true).is_ok();
        Self { to_supervisor: usable.then_some(to_supervisor) }
    }

    /// Sends the figures, or none if they are longer than [`LONGEST`].
    pub(super) fn send(&mut self, number: u32, figures: &[u8]) {
        let figures = if figures.len() > LONGEST { &[] } else { figures };
        let mut reply = number.to_ne_bytes().to_vec();
        reply.extend_from_slice(&(figures.len() as u32).to_ne_bytes());
        reply.extend_from_slice(figures);
        if let Some(pipe) = &mut self.to_supervisor
            && write(pipe, &reply, Instant::now() + PATIENCE).is_none()
        {
            // The rest of this reply must not be taken for the next one.
            self.to_supervisor = None;
        }
    }
}

fn write(pipe: &mut PipeWriter, mut bytes: &[u8], deadline: Instant) -> Option<()> {
    while !bytes.is_empty() {
        match pipe.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(&*pipe, PollFlags::OUT, deadline)?;
            }
            Err(_) => return None,
        }
    }
    Some(())
}

/// Waits until a pipe is ready. Returns `None` after the deadline.
fn wait(pipe: impl AsFd, event: PollFlags, deadline: Instant) -> Option<()> {
    let left = deadline.checked_duration_since(Instant::now())?;
    let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    match poll(&mut [PollFd::new(&pipe, event)], Some(&limit)) {
        Ok(0) => None,
        Ok(_) | Err(rustix::io::Errno::INTR) => Some(()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    /// The ends of a supervisor, the control pipe at the server, and the server's side.
    fn pair() -> (Ends, PipeReader, FiguresReply) {
        let (control, to_server) = io::pipe().expect("a pipe");
        let (from_server, reply) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&from_server, true).expect("a pipe");
        let ends = Ends { to_server, from_server, asked: 0, received: Vec::new() };
        (ends, control, FiguresReply::new(reply))
    }

    #[test]
    fn figures_longer_than_a_pipe_arrive_whole() {
        let (mut ends, mut control, mut reply) = pair();
        let figures: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        let sent = figures.clone();
        let server = std::thread::spawn(move || {
            while let Ok(Some(ServerMessage::Figures(number))) = ServerMessage::receive(&mut control) {
                reply.send(number, &sent);
            }
        });
        for _ in 0..3 {
            assert_eq!(ends.ask(PATIENCE).as_ref(), Some(&figures));
        }
        drop(ends);
        server.join().expect("it ends with the control pipe");
    }

    #[test]
    fn a_reply_that_comes_too_late_is_not_taken_for_the_next_one() {
        let (mut ends, _control, mut reply) = pair();
        assert_eq!(ends.ask(SHORT), None);
        reply.send(1, b"late");
        reply.send(2, b"in time");
        assert_eq!(ends.ask(PATIENCE).as_deref(), Some(&b"in time"[..]));
    }

    #[test]
    fn a_server_without_a_reader_goes_on() {
        let (ends, _control, mut reply) = pair();
        drop(ends);
        reply.send(1, &[0; 100]);
        assert!(reply.to_supervisor.is_none());
    }

    #[test]
    fn too_many_figures_are_none() {
        let (mut ends, _control, mut reply) = pair();
        reply.send(1, &vec![0; LONGEST + 1]);
        assert_eq!(ends.ask(PATIENCE), Some(Vec::new()));
    }
}
