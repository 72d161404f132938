//! Why a command could not be put into a mirror. Nothing was run then.

use std::io;
use std::path::PathBuf;

/// What stood in the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `/dev/fuse` is missing or closed.
    #[error("could not open /dev/fuse")]
    Device(#[source] io::Error),
    /// No namespace to mount in.
    #[error("no right to mount: neither as this user nor in a user namespace")]
    Namespace(#[source] io::Error),
    /// The ids of a user namespace could not be set.
    #[error("could not set up the user namespace")]
    Ids(#[source] io::Error),
    /// A mount was refused.
    #[error("could not mount the mirror at {}", place.display())]
    Mount { place: PathBuf, source: io::Error },
    /// The mounts of this process are not to be read.
    #[error("could not read /proc/self/mountinfo")]
    MountTable(#[source] io::Error),
    /// The folder in which the command is to run.
    #[error("could not enter the working directory {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// A process could not be started or waited for.
    #[error("could not {doing}")]
    Process { doing: &'static str, source: io::Error },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let ways = "run it as root, in a container started with `--device /dev/fuse --cap-add SYS_ADMIN`, or \
                    where unprivileged user namespaces are allowed";
        match self {
            Self::Device(error) if error.kind() == io::ErrorKind::NotFound => Some(
                "start the container with `--device /dev/fuse --cap-add SYS_ADMIN`, or load the kernel's fuse module"
                    .to_owned(),
            ),
            Self::Device(_) => Some(format!("give it the device: {ways}")),
            Self::Namespace(_) | Self::Ids(_) => Some(ways.to_owned()),
            Self::Mount { .. } => Some(format!(
                "{ways}; where AppArmor forbids mounts, add `--security-opt apparmor=unconfined`"
            )),
            Self::MountTable(_) => Some("mount /proc".to_owned()),
            Self::Folder { .. } | Self::Process { .. } => None,
        }
    }
}
