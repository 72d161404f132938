//! The formats and names of OCI: digests, references, platforms, descriptors and manifests. This module only
//! parses. It does not access the network or files, and does not depend on the rest of the crate.

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
