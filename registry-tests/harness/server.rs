//! The registries that a case runs against, real ones and layout directories alike.

use super::case::{DOCKER_REGISTRY, OLAREG};
use super::docker_registry::{self, DockerRegistry};
use super::olareg::{self, Olareg};
use super::{Requirement, Workspace};

/// The registries that the same case is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No referrers API: the fallback tag.
    DockerRegistry,
    /// The referrers API.
    Olareg,
    /// The referrers API switched off: 405.
    OlaregWithoutReferrers,
    /// An OCI image layout directory.
    Layout,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::DockerRegistry, Self::Olareg, Self::OlaregWithoutReferrers, Self::Layout];

    /// Those that a server stands behind.
    pub const SERVERS: [Self; 3] = [Self::DockerRegistry, Self::Olareg, Self::OlaregWithoutReferrers];

    /// As a part of a case's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::DockerRegistry => "docker_registry",
            Self::Olareg => "olareg",
            Self::OlaregWithoutReferrers => "olareg_without_referrers",
            Self::Layout => "layout",
        }
    }

    /// What a case on it requires, besides its own.
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

/// A registry, open to all and over plain HTTP.
pub struct Registry {
    server: Server,
}

impl Registry {
    /// Starts it.
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

    /// `127.0.0.1:PORT`; none for a layout.
    pub fn address(&self) -> Option<String> {
        match &self.server {
            Server::DockerRegistry(server) => Some(server.address()),
            Server::Olareg(server) => Some(server.address()),
            Server::Layout(_) => None,
        }
    }

    /// What stands before the tag or digest.
    pub fn repository(&self, repository: &str) -> String {
        match &self.server {
            Server::Layout(directory) => format!("oci:{directory}/{repository}"),
            _ => format!("{}/{repository}", self.address().expect("a server has an address")),
        }
    }

    /// A reference by tag.
    pub fn tagged(&self, repository: &str, tag: &str) -> String {
        format!("{}:{tag}", self.repository(repository))
    }

    /// A reference by digest.
    pub fn by_digest(&self, repository: &str, digest: &str) -> String {
        format!("{}@{digest}", self.repository(repository))
    }
}
