//! The foundation of the cases besides `compat_harness`: real servers, a faulty server, witnesses and
//! examples.

pub mod artifact;
pub mod case;
pub mod compat;
pub mod docker_registry;
pub mod document;
pub mod example;
pub mod http;
pub mod image;
pub mod memory_registry;
pub mod oci_client;
pub mod olareg;
pub mod oras;
pub mod recorder;
pub mod root;
pub mod server;
pub mod skopeo;
pub mod tls;
pub mod token_server;

pub use compat_harness::{
    Case, Requirement, Suite, Workspace, docker, fixture, made_image, print_figure, process,
};
pub use server::{Kind, Registry};

/// This suite.
pub const SUITE: Suite = compat_harness::suite!("registry-tests/setup");
