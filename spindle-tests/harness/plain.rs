//! Mirrors of shares without a cache, for cases about mounts and processes. This program is started once more to run
//! them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use compat_mirror::enter::{
    self, End, ExternalPlace, Mirrored, Mounted, Outcome, RankRole, Service, Task, Users, launcher, session,
};
use compat_mirror::mirror::{Holders, Options, Session, Sharing, Volume};

/// The variable that names the task. If it is set, this program runs the task.
pub const TASK: &str = "COMPAT_TEST_TASK";

/// The variable with the shares, separated by colons. `network` stands for the network file systems.
pub const SHARES: &str = "COMPAT_TEST_SHARES";

/// The variable with the directory at which the mirror is also mounted.
const MOUNT_PATH: &str = "COMPAT_TEST_MOUNT_PATH";

/// The variable with the time in seconds after which a session without members ends.
const IDLE: &str = "COMPAT_TEST_IDLE";

/// The variable that makes the service fail.
const NO_SERVICE: &str = "COMPAT_TEST_NO_SERVICE";

/// The variable that delays the server before the mirror is ready.
const SLOW_BEGIN: &str = "COMPAT_TEST_SLOW_BEGIN";

/// The variable with the file for the figures at the end of a run.
const FIGURES: &str = "COMPAT_TEST_FIGURES";

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

/// The tasks: `run COMMAND…`, `rank COMMAND…`, `slow SOURCE MOUNTPOINT`, `start [ID]`, `join ID COMMAND…`, `list`, `figures ID` and `end ID`.
fn attempt(task: &OsStr) -> Result<i32, enter::Error> {
    let mut arguments = std::env::args_os().skip(1);
    match task.to_str() {
        Some("run") => {
            let options = options(Task::Command(arguments.collect()));
            return Ok(code_of(enter::run(&options, None, &mut Plain::default())?));
        }
        Some("slow") => {
            let mut place = || PathBuf::from(arguments.next().unwrap_or_default());
            let options = slow_share::Options::new(place(), place());
            slow_share::serve(&options).expect("a share");
        }
        Some("rank") => return rank(&arguments.collect::<Vec<_>>()),
        Some("start") => {
            let idle = std::env::var(IDLE).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60.0);
            let id = arguments.next().map(id_of);
            let make = |_: &session::Id| service();
            print(session::start(id, &options(Task::Wait), Duration::from_secs_f64(idle), make)?.to_string());
        }
        Some("join") => {
            let id = id_of(arguments.next().unwrap_or_default());
            let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
            return Ok(code_of(session::join(&id, &arguments.collect::<Vec<_>>(), &directory)?));
        }
        Some("list") => session::list()?.iter().for_each(|session| print(line_of(session))),
        Some("figures") => {
            let figures = session::figures(&id_of(arguments.next().unwrap_or_default()))?;
            print(String::from_utf8_lossy(&figures).into_owned());
        }
        Some("end") => session::end(&id_of(arguments.next().unwrap_or_default()))?,
        other => panic!("{other:?} is not a task"),
    }
    Ok(0)
}

/// Runs a command as a rank: as the lead, or in the mirror of the lead.
fn rank(command: &[OsString]) -> Result<i32, enter::Error> {
    let rank = launcher::rank("spindle", Duration::from_secs(20), Some("run".into())).expect("a launcher");
    let outcome = match enter::meet(&rank)? {
        RankRole::Lead(socket) => {
            enter::run(&options(Task::Command(command.to_vec())), Some(socket), &mut Plain::default())?
        }
        RankRole::Guest(access) => enter::join(command, Path::new("."), access)?,
    };
    Ok(code_of(outcome))
}

fn id_of(text: OsString) -> session::Id {
    text.to_str().unwrap_or_default().parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn service() -> Result<Box<dyn Service>, session::Failure> {
    if std::env::var_os(NO_SERVICE).is_some() {
        let hint = Some("hint".to_owned());
        return Err(session::Failure { message: "no service".to_owned(), hint });
    }
    Ok(Box::new(Plain::default()))
}

fn line_of(session: &session::Listed) -> String {
    let status = session.status.as_ref().map(|status| {
        let shares: Vec<String> =
            status.shares.iter().map(|share| format!("{}={}", share.place.display(), share.kind)).collect();
        let age = status.since.elapsed().map_or(u64::MAX, |age| age.as_secs());
        assert!(age < 120, "it was started by this case");
        format!(" {} {} {}", status.process, status.members, shares.join(" "))
    });
    format!("{}{}", session.id, status.unwrap_or_default())
}

fn print(line: String) {
    use std::io::Write as _;
    writeln!(io::stdout(), "{line}").expect("standard output is open");
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
    /// The numbers of the commands that joined. Their number is the figures of this service.
    joined: BTreeSet<u32>,
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
        if std::env::var_os(SLOW_BEGIN).is_some() {
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    fn joined(&mut self, _process: u32, rank: u32) {
        assert!(self.joined.insert(rank), "each member has its own number");
    }

    fn figures(&mut self) -> Vec<u8> {
        if std::env::var_os(FIGURES).is_some_and(|path| path == "hang") {
            std::thread::sleep(Duration::from_secs(4));
        }
        format!("{} joined", self.joined.len()).into_bytes()
    }

    fn figures_of_run(&mut self, figures: Vec<u8>) {
        if let Some(path) = std::env::var_os(FIGURES) {
            std::fs::write(path, figures).expect("a file for the figures");
        }
    }

    fn end(&mut self, _end: End) {}

    fn server_killed(&mut self) {
        report("the server was killed");
    }
}
