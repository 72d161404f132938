//! The errors that prevent a command from running in a mirror. No command was run in these cases.

use std::io;
use std::path::PathBuf;

use super::background::Failure;
use super::process_limit::ProcessLimit;
use super::session_id::Id;

/// The reason for not running a command in a mirror.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `/dev/fuse` is missing or cannot be opened.
    #[error("could not open /dev/fuse")]
    Device(#[source] io::Error),
    /// No namespace in which mounting is permitted.
    #[error("not permitted to mount, neither as this user nor in a user namespace")]
    Namespace(#[source] io::Error),
    /// A capability is missing that containers may lack.
    #[error("could not enter the mirror: the capability {0} is missing")]
    Capability(&'static str),
    /// The id maps of a user namespace could not be written.
    #[error("could not set up the user namespace")]
    Ids(#[source] io::Error),
    /// A directory cannot be a share.
    #[error("could not mirror the share {}", path.display())]
    Share {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The shares have no directory in common that the external mirror could show.
    #[error("could not mount the mirror at {}: it has {shares} shares, and none contains the others", path.display())]
    SharesApart {
        /// The directory for other processes.
        path: PathBuf,
        /// The number of shares.
        shares: usize,
    },
    /// A mount was refused.
    #[error("could not mount the mirror at {}", place.display())]
    Mount {
        /// The mount point, as seen inside the mirror.
        place: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A volume is mounted but cannot be served.
    #[error("could not serve the mirror at {}", place.display())]
    Serve {
        /// The mount point of the volume.
        place: PathBuf,
        /// The error of the service.
        source: io::Error,
    },
    /// The server of the mirror was not ready for the command.
    #[error("could not start the mirror's server")]
    Begin(#[source] io::Error),
    /// The directory for other processes cannot be used.
    #[error("could not mount the mirror at {}", path.display())]
    MountPath {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The mirror is still mounted at the directory for other processes.
    #[error("could not unmount the mirror at {}", path.display())]
    MountLeft {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The mirror cannot be mounted in the original mount namespace.
    #[error("not permitted to mount the mirror at {}: the mirror is in its own user namespace", path.display())]
    NoMountPath {
        /// The directory.
        path: PathBuf,
    },
    /// The lead rank of this node refused this rank or did not reply.
    #[error("the lead rank of this node {what}")]
    Lead {
        /// The state or action of the lead: the rest of a sentence that begins with "the lead rank of this node".
        what: String,
    },
    /// The directory in which ranks meet is not private to this user.
    #[error("the ranks of this node cannot meet in {}", path.display())]
    Meeting {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The number of this user also stands for other users.
    #[error(
        "user {user} cannot meet other ranks: this number also stands for all users without a number here"
    )]
    Overflow {
        /// The number of the user.
        user: u32,
    },
    /// No session has this name.
    #[error("session {id} does not exist")]
    NoSession {
        /// The name.
        id: Id,
    },
    /// A session already has this name.
    #[error("session {id} is already running")]
    SessionExists {
        /// The name.
        id: Id,
    },
    /// A session does not reply as expected.
    #[error("session {id} {what}")]
    Session {
        /// The name of the session.
        id: Id,
        /// The state or action of the session: the rest of a sentence that begins with its name.
        what: String,
    },
    /// The namespaces of a session cannot be entered.
    #[error("could not join session {id}")]
    SessionJoin {
        /// The name of the session.
        id: Id,
        /// The error of the system.
        source: io::Error,
    },
    /// The directory of the sessions' sockets is not private to this user.
    #[error("could not use {} for sessions", path.display())]
    SessionDirectory {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The background process could not start the session.
    #[error("{}", .0.message)]
    NotStarted(Failure),
    /// The namespaces of the lead cannot be entered.
    #[error("could not join the mirror of this node's lead rank")]
    Join(#[source] io::Error),
    /// The mounts of this process cannot be read.
    #[error("could not read /proc/self/mountinfo")]
    MountTable(#[source] io::Error),
    /// The working directory of the command cannot be entered.
    #[error("could not enter the working directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A process could not be started or waited for.
    #[error("could not {doing}")]
    Process {
        /// The failed action, as an infinitive.
        doing: &'static str,
        /// The error of the system.
        source: io::Error,
    },
}

/// Returns the hint for a thread or process that could not be started.
pub(crate) fn too_few_processes() -> String {
    let limit = ProcessLimit::here().map(|limit| format!(" of {}", limit.most)).unwrap_or_default();
    format!(
        "the limit{limit} on processes and threads was reached, and the mirror needs two for each mounted file system; \
         start the container with a higher `--pids-limit`, or raise `ulimit -u`"
    )
}

impl Error {
    /// Returns a hint for the user.
    pub fn hint(&self) -> Option<String> {
        let ways = "run it as root, in a container started with `--device /dev/fuse --cap-add SYS_ADMIN`, or on a \
                    machine that allows unprivileged user namespaces";
        match self {
            Self::Device(error) if error.kind() == io::ErrorKind::NotFound => Some(
                "start the container with `--device /dev/fuse --cap-add SYS_ADMIN`, or load the kernel's fuse module"
                    .to_owned(),
            ),
            Self::Device(error) if error.raw_os_error() == Some(libc::EACCES) => Some(format!(
                "run `chmod 0666 /dev/fuse` as root to give every user the device, as distributions do, or {ways}"
            )),
            Self::Device(_) => Some(format!("make the device available: {ways}")),
            Self::Namespace(_) | Self::Ids(_) => Some(ways.to_owned()),
            Self::Capability(name) => Some(format!("also start the container with `--cap-add {name}`")),
            Self::Mount { .. } => Some(format!(
                "{ways}; if AppArmor forbids mounts, add `--security-opt apparmor=unconfined`"
            )),
            Self::Share { .. } => Some("--share takes an existing directory of an ordinary file system".to_owned()),
            Self::SharesApart { .. } => {
                Some("omit --mount-path and enter the mirror with nsenter(1), or use `--share /`".to_owned())
            }
            Self::MountTable(_) => Some("mount /proc".to_owned()),
            Self::MountPath { .. } => {
                Some("use an empty directory on which nothing is mounted, or a path that does not exist".to_owned())
            }
            Self::MountLeft { path, .. } => Some(format!("umount --lazy {}", path.display())),
            Self::NoMountPath { .. } => Some(
                "omit --mount-path and enter the mirror with nsenter(1), as `--mount` shows, or run compat as root"
                    .to_owned(),
            ),
            Self::Lead { .. } => Some(
                "check the messages of local rank 0 of this node, and start all ranks of a node as one user in one container"
                    .to_owned(),
            ),
            Self::Meeting { .. } => Some(
                "use --mpi-dir with a private directory of this user, the same for all ranks of a node. A missing one is \
                 created"
                    .to_owned(),
            ),
            Self::Overflow { .. } => Some("start the job as another user, or omit --mpi".to_owned()),
            Self::Join(_) => Some(
                "start all ranks of a node as one user in one container, or record without --mpi, with one log for each \
                 rank"
                    .to_owned(),
            ),
            Self::Serve { source, .. } | Self::Process { source, .. }
                if source.raw_os_error() == Some(libc::EAGAIN) =>
            {
                Some(too_few_processes())
            }
            Self::NoSession { .. } => {
                Some("`compat spindle session list` shows the sessions of this user on this node".to_owned())
            }
            Self::SessionExists { id } => {
                Some(format!("join it with `--session {id}`, or end it with `compat spindle session end {id}`"))
            }
            Self::SessionJoin { .. } => {
                Some("join a session as the user and in the container that started it".to_owned())
            }
            Self::SessionDirectory { .. } => {
                Some("set COMPAT_SESSION_DIR to a directory that only this user can enter".to_owned())
            }
            Self::NotStarted(failure) => failure.hint.clone(),
            Self::Session { .. } => None,
            Self::Serve { .. } | Self::Begin(_) | Self::Directory { .. } | Self::Process { .. } => None,
        }
    }
}
