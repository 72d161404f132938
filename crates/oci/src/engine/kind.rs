//! The supported container engines.

/// A container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// docker.
    Docker,
    /// podman: `containers-storage:` names an image in its storage, which its service reads.
    Podman,
}

impl EngineKind {
    /// Returns the prefix before the name of an image (containers-transports(5)).
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

    /// Returns the commands that do without the API: an archive written by the client program.
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
