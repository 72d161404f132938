//! A command in a mirror whose reads are served from a directory of copies. This uses the hook for caches.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use compat_mirror::enter::{self, End, ExternalPlace, Mounted, Outcome, Service, Task, Users};
use compat_mirror::mirror::{
    Cache, CacheEvent, CachedFile, Coherence, Content, Found, KeptFact, Options, Recalled, Session, Stamp,
    Volume,
};

/// The variable that names the directory of copies. If it is set, this program runs the mirror.
pub const CACHE: &str = "COMPAT_TEST_PROVIDED_FROM";

/// The time at which the files with copies were created, in seconds since 1970.
pub const CREATED: i64 = 1_000_000_000;

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
        let volume = volume.cached_by(Arc::<Folder>::clone(&self.copies) as Arc<dyn Cache>)?;
        self.sessions.push(Session::start(Arc::new(volume))?);
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

impl Cache for Folder {
    fn coherence(&self) -> Coherence {
        Coherence::Strict
    }

    fn leaves_out(&self, _path: &[u8]) -> bool {
        false
    }

    fn content(&self, file: &CachedFile<'_>) -> Option<Found> {
        // The copies belong to the files as they were created.
        if file.stat.stx_mtime.tv_sec != CREATED {
            return None;
        }
        let name = Path::new(std::ffi::OsStr::from_bytes(file.path)).file_name()?;
        let copy = File::open(self.0.join(name)).ok()?;
        let fits = copy.metadata().ok()?.len() == file.stat.stx_size;
        let content: Arc<dyn Content> = Arc::new(Copy { copy, stamp: Stamp::of(file.stat) });
        fits.then_some(Found { content, stat: None })
    }

    fn recall(&self, _stamp: &Stamp) -> Recalled {
        Recalled::default()
    }

    fn keep(&self, _stamp: &Stamp, _fact: KeptFact<'_>) {}

    fn count(&self, _event: CacheEvent) {}
}

/// A copy of a file.
struct Copy {
    copy: File,
    stamp: Stamp,
}

impl Content for Copy {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn whole(&self) -> Option<&File> {
        Some(&self.copy)
    }

    fn is_program(&self) -> bool {
        false
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, rustix::io::Errno> {
        rustix::io::pread(&self.copy, buffer, offset)
    }

    fn may_pass(&self) -> bool {
        true
    }

    fn detach(&self) {}

    fn write(&self, _data: &[u8], _offset: u64) {}

    fn set_size(&self, _size: u64) {}
}
