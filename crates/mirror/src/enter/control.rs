//! The messages between the three processes: messages of nine bytes to the server, and the reports of the command and
//! the server to the supervisor.

use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::error::Error;

/// The server sends this word to the supervisor once, when it is ready.
pub(super) const BEGUN: &[u8] = b"begun";

/// A message to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerMessage {
    /// The volume with this number is mounted.
    Mounted(u32),
    /// The process with this number executes the command as soon as the server replies.
    Begin(u32),
    /// Descendants of this process belong to the recorder and not to a command. The server replies.
    Joining(u32),
    /// Descendants of this process belong to the rank with this number. The server replies.
    Joined { process: u32, rank: u32 },
    /// The server replies with its figures and this number (`figures_channel`).
    Figures(u32),
    /// All processes have ended. The run has this exit code.
    End(i32),
}

impl ServerMessage {
    /// Sends the message. A pipe transfers nine bytes atomically.
    ///
    /// # Errors
    ///
    /// If the reading end is closed.
    pub(super) fn send(self, pipe: &mut impl Write) -> io::Result<()> {
        let (kind, first, second) = match self {
            Self::Mounted(volume) => (b'm', volume, 0),
            Self::Begin(process) => (b'b', process, 0),
            Self::Joining(process) => (b'i', process, 0),
            Self::Joined { process, rank } => (b'j', process, rank),
            Self::Figures(number) => (b'f', number, 0),
            Self::End(code) => (b'e', code as u32, 0),
        };
        let mut bytes = [kind; 9];
        bytes[1..5].copy_from_slice(&first.to_ne_bytes());
        bytes[5..].copy_from_slice(&second.to_ne_bytes());
        pipe.write_all(&bytes)
    }

    /// Waits for the next message. Returns `None` when all writing ends are closed.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub(super) fn receive(pipe: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = [0; 9];
        match pipe.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let number = u32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        let rank = u32::from_ne_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
        Ok(match bytes[0] {
            b'm' => Some(Self::Mounted(number)),
            b'b' => Some(Self::Begin(number)),
            b'i' => Some(Self::Joining(number)),
            b'j' => Some(Self::Joined { process: number, rank }),
            b'f' => Some(Self::Figures(number)),
            _ => Some(Self::End(number as i32)),
        })
    }
}

/// The reason for not executing the command, reported by its process or by the server.
#[derive(Debug)]
pub(super) enum FailureReport {
    /// The mirror could not be created.
    Failed(Error),
    /// The program could not be executed.
    NotExecuted(io::Error),
}

impl FailureReport {
    /// Sends the report.
    ///
    /// # Errors
    ///
    /// If the reading end is closed.
    pub(super) fn send(&self, pipe: &mut impl Write) -> io::Result<()> {
        let nothing = PathBuf::new();
        let (kind, path, error) = match self {
            Self::Failed(Error::Mount { place, source }) => (b'm', place, source),
            Self::Failed(Error::Serve { place, source }) => (b's', place, source),
            Self::Failed(Error::Begin(source)) => (b'b', &nothing, source),
            Self::Failed(Error::Directory { path, source }) => (b'f', path, source),
            Self::Failed(Error::MountPath { path, source }) => (b'o', path, source),
            Self::Failed(Error::Join(source)) => (b'j', &nothing, source),
            Self::Failed(Error::Process { source, .. }) => (b'p', &nothing, source),
            Self::Failed(_) => (b'p', &nothing, &io::Error::from_raw_os_error(0)),
            Self::NotExecuted(error) => (b'x', &nothing, error),
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&error.raw_os_error().unwrap_or(0).to_ne_bytes());
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        pipe.write_all(&bytes)
    }

    /// Waits for a report. Returns `None` if the command was executed.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub(super) fn receive(pipe: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)?;
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        let Some((number, path)) = rest.split_first_chunk() else { return Ok(None) };
        let source = io::Error::from_raw_os_error(i32::from_ne_bytes(*number));
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        Ok(Some(match kind {
            b'm' => Self::Failed(Error::Mount { place: path, source }),
            b's' => Self::Failed(Error::Serve { place: path, source }),
            b'b' => Self::Failed(Error::Begin(source)),
            b'f' => Self::Failed(Error::Directory { path, source }),
            b'o' => Self::Failed(Error::MountPath { path, source }),
            b'j' => Self::Failed(Error::Join(source)),
            b'x' => Self::NotExecuted(source),
            _ => Self::Failed(Error::Process { doing: "enter the mirror", source }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let mut pipe = Vec::new();
        let joined = ServerMessage::Joined { process: 4711, rank: 3 };
        let (figures, end) = (ServerMessage::Figures(9), ServerMessage::End(-1));
        let sent = [ServerMessage::Mounted(3), ServerMessage::Begin(4711), joined, figures, end];
        sent.iter().for_each(|message| message.send(&mut pipe).expect("memory"));
        let mut rest = &*pipe;
        let received: Vec<ServerMessage> =
            std::iter::from_fn(|| ServerMessage::receive(&mut rest).expect("memory")).collect();
        assert_eq!(received, sent);
    }

    #[test]
    fn a_report_names_the_place() {
        let mut pipe = Vec::new();
        let source = io::Error::from_raw_os_error(1);
        FailureReport::Failed(Error::Mount { place: "/data".into(), source })
            .send(&mut pipe)
            .expect("memory");
        let report = FailureReport::receive(&mut &*pipe).expect("memory");
        let Some(FailureReport::Failed(error)) = report else { panic!("{report:?}") };
        assert_eq!(error.to_string(), "could not mount the mirror at /data");
        assert!(FailureReport::receive(&mut &b""[..]).expect("memory").is_none());
    }
}
