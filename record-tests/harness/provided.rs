//! A command in a mirror whose reads are served from a directory of copies. This uses the hook for providers.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use compat_mirror::enter::{self, End, ExternalPlace, Mounted, Outcome, Service, Task, Users};
use compat_mirror::mirror::{Options, Provider, Session, Volume, Wanted};

/// The variable that names the directory of copies. If it is set, this program runs the mirror.
pub const CACHE: &str = "COMPAT_TEST_PROVIDED_FROM";

/// The variable that makes the mirror read-only.
const READ_ONLY: &str = "COMPAT_TEST_PROVIDED_READ_ONLY";

/// Returns a command that starts this program to run a script with copies from `cache`.
pub fn command(cache: &Path, read_only: bool, script: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test has a program"));
    command.env(CACHE, cache).args(["sh", "-c", script]);
    if read_only {
        command.env(READ_ONLY, "1");
    }
    command
}

/// Runs the command in the arguments.
pub fn run(cache: PathBuf) -> ExitCode {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    let read_only = std::env::var_os(READ_ONLY).is_some();
    let options = enter::Options {
        task: Task::Command(command),
        mirrored: enter::Mirrored::Everything,
        directory: None,
        read_only,
        place: ExternalPlace::Nowhere,
    };
    let mut service = Copies { copies: Arc::new(Folder(cache)), sessions: Vec::new() };
    match enter::run(&options, None, &mut service) {
        Ok(Outcome::Ended(code)) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        other => panic!("{other:?}"),
    }
}

struct Copies {
    copies: Arc<Folder>,
    sessions: Vec<Session>,
}

impl Service for Copies {
    fn mounted(&mut self, mounted: Mounted) -> std::io::Result<()> {
        assert_eq!(mounted.users, Users::Many, "the cases run as root");
        let options = Options {
            place: mounted.place,
            further: mounted.further,
            only_user: None,
            sharing: compat_mirror::mirror::Sharing::new(Duration::from_secs(1)),
            closed_to_others: false,
            depth: mounted.depth,
            descriptors: compat_mirror::mirror::Holders::new(100),
            read_only: mounted.read_only,
            counts_bytes: false,
        };
        let volume = Volume::new(mounted.device, mounted.root, options, None)?;
        self.sessions.push(Session::start(Arc::new(volume.provided_by(Arc::<Folder>::clone(&self.copies))))?);
        Ok(())
    }

    fn begin(&mut self, _command: u32) -> std::io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _end: End) {}

    fn server_killed(&mut self) {}
}

/// Copies, by the names of the files.
struct Folder(PathBuf);

impl Provider for Folder {
    fn provide(&self, wanted: &Wanted<'_>) -> Option<File> {
        let name = Path::new(std::ffi::OsStr::from_bytes(wanted.path)).file_name()?;
        let copy = File::open(self.0.join(name)).ok()?;
        (copy.metadata().ok()?.len() == wanted.stat.stx_size).then_some(copy)
    }
}
