//! The container engines that are known.

/// Whose images are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// docker's.
    Docker,
    /// podman's: `containers-storage:` names what lies in its storage, and its service reads that.
    Podman,
}

impl EngineKind {
    /// The word before the image's name (containers-transports(5)).
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Docker => "docker-daemon:",
            Self::Podman => "containers-storage:",
        }
    }

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// The way without the API: the client's own archive.
    pub(super) fn archive(self, name: &str) -> String {
        match self {
            Self::Docker => {
                format!("`docker save -o app.tar {name} && compat check docker-archive:app.tar`")
            }
            Self::Podman => format!(
                "`podman save --format oci-archive -o app.tar {name} && compat check oci-archive:app.tar`"
            ),
        }
    }
}
