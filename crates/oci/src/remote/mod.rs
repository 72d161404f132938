//! Registries over HTTP: the OCI distribution specification 1.1, on `reqwest`.
//!
//! Why not `oci-client`: it has no fallback tag, no paging, no repetition, no deletion, asks `/v2/`
//! before every anonymous request, and holds what it moves in memory. What this module promises
//! (logins renewed in the middle of a push, `certs.d`, bounds on everything) would have had to be
//! written around it anyway, so HTTP is spoken in this one place.
//!
//! From the bottom up: `message` is a request and its answer, `refusal` what an answer says that is no success,
//! `access` what is wanted of a repository, `client` what the requests of one run share. `exchange` sends one request
//! (redirects, repetition, bounds), `login` answers challenges, `ask` puts these together for a `repository`.
//! `manifest`, `blob` (with `resume`), `upload` and `listing` are the specification's operations.

mod access;
mod ask;
mod blob;
mod cause;
pub mod challenge;
mod client;
mod exchange;
pub mod link;
mod listing;
mod login;
mod manifest;
mod message;
mod proxy;
mod redact;
mod refusal;
mod repository;
mod resume;
mod retry;
#[cfg(test)]
mod tests;
mod tls;
mod upload;

pub use access::Access;
pub(super) use cause::causes;
pub use client::{Client, ClientOptions};
pub(crate) use listing::Fallback;
pub use repository::Repository;
pub use tls::TlsOptions;
pub(super) use tls::{add_to, add_to_plain};

/// The certificates for a host that is not a registry: those of `options`, and those of the system's directories.
///
/// # Errors
///
/// [`Error::Settings`](crate::Error::Settings) naming the file that cannot be used.
pub(super) fn host_tls(host: &str, options: &TlsOptions) -> crate::error::Result<tls::HostTls> {
    tls::HostTls::read(host, options, true)
}
