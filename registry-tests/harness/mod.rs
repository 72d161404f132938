//! What the cases stand on: workspaces, real servers, our own faulty server, witnesses, roots.

pub mod artifact;
pub mod case;
pub mod compat;
pub mod docker;
pub mod docker_registry;
pub mod example;
pub mod http;
pub mod image;
pub mod made_image;
pub mod memory_registry;
pub mod olareg;
pub mod oras;
pub mod process;
pub mod recorder;
pub mod root;
pub mod server;
pub mod skopeo;
pub mod tls;
pub mod token_server;
pub mod workspace;

pub use case::{Case, Requirement};
pub use server::{Kind, Registry};
pub use workspace::Workspace;
