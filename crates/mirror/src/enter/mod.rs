//! Entering: a command is run in a mount namespace of its own, whose root is a mirror of this root, and
//! finds there what it would find here: the same directory, arguments, environment, user, groups, limits,
//! descriptors and terminal.
//!
//! Three processes take part. The *supervisor*, which is this one, starts the other two, passes signals
//! on and waits. The *server* answers the mirror's requests, in a session of its own, so that no
//! terminal stops it; it stays in the old root. The *command* mounts the mirror over `/`, enters it,
//! binds through what is not mirrored (`plan`), and executes. Whichever dies first, nothing is left:
//! the namespace and its mounts vanish with its last process, and whoever outlives the others ends what
//! still runs inside (`namespace_processes`).
//!
//! A directory that is mounted at several places is mounted once and bound to the others (`repeated_mount`).
//!
//! Where others are to reach the mirror it is mounted once more, at a directory of the namespace that this
//! process came from (`external_mount`), and taken away from there when all has ended.
//!
//! Ranks of a parallel job share the mirror of the one that leads on their node (`rank_listener`, `join`): each has
//! a supervisor of its own, outside, and its command inside.
//!
//! The mirror itself is not known here: a [`Service`] is handed the mounted devices.

mod capability;
mod child;
mod control;
mod descendants;
mod end_request;
mod error;
mod external_mount;
mod job_control;
mod join;
mod mount_table;
mod mount_tree;
mod namespace;
mod namespace_access;
mod namespace_processes;
mod plan;
mod process_limit;
mod process_status;
mod rank_listener;
mod rendezvous;
mod repeated_mount;
mod server;
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
pub use join::{Rank, RankRole, join, meet};
pub use namespace::Users;
pub use namespace_access::NamespaceAccess;
use namespace_processes::NamespaceProcesses;
use plan::{Plan, depth_of};
pub(crate) use process_limit::ProcessLimit;
pub(crate) use process_status::ProcessStatus;
pub use rendezvous::{Directories, LeadSocket};
use rustix::process::Pid;
use start::Start;

/// The task to be run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The task inside the mirror.
    pub task: Task,
    /// Where it runs; the current directory otherwise.
    pub directory: Option<PathBuf>,
    /// Whether the mirrored volumes cannot be written to.
    pub read_only: bool,
    /// Where others reach the mirror, too.
    pub place: ExternalPlace,
}

/// The task inside the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A program and its arguments, at least the program.
    Command(Vec<OsString>),
    /// Nothing, until a signal comes: others enter it.
    Wait,
}

/// Where the mirror is mounted outside of its own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExternalPlace {
    /// Nowhere.
    #[default]
    Nowhere,
    /// At this directory, if that can be.
    Perhaps(PathBuf),
    /// At this directory.
    At(PathBuf),
}

/// How the mirror is reached by others.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// A process inside, whose namespace and root are the mirror's.
    pub process: u32,
    /// Where it is mounted outside.
    pub place: Option<&'a Path>,
    /// Whether it has a user namespace of its own.
    pub as_user: bool,
}

impl Ready<'_> {
    /// The capabilities whose absence shuts users other than root out of the mirror.
    pub fn missing_for_others(&self) -> Vec<&'static str> {
        if self.as_user { Vec::new() } else { capability::missing(capability::TO_SERVE_OTHERS) }
    }
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
    /// Further places at which it lies, with flags of their own.
    pub further: Vec<Vec<u8>>,
    /// How deep its file system is stacked.
    pub depth: u32,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// As whom the callers of this mount are served.
    pub users: Users,
    /// The directory at which this mount of it is reached by others; nothing for the one inside.
    pub outside: Option<PathBuf>,
}

/// A service of the volumes, in a process of its own.
pub trait Service {
    /// A volume is mounted and waits to be served.
    ///
    /// # Errors
    ///
    /// If it cannot be; the command is ended then.
    fn mounted(&mut self, volume: Mounted) -> std::io::Result<()>;

    /// All is mounted, and the command is about to be executed, by this process.
    ///
    /// # Errors
    ///
    /// If it cannot begin; the command is not executed then.
    fn begin(&mut self, command: u32) -> std::io::Result<()>;

    /// Descendants of this process are about to become a rank's command, and are not yet.
    fn joining(&mut self, _process: u32) {}

    /// Descendants of this process are a rank's command.
    fn joined(&mut self, _process: u32, _rank: u32) {}

    /// All is there; this is the supervisor, as for what follows but `end`.
    fn ready(&mut self, _ready: &Ready<'_>) {}

    /// These processes came from outside and are still inside; they are asked to end.
    fn still_inside(&mut self, _processes: &[Pid]) {}

    /// Only so many of a node's ranks have come.
    fn ranks_missing(&mut self, _came: u32, _expected: u32) {}

    /// All processes inside have ended; this is the server.
    fn end(&mut self, end: End);

    /// The server was killed after it had begun; this is the supervisor.
    fn server_killed(&mut self);
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code, as a shell would report it.
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
    NotExecuted {
        /// 127 if the program does not exist, and 126 otherwise.
        code: i32,
        /// The error of execve(2) or of the search for the program.
        error: std::io::Error,
    },
    /// The server was killed, and the command with it.
    ServerKilled,
    /// The rank that leads on this node has ended, and the command with it.
    LeadKilled,
}

impl Outcome {
    fn not_executed(error: std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        Self::NotExecuted { code, error }
    }
}

/// Runs a command in a mirror, which the ranks that come to the socket share.
///
/// # Errors
///
/// If the mirror cannot be made; nothing was run then.
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
    // Before anything is changed: the most likely fault is that there is no device.
    drop(open_device()?);
    // Both are found among the mounts, and by the numbers of users, that this process has here.
    let sockets = socket_directory::directories();
    let outside = open_outside(&options.place)?;
    let entered = match namespace::enter() {
        Ok(entered) => entered,
        Err(error) => {
            outside.and_then(Result::ok).iter().for_each(ExternalMount::discard);
            return Err(error);
        }
    };
    let outside = usable(outside, &options.place, entered.as_user)?;
    let outcome = plan_and_run(options, &directory, &sockets, entered, outside.as_ref(), socket, service);
    let left = outside.as_ref().map_or(Ok(()), ExternalMount::leave);
    // Why nothing was run is what is asked first.
    let outcome = outcome?;
    match (outside, left) {
        (Some(outside), Err(source)) => Err(Error::MountLeft { path: outside.place().to_owned(), source }),
        _ => Ok(outcome),
    }
}

/// Opens the directory at which others are to reach the mirror; nothing where they are not. Why it cannot be
/// there is reported later, when it matters.
fn open_outside(place: &ExternalPlace) -> Result<Option<Result<ExternalMount, Error>>, Error> {
    let (ExternalPlace::Perhaps(path) | ExternalPlace::At(path)) = place else { return Ok(None) };
    let outer = MountNamespace::current().map_err(Error::Namespace)?;
    let table = std::fs::read("/proc/self/mountinfo").map_err(Error::MountTable)?;
    Ok(Some(ExternalMount::new(path, outer, &table)))
}

/// The directory, if it can be used when it is known whether the mirror is mounted `as_user`.
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
    // From here on nobody else mounts or unmounts anything here.
    let table = std::fs::read("/proc/self/mountinfo").map_err(Error::MountTable)?;
    let at_root = |source: std::io::Error| Error::Mount { place: "/".into(), source };
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|error| at_root(error.into()))?;
    let places: Vec<PathBuf> = sockets.iter().map(|directory| directory.place.clone()).collect();
    let mut plan = Plan::new(&table, &places, |place| is_directory_or_file(&root, place));
    let mut roots = open_roots(&root, &mut plan).map_err(at_root)?;
    repeated_mount::join(&mut plan, &mut roots, &mount_table::parse_all(&table));
    let bound = open_bound(&root, &mut plan, sockets);
    let inside = NamespaceProcesses::new(&table);
    let start = Start {
        options,
        directory,
        plan: &plan,
        inside: &inside,
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

/// The same directory wherever this process goes meanwhile.
fn absolute(directory: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(directory).map_err(|source| Error::Directory { path: directory.to_owned(), source })
}

/// Opens the root of each volume. One that cannot be reached is left out: others' file systems that have ended,
/// or are closed even to root. Its place is seen in the volume that it lies in, closed: what was mounted with
/// flags of its own is not seen with another's.
fn open_roots(root: &OwnedFd, plan: &mut Plan) -> std::io::Result<Vec<OwnedFd>> {
    let mut roots = Vec::new();
    let mut failure = None;
    plan.retain_mirrors(|mount| match open_root(root, mount) {
        Ok(root) => {
            roots.push(root);
            true
        }
        Err(source) => {
            let is_root = mount.place == b"/";
            failure = failure.take().or(is_root.then_some(source));
            false
        }
    });
    failure.map_or(Ok(roots), Err)
}

/// Opens what is bound. What is not there any more, or is a directory of sockets and not the one that was looked
/// at, is left out.
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
        let further = plan.places_of(mount);
        volumes.push(Mounted { device, root, place, further, depth, read_only, users, outside });
    }
    Ok(volumes)
}

/// Opens the root of a volume: of this mount, and of none that its place has been exchanged for.
fn open_root(root: &OwnedFd, mount: &mount_table::Mount) -> std::io::Result<OwnedFd> {
    let file = walk::open(root, &mount.place)?;
    // A file system whose server has ended can be opened and answers nothing.
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
