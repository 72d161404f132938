//! Runs a command in its own mount namespace, with a mirror of this root as its root. The command finds the same
//! environment as outside: directory, arguments, environment variables, user, groups, limits, descriptors and terminal.
//!
//! Three processes take part:
//!
//! - The *supervisor* is this process. It starts the other two, passes signals on and waits.
//! - The *server* replies to the requests of the mirror. It has its own session, so that no terminal stops it, and
//!   stays in the old root.
//! - The *command* mounts the mirror over `/`, enters it, binds the places that are not mirrored (`plan`), and
//!   executes.
//!
//! Whichever process dies first, nothing is left. The namespace and its mounts vanish with its last process, and the
//! surviving process kills the processes inside (`namespace_processes`).
//!
//! A directory that is mounted at several places is mounted once and bound to the other places (`repeated_mount`).
//!
//! If other processes are to reach the mirror, it is also mounted at a directory of the original mount namespace
//! (`external_mount`), and unmounted there when all processes have ended.
//!
//! The ranks of a parallel job share the mirror of the lead rank on their node (`rank_listener`, `join`). Each rank has
//! its own supervisor outside and its command inside.
//!
//! This module does not serve the mirror. A [`Service`] receives the mounted devices.

mod admission;
mod background;
mod capability;
mod child;
mod control;
mod descendants;
mod end_request;
mod error;
mod external_mount;
mod figures_channel;
mod inner_namespace;
mod job_control;
mod join;
pub mod launcher;
mod listener;
mod mount_table;
mod mount_tree;
mod mounting;
mod namespace;
mod namespace_access;
mod namespace_processes;
mod plan;
pub(crate) mod private_directory;
mod process_limit;
mod process_status;
mod rank_listener;
mod rendezvous;
mod repeated_mount;
mod server;
pub mod session;
mod session_client;
mod session_id;
mod session_listener;
mod share;
mod share_plan;
mod socket_directory;
mod start;
mod streams;
mod supervisor;
mod walk;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountFlags;

pub use error::Error;
pub(crate) use error::too_few_processes;
use external_mount::{ExternalMount, MountNamespace};
use inner_namespace::InnerNamespace;
pub use join::{Rank, RankRole, join, meet};
pub use namespace::Users;
pub use namespace_access::NamespaceAccess;
use namespace_processes::NamespaceProcesses;
use plan::{Plan, depth_of};
pub(crate) use process_limit::ProcessLimit;
pub(crate) use process_status::ProcessStatus;
pub use rendezvous::{Directories, LeadSocket};
use rustix::process::Pid;
pub use share::{Mirrored, Share, is_network, never_mirrored, shares};
use start::Start;

/// The task to run, and its options.
#[derive(Clone, Debug)]
pub struct Options {
    /// The task inside the mirror.
    pub task: Task,
    /// The parts of the file system that are mirrored.
    pub mirrored: Mirrored,
    /// The working directory of the task. The default is the current directory.
    pub directory: Option<PathBuf>,
    /// Whether the mirrored volumes are read-only.
    pub read_only: bool,
    /// The place at which other processes reach the mirror.
    pub place: ExternalPlace,
}

/// The task inside the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A program and its arguments. The list must not be empty.
    Command(Vec<OsString>),
    /// The same. The mirror stays afterwards, for processes that reach it from outside, until a signal comes.
    CommandThenWait(Vec<OsString>),
    /// No command. Other processes enter the mirror until a signal comes.
    Wait,
}

impl Task {
    /// The program and its arguments, or nothing.
    pub fn command(&self) -> &[OsString] {
        match self {
            Self::Command(command) | Self::CommandThenWait(command) => command,
            Self::Wait => &[],
        }
    }
}

/// The place at which the mirror is mounted outside its own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExternalPlace {
    /// Nowhere.
    #[default]
    Nowhere,
    /// At this directory, if possible.
    Perhaps(PathBuf),
    /// At this directory.
    At(PathBuf),
}

/// The ways in which other processes reach the mirror.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// A process inside, with the namespace and root of the mirror.
    pub process: u32,
    /// The external mount point.
    pub place: Option<&'a Path>,
    /// Whether the mirror has its own user namespace.
    pub as_user: bool,
}

impl Ready<'_> {
    /// The missing capabilities without which users other than root cannot use the mirror.
    pub fn missing_for_others(&self) -> Vec<&'static str> {
        if self.as_user { Vec::new() } else { capability::missing(capability::TO_SERVE_OTHERS) }
    }
}

/// A mounted volume of the mirror.
#[derive(Debug)]
pub struct Mounted {
    /// The open `/dev/fuse` of the mount.
    pub device: OwnedFd,
    /// The root of the volume, in the old root.
    pub root: OwnedFd,
    /// The mount point of the volume.
    pub place: Vec<u8>,
    /// Further mount points of the volume, each with its own flags.
    pub further: Vec<Vec<u8>>,
    /// The type of the file system, such as `nfs4`.
    pub kind: Vec<u8>,
    /// The source of the mount, such as a device or `server:/path`.
    pub source: Vec<u8>,
    /// The directory of the file system that the volume shows.
    pub directory: Vec<u8>,
    /// The stacking depth of the file system.
    pub depth: u32,
    /// Whether the volume is mounted read-only.
    pub read_only: bool,
    /// The users that this mount can serve.
    pub users: Users,
    /// The external mount point of this mount. `None` for a mount inside.
    pub outside: Option<PathBuf>,
}

/// The server of the volumes, in its own process.
pub trait Service {
    /// Starts to serve a mounted volume.
    ///
    /// # Errors
    ///
    /// If the volume cannot be served. The command is killed in this case.
    fn mounted(&mut self, volume: Mounted) -> std::io::Result<()>;

    /// Announces that all volumes are mounted, and that the process `command` is about to execute the command.
    ///
    /// # Errors
    ///
    /// If the service cannot start. The command is not executed in this case.
    fn begin(&mut self, command: u32) -> std::io::Result<()>;

    /// Announces that descendants of this process will become the command of a rank, but have not yet.
    fn joining(&mut self, _process: u32) {}

    /// Announces that descendants of this process are the command of a rank.
    fn joined(&mut self, _process: u32, _rank: u32) {}

    /// Returns the figures of the run so far, at most 4 MiB. Called in the server. A run without figures returns nothing.
    fn figures(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Reports the figures of the whole run, if the server has some and returns them in time. Called
    /// in the supervisor, before the server ends.
    fn figures_of_run(&mut self, _figures: Vec<u8>) {}

    /// Announces that the mirror is ready. Called in the supervisor, as are the following functions except for `end`.
    fn ready(&mut self, _ready: &Ready<'_>) {}

    /// Reports that these processes came from outside and are still inside. They receive SIGTERM.
    fn still_inside(&mut self, _processes: &[Pid]) {}

    /// Reports that fewer ranks of the node came than expected.
    fn ranks_missing(&mut self, _came: u32, _expected: u32) {}

    /// Announces that all processes inside have ended. Called in the server.
    fn end(&mut self, end: End);

    /// Reports that the server was killed after its start. Called in the supervisor.
    fn server_killed(&mut self);
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The exit code, as a shell would report it.
    Code(i32),
    /// The supervisor was killed, and all processes inside with it.
    Killed,
}

/// The end of the command.
#[derive(Debug)]
pub enum Outcome {
    /// The command ran and ended with this code: its exit code, or 128 plus the number of the signal that killed it.
    Ended(i32),
    /// The command could not be executed.
    NotExecuted {
        /// 127 if the program does not exist, and 126 otherwise.
        code: i32,
        /// The error of execve(2) or of the search for the program.
        error: std::io::Error,
    },
    /// The server was killed, so the command was killed, too.
    ServerKilled,
    /// The lead rank of this node ended, so the command was killed.
    LeadKilled,
}

impl Outcome {
    fn not_executed(error: std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        Self::NotExecuted { code, error }
    }
}

/// Runs a command in a mirror. Ranks that connect to the socket share the mirror.
///
/// # Errors
///
/// If the mirror cannot be created. No command was run in this case.
pub fn run(
    options: &Options,
    mut socket: Option<LeadSocket>,
    service: &mut dyn Service,
) -> Result<Outcome, Error> {
    let outcome = prepare_and_run(options, &mut socket, service);
    if let Some(socket) = socket.filter(|_| outcome.is_err()) {
        socket.refuse();
    }
    outcome
}

fn prepare_and_run(
    options: &Options,
    socket: &mut Option<LeadSocket>,
    service: &mut dyn Service,
) -> Result<Outcome, Error> {
    let directory = absolute(options.directory.as_deref().unwrap_or(Path::new(".")))?;
    let options = &Options { mirrored: options.mirrored.resolved()?, ..options.clone() };
    // Check the most likely fault, a missing device, before anything is changed.
    drop(open_device()?);
    // Both depend on the mounts and user numbers that this process sees before it enters a namespace.
    let sockets = socket_directory::directories();
    let outside = open_outside(&options.place)?;
    let entered = match namespace::enter(options.mirrored.is_partial()) {
        Ok(entered) => entered,
        Err(error) => {
            outside.and_then(Result::ok).iter().for_each(ExternalMount::discard);
            return Err(error);
        }
    };
    let outside = usable(outside, &options.place, entered.as_user)?;
    let outcome = plan_and_run(options, &directory, &sockets, entered, outside.as_ref(), socket, service);
    let left = outside.as_ref().map_or(Ok(()), ExternalMount::leave);
    // The reason for not running the command takes precedence.
    let outcome = outcome?;
    match (outside, left) {
        (Some(outside), Err(source)) => Err(Error::MountLeft { path: outside.place().to_owned(), source }),
        _ => Ok(outcome),
    }
}

/// Opens the directory for other processes, or returns `None` if none is requested. An unusable directory is reported
/// later, when it matters.
fn open_outside(place: &ExternalPlace) -> Result<Option<Result<ExternalMount, Error>>, Error> {
    let (ExternalPlace::Perhaps(path) | ExternalPlace::At(path)) = place else { return Ok(None) };
    let outer = MountNamespace::current().map_err(Error::Namespace)?;
    let table = std::fs::read("/proc/self/mountinfo").map_err(Error::MountTable)?;
    Ok(Some(ExternalMount::new(path, outer, &table)))
}

/// Returns the directory if it can be used. `as_user` means that the mirror is in its own user namespace.
fn usable(
    outside: Option<Result<ExternalMount, Error>>,
    place: &ExternalPlace,
    as_user: bool,
) -> Result<Option<ExternalMount>, Error> {
    let Some(outside) = outside else { return Ok(None) };
    match place {
        ExternalPlace::At(path) if as_user => {
            outside.iter().for_each(ExternalMount::discard);
            Err(Error::NoMountPath { path: path.clone() })
        }
        ExternalPlace::At(_) => outside.map(Some),
        _ if as_user => {
            outside.iter().for_each(ExternalMount::discard);
            Ok(None)
        }
        _ => Ok(outside.ok()),
    }
}

fn plan_and_run(
    options: &Options,
    directory: &Path,
    sockets: &[socket_directory::SocketDirectory],
    entered: namespace::Entered,
    outside: Option<&ExternalMount>,
    socket: &mut Option<LeadSocket>,
    service: &mut dyn Service,
) -> Result<Outcome, Error> {
    // From here on, only this process mounts and unmounts in this namespace.
    let table = std::fs::read("/proc/self/mountinfo").map_err(Error::MountTable)?;
    let at_root = |source: std::io::Error| Error::Mount { place: "/".into(), source };
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|error| at_root(error.into()))?;
    let places: Vec<PathBuf> = sockets.iter().map(|directory| directory.place.clone()).collect();
    let exists = |place: &[u8]| is_directory_or_file(&root, place);
    let mut plan = match &options.mirrored {
        Mirrored::Everything => Plan::new(&table, &places, exists),
        Mirrored::Shares { network, further } => Plan::of_shares(&table, *network, further, &places, exists)?,
    };
    let outside = outside.filter(|_| fits(&plan, options));
    if let (ExternalPlace::At(path), None) = (&options.place, outside) {
        return Err(Error::SharesApart { path: path.clone(), shares: plan.mirrors().count() });
    }
    let mut roots = open_roots(&root, &mut plan, &options.mirrored)?;
    repeated_mount::join(&mut plan, &mut roots, &mount_table::parse_all(&table));
    let bound = open_bound(&root, &mut plan, sockets);
    let inner = inner_namespace(options, &plan)?;
    let inside = NamespaceProcesses::new(&table, inner);
    let start = Start {
        options,
        directory,
        plan: &plan,
        inside: &inside,
        inner: inside.inner(),
        users: entered.users,
        volumes: Vec::new(),
        bound,
        outside,
        as_user: entered.as_user,
        before: compat_sys::block(&descendants::signals()),
    };
    drop(root);
    run_in(start, &roots, socket, service)
}

/// Returns a namespace for the command if its root is not mirrored.
fn inner_namespace(options: &Options, plan: &Plan) -> Result<Option<InnerNamespace>, Error> {
    if !options.mirrored.is_partial() {
        return Ok(None);
    }
    if plan.has_root() {
        // The server sees the old root as it is now.
        return namespace::follow_no_longer().map(|()| None);
    }
    InnerNamespace::new().map(Some).map_err(Error::Namespace)
}

/// Whether an external mirror can show all shares: one of them contains the others.
fn fits(plan: &Plan, options: &Options) -> bool {
    let mut places = plan.steps.iter().map(plan::MountStep::place);
    let first = places.next();
    !options.mirrored.is_partial()
        || first.is_some_and(|first| places.all(|place| mount_table::lies_in(place, first)))
}

fn run_in(
    mut start: Start<'_>,
    roots: &[OwnedFd],
    socket: &mut Option<LeadSocket>,
    service: &mut dyn Service,
) -> Result<Outcome, Error> {
    let place = start.outside.map(ExternalMount::place);
    for outside in [Some(None), place.map(Some)].into_iter().flatten() {
        let volumes = open_devices(start.plan, roots, start.users, start.options.read_only, outside)?;
        start.volumes.extend(volumes);
    }
    supervisor::run(start, socket, service)
}

/// Makes a path absolute, because this process changes its working directory later.
fn absolute(directory: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(directory).map_err(|source| Error::Directory { path: directory.to_owned(), source })
}

/// Opens the root of each volume. The root of the command and the shares that the user named must be reached. Another
/// volume is skipped if it cannot be reached: a file system whose server has ended, or
/// that is closed even to root. Its mount point then appears as an inaccessible directory in the surrounding volume,
/// because the content of a mount must not show with the flags of another mount.
fn open_roots(root: &OwnedFd, plan: &mut Plan, mirrored: &Mirrored) -> Result<Vec<OwnedFd>, Error> {
    let mut roots = Vec::new();
    let mut failure = None;
    plan.retain_mirrors(|mount| match open_root(root, mount) {
        Ok(root) => {
            roots.push(root);
            true
        }
        Err(source) => {
            let path = shown(&mount.place).to_owned();
            if mount.place == b"/" {
                failure = Some(Error::Mount { place: path, source });
            } else if mirrored.names(&path) {
                failure = Some(Error::Share { path, source });
            }
            false
        }
    });
    failure.map_or(Ok(roots), Err)
}

/// Opens the places to bind. A place is skipped if it no longer exists, or if it is a directory of sockets and not the
/// one that was checked.
fn open_bound(
    root: &OwnedFd,
    plan: &mut Plan,
    sockets: &[socket_directory::SocketDirectory],
) -> Vec<OwnedFd> {
    let mut bound = Vec::new();
    plan.retain_bound(|place| {
        let file = walk::open(root, place).and_then(|file| Ok((walk::look(&file)?, file)));
        let Some((_, file)) = file.ok().filter(|(stat, _)| socket_directory::is_same(sockets, place, stat))
        else {
            return false;
        };
        bound.push(file);
        true
    });
    bound
}

/// Opens a device for each volume.
fn open_devices(
    plan: &Plan,
    roots: &[OwnedFd],
    users: Users,
    read_only: bool,
    outside: Option<&Path>,
) -> Result<Vec<Mounted>, Error> {
    let mut volumes = Vec::new();
    for (mount, root) in plan.mirrors().zip(roots) {
        let failed = |source| Error::Mount { place: shown(&mount.place).to_owned(), source };
        let root = root.try_clone().map_err(failed)?;
        let (place, depth) = (mount.place.clone(), depth_of(mount));
        let read_only = read_only || mount.flags.contains(MountFlags::RDONLY);
        let (device, outside) = (open_device()?, outside.map(Path::to_owned));
        volumes.push(Mounted {
            device,
            root,
            place,
            further: plan.places_of(mount),
            kind: mount.kind.clone(),
            source: mount.source.clone(),
            directory: mount.root.clone(),
            depth,
            read_only,
            users,
            outside,
        });
    }
    Ok(volumes)
}

/// Opens the root of a volume. Fails if another mount has taken its mount point.
fn open_root(root: &OwnedFd, mount: &mount_table::Mount) -> std::io::Result<OwnedFd> {
    let file = walk::open(root, &mount.place)?;
    // A file system whose server has ended can be opened, but does not reply.
    rustix::fs::fstat(&file)?;
    let is_root = mount.place == b"/";
    if is_root || compat_sys::mount_number(&file, Path::new("/proc"))? == mount.number {
        return Ok(file);
    }
    Err(std::io::Error::from_raw_os_error(libc::ESTALE))
}

fn shown(place: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(place))
}

fn open_device() -> Result<OwnedFd, Error> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/fuse", flags, Mode::empty()).map_err(|error| Error::Device(error.into()))
}

fn is_directory_or_file(root: &OwnedFd, place: &[u8]) -> bool {
    let stat = walk::open(root, place).and_then(walk::look);
    stat.is_ok_and(|stat| matches!(walk::kind(&stat), FileType::Directory | FileType::RegularFile))
}
