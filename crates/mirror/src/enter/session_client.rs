//! The connection to a session. Each side checks that the other is a process of this user.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::error::Error;
use super::figures_channel::LONGEST;
use super::rendezvous::{self, peer_fault};
use super::session::{assert_one_user, directories, meeting, of_session};
use super::session_id::Id;
use super::session_listener::Request;

/// Connects to a session.
///
/// # Errors
///
/// If it does not exist.
pub(super) fn connect(id: &Id) -> Result<UnixStream, Error> {
    assert_one_user()?;
    let stream = rendezvous::connect(&directories(), &meeting(id)).map_err(of_session)?;
    stream.ok_or_else(|| Error::NoSession { id: id.clone() })
}

/// Sends a request and returns the reply.
///
/// # Errors
///
/// If the session does not reply within `limit`, or has no reply.
pub(super) fn request(
    id: &Id,
    mut stream: UnixStream,
    request: Request,
    limit: Duration,
) -> Result<Vec<u8>, Error> {
    let failed = |what: &str| Error::Session { id: id.clone(), what: what.to_owned() };
    let peer =
        compat_sys::peer(stream.as_fd()).map_err(|source| Error::SessionJoin { id: id.clone(), source })?;
    if let Some(what) = peer_fault(peer, rustix::process::geteuid().as_raw()) {
        return Err(failed(&what));
    }
    let deadline = Instant::now() + limit;
    match exchange(&mut stream, request, deadline) {
        Ok(Some(reply)) => Ok(reply),
        Ok(None) if request == Request::Figures => Err(failed("has no figures: its server does not reply")),
        Ok(None) => Err(failed("does not recognise this process or user")),
        Err(error) if is_late(&error) => Err(failed(&format!("did not reply within {} s", limit.as_secs()))),
        Err(_) => Err(failed("is ending")),
    }
}

/// Returns `None` if the session has no reply.
fn exchange(stream: &mut UnixStream, request: Request, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    stream.write_all(&(request as u32).to_ne_bytes())?;
    let mut kind = [0];
    read(stream, &mut kind, deadline)?;
    if kind != *b"y" {
        return Ok(None);
    }
    let mut length = [0; 4];
    read(stream, &mut length, deadline)?;
    let length = u32::from_ne_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut reply = vec![0; length];
    read(stream, &mut reply, deadline)?;
    Ok(Some(reply))
}

/// Fills the buffer before the deadline.
fn read(stream: &mut UnixStream, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => buffer = &mut buffer[length..],
        }
    }
    Ok(())
}

/// Waits until the session closes the connection.
///
/// # Errors
///
/// If it does not within `limit`.
pub(super) fn wait_for_end(id: &Id, mut stream: UnixStream, limit: Duration) -> Result<(), Error> {
    match read(&mut stream, &mut [0], Instant::now() + limit) {
        Err(error) if is_late(&error) => {
            let what = format!("did not end within {} s", limit.as_secs());
            Err(Error::Session { id: id.clone(), what })
        }
        // A session that was killed meanwhile has ended as well.
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
