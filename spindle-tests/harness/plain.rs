//! Mirrors of shares without a cache, for cases about mounts and processes. This program is started once more to run
//! them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use compat_mirror::enter::{self, End, ExternalPlace, Mirrored, Mounted, Outcome, Service, Task, Users};
use compat_mirror::mirror::{Holders, Options, Session, Sharing, Volume};

/// The variable that names the task. If it is set, this program runs the task.
pub const TASK: &str = "COMPAT_TEST_TASK";

/// The variable with the shares, separated by colons. `network` stands for the network file systems.
pub const SHARES: &str = "COMPAT_TEST_SHARES";

/// The variable with the directory at which the mirror is also mounted.
const MOUNT_PATH: &str = "COMPAT_TEST_MOUNT_PATH";

/// Runs the task. Errors are printed.
pub fn run(task: &OsStr) -> ExitCode {
    match attempt(task) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            report(&format!("error: {error}{}", source.unwrap_or_default()));
            ExitCode::from(2)
        }
    }
}

fn attempt(task: &OsStr) -> Result<i32, enter::Error> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match task.to_str() {
        Some("run") => {
            let outcome = enter::run(&options(Task::Command(arguments)), None, &mut Plain::default())?;
            Ok(code_of(outcome))
        }
        other => panic!("{other:?} is not a task"),
    }
}

/// The options in the environment.
fn options(task: Task) -> enter::Options {
    let shares = std::env::var_os(SHARES).unwrap_or_default();
    let (network, further): (Vec<_>, Vec<_>) = std::env::split_paths(&shares)
        .filter(|path| *path != PathBuf::new())
        .partition(|path| path.as_os_str() == "network");
    let place = std::env::var_os(MOUNT_PATH).map(|path| ExternalPlace::At(path.into()));
    enter::Options {
        task,
        mirrored: Mirrored::Shares { network: !network.is_empty(), further },
        directory: None,
        read_only: false,
        place: place.unwrap_or_default(),
    }
}

/// Returns the exit code, and reports an outcome without one.
fn code_of(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Ended(code) => code,
        Outcome::NotExecuted { code, error } => {
            report(&format!("not executed: {error}"));
            code
        }
        other => {
            report(&format!("{other:?}"));
            3
        }
    }
}

fn report(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stderr(), "{line}");
}

/// The service of a mirror that adds nothing to its volumes.
#[derive(Default)]
struct Plain {
    sessions: Vec<Session>,
}

impl Service for Plain {
    fn mounted(&mut self, mounted: Mounted) -> io::Result<()> {
        let only_user = match mounted.users {
            Users::Many => None,
            Users::One { user, group } => Some((user, group)),
        };
        let options = Options {
            place: mounted.place,
            further: mounted.further,
            only_user,
            sharing: Sharing::new(Duration::from_secs(1)),
            closed_to_others: false,
            depth: mounted.depth,
            descriptors: Holders::new(100),
            read_only: mounted.read_only,
            counts_bytes: false,
        };
        let volume = Volume::new(mounted.device, mounted.root, options, None)?;
        self.sessions.push(Session::start(Arc::new(volume))?);
        Ok(())
    }

    fn begin(&mut self, _command: u32) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _end: End) {}

    fn server_killed(&mut self) {
        report("the server was killed");
    }
}
