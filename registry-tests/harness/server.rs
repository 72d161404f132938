//! The places that a case runs on: real registries and layout directories.

use super::case::{DOCKER_REGISTRY, OLAREG};
use super::docker_registry::{self, DockerRegistry};
use super::olareg::{self, Olareg};
use super::{Requirement, Workspace};

/// The kinds of registries on which the same case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Without the referrers API: it uses the fallback tag.
    DockerRegistry,
    /// With the referrers API.
    Olareg,
    /// With the referrers API disabled: it returns 405.
    OlaregWithoutReferrers,
    /// An OCI image layout directory.
    Layout,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::DockerRegistry, Self::Olareg, Self::OlaregWithoutReferrers, Self::Layout];

    /// The kinds that are servers.
    pub const SERVERS: [Self; 3] = [Self::DockerRegistry, Self::Olareg, Self::OlaregWithoutReferrers];

    /// Returns the kind as a part of a case's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::DockerRegistry => "docker_registry",
            Self::Olareg => "olareg",
            Self::OlaregWithoutReferrers => "olareg_without_referrers",
            Self::Layout => "layout",
        }
    }

    /// Returns the requirements of a case on this kind, in addition to the given ones.
    pub fn requirements(self, others: &[Requirement]) -> Vec<Requirement> {
        let mut requirements = others.to_vec();
        match self {
            Self::DockerRegistry => requirements.push(DOCKER_REGISTRY),
            Self::Olareg | Self::OlaregWithoutReferrers => requirements.push(OLAREG),
            Self::Layout => {}
        }
        requirements
    }
}

enum Server {
    DockerRegistry(DockerRegistry),
    Olareg(Olareg),
    Layout(String),
}

/// A registry, open to everybody and over plain HTTP.
pub struct Registry {
    server: Server,
}

impl Registry {
    /// Starts the registry.
    pub fn start(workspace: &Workspace, kind: Kind) -> Self {
        let server = match kind {
            Kind::DockerRegistry => Server::DockerRegistry(DockerRegistry::start(
                workspace,
                &docker_registry::Settings::default(),
            )),
            Kind::Olareg => Server::Olareg(Olareg::start(workspace, &olareg::Settings::default())),
            Kind::OlaregWithoutReferrers => {
                let settings = olareg::Settings { without_referrers: true, ..Default::default() };
                Server::Olareg(Olareg::start(workspace, &settings))
            }
            Kind::Layout => {
                workspace.directory("layouts");
                Server::Layout(workspace.text("layouts"))
            }
        };
        Self { server }
    }

    /// Returns `127.0.0.1:PORT`, or `None` for a layout.
    pub fn address(&self) -> Option<String> {
        match &self.server {
            Server::DockerRegistry(server) => Some(server.address()),
            Server::Olareg(server) => Some(server.address()),
            Server::Layout(_) => None,
        }
    }

    /// Returns the part of a reference before the tag or digest.
    pub fn repository(&self, repository: &str) -> String {
        match &self.server {
            Server::Layout(directory) => format!("oci:{directory}/{repository}"),
            _ => format!("{}/{repository}", self.address().expect("a server has an address")),
        }
    }

    /// Returns a reference by tag.
    pub fn tagged(&self, repository: &str, tag: &str) -> String {
        format!("{}:{tag}", self.repository(repository))
    }

    /// Returns a reference by digest.
    pub fn by_digest(&self, repository: &str, digest: &str) -> String {
        format!("{}@{digest}", self.repository(repository))
    }
}
