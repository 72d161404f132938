//! The process of a share: mount, signals, end.
//!
//! The main thread waits for signals, which all other threads block: `SIGUSR1` writes the counters, `SIGUSR2`
//! resets them, `SIGTERM`, `SIGINT` and `SIGHUP` end the share. It also ends when somebody unmounts it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use compat_sys::SignalSet;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::fs::Mode;
use rustix::mount::UnmountFlags;
use rustix::process::{Resource, Rlimit};

use crate::Options;
use crate::control::{self, Control};
use crate::counters::Counters;
use crate::file_system::FileSystem;
use crate::pace::Pace;

/// The variable with the options of a share, as JSON. A program that is started with it serves the share: see
/// [`serve_if_asked`].
pub(crate) const OPTIONS: &str = "SLOW_SHARE_OPTIONS";

/// The first line that a share prints to the program that has started it.
pub(crate) const READY: &str = r#"{"ready":true}"#;

/// The file system type after `fuse.`, as the table of mounts shows it.
const SUBTYPE: &str = "slow-share";

/// The files that a share may have open. Each file that the kernel knows is one.
const OPEN_FILES: u64 = 1 << 20;

/// The interval in which an unmount from outside is noticed.
const LOOK: Duration = Duration::from_millis(100);

/// An error of a share.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source cannot be opened.
    #[error("cannot open the directory {}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// FUSE refuses the mount.
    #[error("cannot mount a share at {}", path.display())]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The socket for commands cannot be created.
    #[error("cannot listen at {}", path.display())]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The counters cannot be written.
    #[error("cannot write the counters to {}", path.display())]
    Counters {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The options of the starting program cannot be read.
    #[error("the options of the share are not valid")]
    Options(#[source] serde_json::Error),
    /// The system does not deliver signals.
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

/// The source of commands besides the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starter {
    /// None.
    Shell,
    /// The program that has started the share. It holds the other ends of standard input and output, and the
    /// share ends with it.
    Suite,
}

/// Serves a share if [`crate::SlowShare::start`] has started this program for that. A suite calls this first
/// in `main`, before it starts any thread, and exits with the returned code.
pub fn serve_if_asked() -> Option<ExitCode> {
    let options = std::env::var_os(OPTIONS)?;
    let Err(error) = serve_for_suite(options) else { return Some(ExitCode::SUCCESS) };
    let text = serde_json::json!({ "error": chain(&error) });
    let _ = writeln!(io::stdout(), "{text}");
    Some(ExitCode::FAILURE)
}

fn serve_for_suite(options: OsString) -> Result<(), Error> {
    let options = serde_json::from_slice(options.as_encoded_bytes()).map_err(Error::Options)?;
    serve_for(&options, Starter::Suite)
}

/// The text of an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Mounts a share and serves it until a signal ends it or somebody unmounts it. This process must not have any
/// other thread yet.
///
/// # Errors
///
/// If the mount fails, or if the counters cannot be written at the end.
pub fn serve(options: &Options) -> Result<(), Error> {
    serve_for(options, Starter::Shell)
}

fn serve_for(options: &Options, starter: Starter) -> Result<(), Error> {
    use rustix::process::Signal;
    let signals = [Signal::USR1, Signal::USR2, Signal::TERM, Signal::INT, Signal::HUP];
    let signals = SignalSet::of(&signals.map(Signal::as_raw));
    compat_sys::block(&signals);
    prepare();
    let control =
        Control { counters: Arc::default(), pace: Arc::new(Pace::new(options.delay, options.limit)) };
    let session = mount(options, &control)?;
    let ended = listen(options, &control, starter).and_then(|()| wait(&signals, options, &control, &session));
    let unmounted = rustix::mount::unmount(&options.mountpoint, UnmountFlags::DETACH);
    if unmounted.is_ok() {
        // Dropping the session would unmount what may be mounted there by now.
        std::mem::forget(session);
    }
    if let Some(socket) = &options.control {
        let _ = std::fs::remove_file(socket);
    }
    ended.and_then(|()| write_counters(options, &control.counters))
}

/// Takes the modes of new files as the kernel sends them, and raises the limit of open files.
fn prepare() {
    rustix::process::umask(Mode::empty());
    let limit = Some(OPEN_FILES);
    let raised = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit });
    if raised.is_err() {
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

fn mount(options: &Options, control: &Control) -> Result<BackgroundSession, Error> {
    let (counters, pace) = (Arc::clone(&control.counters), Arc::clone(&control.pace));
    let file_system = FileSystem::new(&options.source, options.profile, options.acl, counters, pace)
        .map_err(|source| Error::Source { path: options.source.clone(), source })?;
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source.display().to_string()),
        // `fuser` passes its own `Subtype` on to the mount program only, which root does not need.
        MountOption::CUSTOM(format!("subtype={SUBTYPE}")),
        MountOption::Suid,
        MountOption::Dev,
    ];
    if !options.unchecked {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    if options.read_only {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = if options.unchecked { SessionACL::Owner } else { SessionACL::All };
    config.n_threads = Some(options.threads.max(1));
    config.clone_fd = true;
    Session::new(file_system, &options.mountpoint, &config)
        .and_then(Session::spawn)
        .map_err(|source| Error::Mount { path: options.mountpoint.clone(), source })
}

/// Begins to take commands.
fn listen(options: &Options, control: &Control, starter: Starter) -> Result<(), Error> {
    if let Some(path) = &options.control {
        let error = |source| Error::Socket { path: path.clone(), source };
        let listener = UnixListener::bind(path).map_err(error)?;
        let control = control.clone();
        std::thread::spawn(move || control.listen(&listener));
    }
    if starter == Starter::Suite {
        let _ = writeln!(io::stdout(), "{READY}");
        let control = control.clone();
        std::thread::spawn(move || {
            let _ = control.serve(io::stdin(), io::stdout());
            control::end();
        });
    }
    Ok(())
}

/// Waits for the end.
fn wait(
    signals: &SignalSet,
    options: &Options,
    control: &Control,
    session: &BackgroundSession,
) -> Result<(), Error> {
    while !session.guard.is_finished() {
        let Some(received) = compat_sys::wait_for(signals, LOOK).map_err(Error::Signal)? else { continue };
        match received.signal {
            libc::SIGUSR1 => write_counters(options, &control.counters)?,
            libc::SIGUSR2 => control.counters.reset(),
            _ => break,
        }
    }
    Ok(())
}

fn write_counters(options: &Options, counters: &Counters) -> Result<(), Error> {
    let Some(path) = &options.counters else { return Ok(()) };
    write_whole(path, counters).map_err(|source| Error::Counters { path: path.clone(), source })
}

/// Writes a file under a temporary name and renames it, so that no reader sees a part.
fn write_whole(path: &Path, counters: &Counters) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    serde_json::to_writer(&mut file, &counters.counts())?;
    file.write_all(b"\n")?;
    file.persist(path)?;
    Ok(())
}
