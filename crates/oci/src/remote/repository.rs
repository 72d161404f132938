//! One repository of a registry.

use super::access::{Access, LoginKey};
use super::client::Client;
use crate::format::location::repository_text;

/// One repository of a registry.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) client: Client,
    pub(super) key: LoginKey,
}

impl Repository {
    /// Creates a repository for the given access.
    pub(crate) fn new(client: Client, host: &str, name: &str, access: Access) -> Self {
        Self { client, key: LoginKey { host: host.into(), name: name.into(), access, from: None } }
    }

    /// Returns the same repository. It may mount blobs from another repository of the same registry without a
    /// transfer (distribution-spec, "mounting a blob from another repository").
    #[must_use]
    pub(crate) fn mounting_from(mut self, source: &Self) -> Self {
        if source.key.host == self.key.host && source.key.name != self.key.name {
            self.key.from = Some(source.key.name.clone());
        }
        self
    }

    /// Returns the host of the registry.
    pub(crate) fn host(&self) -> &str {
        &self.key.host
    }

    /// Returns the name of the repository.
    pub(crate) fn name(&self) -> &str {
        &self.key.name
    }

    /// Returns the client of the repository.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the name of the repository for display.
    pub(crate) fn place(&self) -> String {
        repository_text(&self.key.host, &self.key.name)
    }

    /// Returns the name of a manifest or blob in this repository for display.
    pub(crate) fn display(&self, what: &str) -> String {
        let separator = if what.contains(':') { '@' } else { ':' };
        format!("{}{separator}{what}", self.place())
    }
}
