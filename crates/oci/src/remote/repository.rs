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
    /// A repository that will be used in the given way.
    pub(crate) fn new(client: Client, host: &str, name: &str, access: Access) -> Self {
        Self { client, key: LoginKey { host: host.into(), name: name.into(), access, from: None } }
    }

    /// The same repository, which may take blobs over from another one of the same registry without a transfer
    /// (distribution-spec, "mounting a blob from another repository").
    #[must_use]
    pub(crate) fn mounting_from(mut self, source: &Self) -> Self {
        if source.key.host == self.key.host && source.key.name != self.key.name {
            self.key.from = Some(source.key.name.clone());
        }
        self
    }

    /// The registry's host.
    pub(crate) fn host(&self) -> &str {
        &self.key.host
    }

    /// The repository's name.
    pub(crate) fn name(&self) -> &str {
        &self.key.name
    }

    /// The client that this repository is reached with.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// How the repository is named to people.
    pub(crate) fn place(&self) -> String {
        repository_text(&self.key.host, &self.key.name)
    }

    /// How a manifest or blob of this repository is named to people.
    pub(crate) fn display(&self, what: &str) -> String {
        let separator = if what.contains(':') { '@' } else { ':' };
        format!("{}{separator}{what}", self.place())
    }
}
