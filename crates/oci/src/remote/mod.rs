//! Registries over HTTP: the OCI distribution specification 1.1, on `reqwest`.
//!
//! `oci-client` is not used: it has no fallback tag, paging, retries or deletion, asks for `/v2/` before
//! every anonymous request, and holds transferred content in memory. The guarantees of this module (login
//! renewal in the middle of a push, `certs.d`, limits on everything) would have required code around it
//! anyway. This module is therefore the only place that speaks HTTP.
//!
//! From the bottom up: `message` is a request and its response, `refusal` the message in an error response,
//! `access` the requested access to a repository, and `client` the shared state of one run. `exchange` sends
//! one request (redirects, retries, limits), `login` answers challenges, and `ask` combines these for a
//! `repository`. `manifest`, `blob` (with `resume`), `upload` and `listing` are the operations of the
//! specification.

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

/// Returns the certificates for a host that is not a registry: those of `options`, and those in the system's
/// directories.
///
/// # Errors
///
/// If a file is invalid ([`Error::Settings`](crate::Error::Settings) with its path).
pub(super) fn host_tls(host: &str, options: &TlsOptions) -> crate::error::Result<tls::HostTls> {
    tls::HostTls::read(host, options, true)
}
