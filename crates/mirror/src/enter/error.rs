//! Why a command could not be put into a mirror. Nothing was run then.

use std::io;
use std::path::PathBuf;

use super::process_limit::ProcessLimit;

/// Why a command could not be run in a mirror.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `/dev/fuse` is missing or closed.
    #[error("could not open /dev/fuse")]
    Device(#[source] io::Error),
    /// No namespace to mount in.
    #[error("no right to mount: neither as this user nor in a user namespace")]
    Namespace(#[source] io::Error),
    /// A right is missing that containers may be started without.
    #[error("could not enter the mirror: the capability {0} is missing")]
    Capability(&'static str),
    /// The ids of a user namespace could not be set.
    #[error("could not set up the user namespace")]
    Ids(#[source] io::Error),
    /// A mount was refused.
    #[error("could not mount the mirror at {}", place.display())]
    Mount {
        /// The place of the mount, as it is seen inside.
        place: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A volume is mounted, and cannot be served.
    #[error("could not serve the mirror at {}", place.display())]
    Serve {
        /// The place of the volume.
        place: PathBuf,
        /// The error of the service.
        source: io::Error,
    },
    /// The service of the mirror was not ready when the command was to be executed.
    #[error("what serves the mirror could not begin")]
    Begin(#[source] io::Error),
    /// The directory at which others are to reach the mirror.
    #[error("could not mount the mirror at {}", path.display())]
    MountPath {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The mirror is still mounted where others reached it.
    #[error("could not unmount the mirror at {}", path.display())]
    MountLeft {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The mirror cannot be mounted where this process came from.
    #[error("no right to mount the mirror at {}: it can only be entered from where it is", path.display())]
    NoMountPath {
        /// The directory.
        path: PathBuf,
    },
    /// The rank that leads on this node did not answer.
    #[error("the lead rank of this node {what}")]
    Lead {
        /// What the lead is or did, as the rest of a sentence that begins with it.
        what: String,
    },
    /// The directory in which ranks meet is not this user's alone.
    #[error("the ranks of this node cannot meet in {}", path.display())]
    Meeting {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// This user's number stands for others, too.
    #[error("user {user} cannot be told from users that have no number here, and cannot meet other ranks")]
    Overflow {
        /// The number of the user.
        user: u32,
    },
    /// The lead's namespaces are closed to this process.
    #[error("could not join the mirror of this node's lead rank")]
    Join(#[source] io::Error),
    /// The mounts of this process are not to be read.
    #[error("could not read /proc/self/mountinfo")]
    MountTable(#[source] io::Error),
    /// The directory in which the command is to run.
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
        /// What was being done, as an infinitive.
        doing: &'static str,
        /// The error of the system.
        source: io::Error,
    },
}

/// The hint for a thread or process that could not be started.
pub(crate) fn too_few_processes() -> String {
    let limit = ProcessLimit::here().map(|limit| format!(" of {}", limit.most)).unwrap_or_default();
    format!(
        "the limit{limit} on processes and threads is reached, and the recorder needs two for each mounted file system; \
         start the container with a higher `--pids-limit`, or raise `ulimit -u`"
    )
}

impl Error {
    /// A hint for the user.
    pub fn hint(&self) -> Option<String> {
        let ways = "run it as root, in a container started with `--device /dev/fuse --cap-add SYS_ADMIN`, or \
                    where unprivileged user namespaces are allowed";
        match self {
            Self::Device(error) if error.kind() == io::ErrorKind::NotFound => Some(
                "start the container with `--device /dev/fuse --cap-add SYS_ADMIN`, or load the kernel's fuse module"
                    .to_owned(),
            ),
            Self::Device(error) if error.raw_os_error() == Some(libc::EACCES) => Some(format!(
                "`chmod 0666 /dev/fuse` as root gives every user the device, as distributions do; or {ways}"
            )),
            Self::Device(_) => Some(format!("give it the device: {ways}")),
            Self::Namespace(_) | Self::Ids(_) => Some(ways.to_owned()),
            Self::Capability(name) => Some(format!("start the container with `--cap-add {name}`, too")),
            Self::Mount { .. } => Some(format!(
                "{ways}; where AppArmor forbids mounts, add `--security-opt apparmor=unconfined`"
            )),
            Self::MountTable(_) => Some("mount /proc".to_owned()),
            Self::MountPath { .. } => {
                Some("name an empty directory on which nothing is mounted, or one that is not there yet".to_owned())
            }
            Self::MountLeft { path, .. } => Some(format!("umount --lazy {}", path.display())),
            Self::NoMountPath { .. } => Some(
                "leave out --mount-path and enter the mirror with nsenter(1), as --mount tells, or run as root"
                    .to_owned(),
            ),
            Self::Lead { .. } => Some(
                "see what local rank 0 of this node has said; all ranks of a node must be started by one user in one \
                 container"
                    .to_owned(),
            ),
            Self::Meeting { .. } => Some(
                "name a directory of this user's own with --mpi-dir, the same for all ranks of a node; it is made \
                 where it is missing"
                    .to_owned(),
            ),
            Self::Overflow { .. } => Some("start the job as another user, or leave out --mpi".to_owned()),
            Self::Join(_) => Some(
                "all ranks of a node must be started by one user in one container; where each rank has a container of \
                 its own, record without --mpi, one log for each"
                    .to_owned(),
            ),
            Self::Serve { source, .. } | Self::Process { source, .. }
                if source.raw_os_error() == Some(libc::EAGAIN) =>
            {
                Some(too_few_processes())
            }
            Self::Serve { .. } | Self::Begin(_) | Self::Directory { .. } | Self::Process { .. } => None,
        }
    }
}
