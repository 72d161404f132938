//! The requirements of this suite's cases, besides those of all suites.

pub use compat_harness::case::{CC, DEBOOTSTRAP, DOCKER, DOCKERD, tool};

use super::Requirement;

/// Debian's `docker-registry`.
pub const DOCKER_REGISTRY: Requirement = Requirement::Tool("docker-registry");
/// A registry with the referrers API.
pub const OLAREG: Requirement = Requirement::Tool("olareg");
/// A witness, from the oras project.
pub const ORAS: Requirement = Requirement::Tool("oras");
/// A witness, from the containers project.
pub const SKOPEO: Requirement = Requirement::Tool("skopeo");
/// A witness, from the regclient project.
pub const REGCTL: Requirement = Requirement::Tool("regctl");
/// Makes bcrypt hashes for basic authentication.
pub const HTPASSWD: Requirement = Requirement::Tool("htpasswd");
/// Makes certificates and signatures.
pub const OPENSSL: Requirement = Requirement::Tool("openssl");
