//! What the three processes tell each other: messages of five bytes to the server, and the command's
//! report to the supervisor.

use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::error::Error;

/// To the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The volume of this number is mounted.
    Mounted(u32),
    /// The process of this number executes the command as soon as it is answered.
    Begin(u32),
    /// Everything has ended, with this code.
    End(i32),
}

impl Message {
    /// Sends it; five bytes go through a pipe as a whole.
    ///
    /// # Errors
    ///
    /// Where nobody reads any more.
    pub fn send(self, pipe: &mut impl Write) -> io::Result<()> {
        let (kind, number) = match self {
            Self::Mounted(volume) => (b'm', volume),
            Self::Begin(process) => (b'b', process),
            Self::End(code) => (b'e', code as u32),
        };
        let number = number.to_ne_bytes();
        pipe.write_all(&[kind, number[0], number[1], number[2], number[3]])
    }

    /// Waits for the next one; nothing when all senders are gone.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn receive(pipe: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = [0; 5];
        match pipe.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let number = u32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        Ok(match bytes[0] {
            b'm' => Some(Self::Mounted(number)),
            b'b' => Some(Self::Begin(number)),
            _ => Some(Self::End(number as i32)),
        })
    }
}

/// Why the command was not executed.
#[derive(Debug)]
pub enum Report {
    /// The mirror could not be made.
    Failed(Error),
    /// The program could not be executed.
    NotExecuted(io::Error),
}

impl Report {
    /// Sends it.
    ///
    /// # Errors
    ///
    /// Where nobody reads any more.
    pub fn send(&self, pipe: &mut impl Write) -> io::Result<()> {
        let nothing = PathBuf::new();
        let (kind, path, error) = match self {
            Self::Failed(Error::Mount { place, source }) => (b'm', place, source),
            Self::Failed(Error::Folder { path, source }) => (b'f', path, source),
            Self::Failed(Error::Process { source, .. }) => (b'p', &nothing, source),
            Self::Failed(_) => (b'p', &nothing, &io::Error::from_raw_os_error(0)),
            Self::NotExecuted(error) => (b'x', &nothing, error),
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&error.raw_os_error().unwrap_or(0).to_ne_bytes());
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        pipe.write_all(&bytes)
    }

    /// Waits for a report; nothing where the command was executed.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn receive(pipe: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)?;
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        let Some((number, path)) = rest.split_first_chunk() else { return Ok(None) };
        let source = io::Error::from_raw_os_error(i32::from_ne_bytes(*number));
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        Ok(Some(match kind {
            b'm' => Self::Failed(Error::Mount { place: path, source }),
            b'f' => Self::Failed(Error::Folder { path, source }),
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
        let sent = [Message::Mounted(3), Message::Begin(4711), Message::End(-1)];
        sent.iter().for_each(|message| message.send(&mut pipe).expect("memory"));
        let mut rest = &*pipe;
        let received: Vec<Message> =
            std::iter::from_fn(|| Message::receive(&mut rest).expect("memory")).collect();
        assert_eq!(received, sent);
    }

    #[test]
    fn a_report_names_the_place() {
        let mut pipe = Vec::new();
        let source = io::Error::from_raw_os_error(1);
        Report::Failed(Error::Mount { place: "/data".into(), source }).send(&mut pipe).expect("memory");
        let report = Report::receive(&mut &*pipe).expect("memory");
        let Some(Report::Failed(error)) = report else { panic!("{report:?}") };
        assert_eq!(error.to_string(), "could not mount the mirror at /data");
        assert!(Report::receive(&mut &b""[..]).expect("memory").is_none());
    }
}
