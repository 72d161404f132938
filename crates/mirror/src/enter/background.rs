//! Starts a session in the background. The process that starts it waits until the mirror is ready.
//!
//! The background process reports through a pipe: `r` and the name of the session, or `f`, the message, a zero byte and
//! the hint. The length comes between the letter and the rest, in four bytes.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::setsid;

use super::error::Error;
use super::rendezvous::{self, Directories, LeadLock, LeadSocket, Purpose};
use super::session::{PREFIX, assert_one_user, directories, meeting, of_session};
use super::session_id::Id;
use super::streams::let_go_of_all_streams;
use super::{ExternalPlace, Options, Service, Task};

/// How often to try to take a name, and in which interval. Another process may just be removing what a dead session of
/// this name left behind.
const ATTEMPTS: usize = 5;
const PACE: Duration = Duration::from_millis(10);

/// The reason for not starting a session, as text from the background process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The message, with its causes.
    pub message: String,
    /// A hint for the user.
    pub hint: Option<String>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(source) = cause {
            message.push_str(&format!(": {source}"));
            cause = source.source();
        }
        Self { message, hint: error.hint() }
    }
}

/// The way of the background process's report to the process that waits for it.
#[derive(Debug)]
pub(super) struct ReadyReport {
    pipe: PipeWriter,
    id: Id,
}

impl ReadyReport {
    /// Reports that the mirror is ready.
    ///
    /// # Errors
    ///
    /// If nobody waits any more.
    pub(super) fn send(mut self) -> io::Result<()> {
        send(&mut self.pipe, b'r', self.id.to_string().as_bytes())
    }
}

fn send(pipe: &mut PipeWriter, kind: u8, text: &[u8]) -> io::Result<()> {
    let mut message = vec![kind];
    message.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_ne_bytes());
    message.extend_from_slice(text);
    pipe.write_all(&message)
}

fn send_failure(pipe: &mut PipeWriter, failure: &Failure) {
    let Failure { message, hint } = failure;
    // If nobody waits any more, nobody is informed.
    let _ = send(pipe, b'f', format!("{message}\0{}", hint.as_deref().unwrap_or_default()).as_bytes());
}

/// Starts a session in the background, and returns its name when its mirror is ready. Without a name, one is chosen.
/// The session ends by itself when it had no member for the time `idle`.
///
/// `options.task` and `options.directory` have no effect. `make_service` is called in the background process, with `/`
/// as its working directory and standard error as the only stream. The streams are closed before the service is used.
/// This process must have no other threads.
///
/// # Errors
///
/// If the mirror or the service cannot be created, or a session of this name exists.
pub fn start<'a>(
    id: Option<Id>,
    options: &Options,
    idle: Duration,
    make_service: impl FnOnce(&Id) -> Result<Box<dyn Service + 'a>, Failure>,
) -> Result<Id, Error> {
    let failed = |source| Error::Process { doing: "start a session", source };
    assert_one_user()?;
    let options = Options {
        task: Task::Wait,
        directory: Some(PathBuf::from("/")),
        mirrored: options.mirrored.resolved()?,
        place: absolute(&options.place)?,
        ..options.clone()
    };
    let directories = directories();
    rendezvous::meetings(&directories, PREFIX).map_err(of_session)?;
    let (mut from_background, report) = io::pipe().map_err(failed)?;
    if compat_sys::fork().map_err(failed)?.is_some() {
        drop(report);
        return received(&mut from_background);
    }
    drop(from_background);
    let name = || named(id, &directories);
    std::process::exit(in_background(name, &options, idle, report, make_service))
}

fn absolute(place: &ExternalPlace) -> Result<ExternalPlace, Error> {
    Ok(match place {
        ExternalPlace::Nowhere => ExternalPlace::Nowhere,
        ExternalPlace::Perhaps(path) => ExternalPlace::Perhaps(super::absolute(path)?),
        ExternalPlace::At(path) => ExternalPlace::At(super::absolute(path)?),
    })
}

/// Waits for the report of the background process.
fn received(pipe: &mut PipeReader) -> Result<Id, Error> {
    let failure = |message: &str| Failure { message: message.to_owned(), hint: None };
    let report = (|| {
        let mut head = [0; 5];
        pipe.read_exact(&mut head)?;
        let length = u32::from_ne_bytes([head[1], head[2], head[3], head[4]]);
        let mut text = Vec::new();
        pipe.take(length.into()).read_to_end(&mut text)?;
        io::Result::Ok((head[0], String::from_utf8_lossy(&text).into_owned()))
    })();
    let failure = match report {
        Ok((b'r', id)) => match id.parse() {
            Ok(id) => return Ok(id),
            Err(_) => failure("the session reported no name"),
        },
        Ok((_, text)) => {
            let (message, hint) = text.split_once('\0').unwrap_or((&text, ""));
            Failure { hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()), ..failure(message) }
        }
        Err(_) => failure("the session's process ended before the mirror was ready"),
    };
    Err(Error::NotStarted(failure))
}

/// Becomes the supervisor of the session. Returns its exit code.
fn in_background<'a>(
    name: impl FnOnce() -> Result<(Id, LeadLock, UnixListener), Error>,
    options: &Options,
    idle: Duration,
    mut report: PipeWriter,
    make_service: impl FnOnce(&Id) -> Result<Box<dyn Service + 'a>, Failure>,
) -> i32 {
    let _ = setsid();
    // Files that the caller left open, such as a locked one, must not stay open as long as the session.
    compat_sys::close_inherited();
    let run = || {
        std::env::set_current_dir("/")
            .map_err(|source| Failure::from(&Error::Directory { path: "/".into(), source }))?;
        let (id, lock, listener) = name().map_err(|error| Failure::from(&error))?;
        let mut service = make_service(&id)?;
        let_go_of_all_streams();
        let pipe = report
            .try_clone()
            .map_err(|source| Failure::from(&Error::Process { doing: "start a session", source }))?;
        let purpose = Purpose::Session { idle, ready: ReadyReport { pipe, id } };
        let socket = LeadSocket { lock, listener, purpose };
        let outcome = super::run(options, Some(socket), &mut *service);
        outcome.map(|_| ()).map_err(|error| Failure::from(&error))
    };
    match run() {
        Ok(()) => 0,
        Err(failure) => {
            send_failure(&mut report, &failure);
            1
        }
    }
}

/// Takes the name of the session, or chooses one.
fn named(id: Option<Id>, directories: &Directories) -> Result<(Id, LeadLock, UnixListener), Error> {
    let failed = |source| Error::Process { doing: "choose a name for a session", source };
    let chosen = || id.clone().map_or_else(|| Id::random().map_err(failed), Ok);
    let mut id = chosen()?;
    for _ in 0..ATTEMPTS {
        if let Some((lock, listener)) = LeadLock::take(directories, &meeting(&id)).map_err(of_session)? {
            return Ok((id, lock, listener));
        }
        std::thread::sleep(PACE);
        id = chosen()?;
    }
    Err(Error::SessionExists { id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(kind: u8, text: &str) -> Result<Id, Error> {
        let (mut reader, mut pipe) = io::pipe().expect("a pipe");
        send(&mut pipe, kind, text.as_bytes()).expect("it is read");
        // The background process keeps its end open.
        received(&mut reader)
    }

    #[test]
    fn a_report_is_a_name_or_a_reason() {
        assert_eq!(sent(b'r', "k7q2mx").expect("a name").to_string(), "k7q2mx");
        let failure = |text| match sent(b'f', text) {
            Err(Error::NotStarted(failure)) => failure,
            other => panic!("{other:?}"),
        };
        let expected = Failure { message: "no device".to_owned(), hint: Some("add it".to_owned()) };
        assert_eq!(failure("no device\0add it"), expected);
        assert_eq!(failure("no device\0"), Failure { hint: None, ..expected });
    }

    #[test]
    fn a_background_process_that_is_killed_is_a_reason() {
        let (mut reader, pipe) = io::pipe().expect("a pipe");
        drop(pipe);
        let error = received(&mut reader).expect_err("no report");
        assert_eq!(error.to_string(), "the session's process ended before the mirror was ready");
    }
}
