//! Entering: a command is run in a mount namespace of its own, whose root is a mirror of this root, and
//! finds there what it would find here: the same folder, arguments, environment, user, groups, limits,
//! descriptors and terminal.
//!
//! Three processes take part. The *supervisor*, which is this one, starts the other two, passes signals
//! on and waits. The *server* answers the mirror's requests, in a session of its own, so that no
//! terminal stops it; it stays in the old root. The *command* mounts the mirror over `/`, enters it,
//! binds through what is not mirrored (`plan`), and executes. Whichever dies first, nothing is left:
//! the namespace and its mounts vanish with its last process, and whoever outlives the others ends what
//! still runs inside (`inside`). No folder is made and none removed.
//!
//! The mirror itself is not known here: a [`Service`] is handed the mounted devices.

mod child;
mod control;
mod error;
mod inside;
mod mount_table;
mod namespace;
mod plan;
mod server;
mod supervisor;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

pub use error::Error;
pub use namespace::Users;
use plan::{Plan, Step, depth_of};

use crate::sys;

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Where it runs; the current directory otherwise.
    pub folder: Option<PathBuf>,
    /// Whether the mirrored volumes cannot be written to.
    pub read_only: bool,
}

/// One volume of the mirror, mounted.
#[derive(Debug)]
pub struct Mounted {
    /// The open `/dev/fuse` of the mount.
    pub device: OwnedFd,
    /// The root of the volume, in the old root.
    pub root: OwnedFd,
    /// Where it lies.
    pub place: Vec<u8>,
    /// How deep its file system is stacked.
    pub depth: u32,
    pub users: Users,
}

/// What serves the volumes, in a process of its own.
pub trait Service {
    /// A volume is mounted and waits to be served.
    ///
    /// # Errors
    ///
    /// Where it cannot be; the command is ended then.
    fn mounted(&mut self, volume: Mounted) -> std::io::Result<()>;

    /// The command is about to be executed, by this process.
    fn begin(&mut self, command: u32);

    /// All processes inside have ended.
    fn end(&mut self, end: End);

    /// The server was killed; this is the supervisor.
    fn server_killed(&mut self);
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code, as a shell would tell it.
    Code(i32),
    /// The supervisor was killed, and all inside with it.
    Killed,
}

/// How the command ended.
#[derive(Debug)]
pub enum Outcome {
    /// It ran, and ended with this code: its own, or 128 and the number of the signal that ended it.
    Ended(i32),
    /// It could not be executed: the code that a shell gives, and why.
    NotExecuted { code: i32, error: std::io::Error },
    /// The server was killed, and the command with it.
    ServerKilled,
}

/// Runs a command in a mirror.
///
/// # Errors
///
/// Where the mirror cannot be made; nothing was run then.
pub fn run(options: &Options, service: &mut dyn Service) -> Result<Outcome, Error> {
    let folder = options.folder.clone().map_or_else(std::env::current_dir, Ok);
    let here = PathBuf::from(".");
    let folder = folder.map_err(|source| Error::Folder { path: here, source })?;
    let table = std::fs::read("/proc/self/mountinfo").map_err(Error::MountTable)?;
    let plan = Plan::new(&table, &socket_folders(), is_folder_or_file);
    // Before anything is changed: the most likely fault is that there is no device.
    drop(open_device()?);
    let users = namespace::enter()?;
    let before = sys::block(&supervisor::signals());
    let volumes = volumes(&plan, users)?;
    supervisor::run(
        supervisor::Start { options, folder: &folder, plan: &plan, users, volumes, before },
        service,
    )
}

/// Opens a device and a root for each volume.
fn volumes(plan: &Plan, users: Users) -> Result<Vec<Mounted>, Error> {
    let mut volumes = Vec::new();
    for step in &plan.steps {
        let Step::Mirror(mount) = step else { continue };
        let place: &Path =
            Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&mount.place));
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(place, flags, Mode::empty())
            .map_err(|error| Error::Mount { place: place.to_owned(), source: error.into() })?;
        let (place, depth) = (mount.place.clone(), depth_of(mount));
        volumes.push(Mounted { device: open_device()?, root, place, depth, users });
    }
    Ok(volumes)
}

fn open_device() -> Result<OwnedFd, Error> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/fuse", flags, Mode::empty()).map_err(|error| Error::Device(error.into()))
}

/// Folders of sockets that the environment names: a user's run-time folder, the agent's.
fn socket_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    folders.extend(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from));
    let agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    folders.extend(agent.and_then(|socket| socket.parent().map(Path::to_owned)));
    let real = folders.into_iter().filter_map(|folder| folder.canonicalize().ok());
    // A socket in a home or in /tmp must not take the whole of it out of the mirror.
    real.filter(|folder| folder.components().count() > 2).collect()
}

fn is_folder_or_file(place: &[u8]) -> bool {
    let path = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(place));
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir() || metadata.is_file())
}
