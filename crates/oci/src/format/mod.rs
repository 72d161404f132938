//! The formats and names of OCI: digests, references, platforms, descriptors and manifests. Parsing only: nothing here
//! touches the network or a file, and nothing of the crate above is known.

pub mod digest;
mod error;
pub mod location;
pub mod manifest;
pub mod media_type;
#[cfg(test)]
mod oci_spec_types;
pub mod platform;
mod reference;
pub mod text;
pub mod transport;

pub use error::FormatError;
