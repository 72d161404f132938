//! What the cases of this suite require besides what all suites do.

pub use compat_harness::case::{CC, DEBOOTSTRAP, DOCKER, DOCKERD, tool};

use super::Requirement;

/// Debian's `docker-registry`.
pub const DOCKER_REGISTRY: Requirement = Requirement::Tool("docker-registry");
/// The registry with the referrers API.
pub const OLAREG: Requirement = Requirement::Tool("olareg");
/// A witness.
pub const ORAS: Requirement = Requirement::Tool("oras");
/// A witness.
pub const SKOPEO: Requirement = Requirement::Tool("skopeo");
/// A witness.
pub const REGCTL: Requirement = Requirement::Tool("regctl");
/// bcrypt hashes for basic auth.
pub const HTPASSWD: Requirement = Requirement::Tool("htpasswd");
/// Certificates and signatures.
pub const OPENSSL: Requirement = Requirement::Tool("openssl");
