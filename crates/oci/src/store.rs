//! One interface for a repository of a registry and an image layout.

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use crate::blob::{Arrival, BlobReader, BlobSource, OpenBlob, Opening};
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::{ManifestName, Place, Selector};
use crate::format::manifest::{Descriptor, Resolved};
use crate::layout::Layout;
use crate::remote::{Access, Client, Repository};

/// A repository or a layout.
#[derive(Clone, Debug)]
pub enum Store {
    /// A repository of a registry.
    Remote(Repository),
    /// An image layout.
    Layout(Layout),
}

impl Store {
    /// Creates the store at a place for the given access.
    pub fn new(client: &Client, place: &Place, access: Access) -> Self {
        match place {
            Place::Repository { host, name } => {
                Self::Remote(Repository::new(client.clone(), host, name, access))
            }
            Place::Layout(path) => Self::Layout(Layout::new(path)),
        }
    }

    /// Returns the same store. It may mount blobs from `source` without a transfer, if both are in one
    /// registry.
    #[must_use]
    pub fn mounting_from(self, source: &Self) -> Self {
        match (self, source) {
            (Self::Remote(repository), Self::Remote(source)) => {
                Self::Remote(repository.mounting_from(source))
            }
            (store, _) => store,
        }
    }

    /// Fetches a manifest, which is verified if it is selected by digest.
    ///
    /// # Errors
    ///
    /// If the manifest does not exist ([`crate::Error::NotFound`]) or the store fails.
    pub async fn manifest(&self, selector: &Selector) -> Result<Resolved> {
        let resolved = match self {
            Self::Remote(repository) => repository.manifest(selector).await,
            Self::Layout(layout) => layout.manifest(selector),
        };
        resolved.map_err(|error| error.of_content_in(&self.place()))
    }

    /// Returns the digest of a manifest, if the store has it and states it.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub(crate) async fn manifest_digest(&self, selector: &Selector) -> Result<Option<Digest>> {
        match self {
            Self::Remote(repository) => repository.manifest_digest(selector).await,
            Self::Layout(layout) => layout.manifest_digest(selector),
        }
    }

    /// Fetches a blob into memory and verifies it. An embedded blob is read from its descriptor.
    ///
    /// # Errors
    ///
    /// If the blob exceeds `limit` ([`crate::Error::TooLarge`]) or the store fails.
    pub async fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        let embedded =
            descriptor.embedded().map_err(|fault| Error::from(fault).of_content_in(&self.place()))?;
        if let Some(bytes) = embedded {
            return Ok(bytes);
        }
        let bytes = match self {
            Self::Remote(repository) => repository.blob(descriptor, limit).await,
            Self::Layout(layout) => layout.blob(descriptor, limit),
        };
        bytes.map_err(|error| error.of_content_in(&self.place()))
    }

    /// Opens a blob as a stream that verifies the content.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn open_blob(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        let reader = match self {
            Self::Remote(repository) => repository.open_blob(descriptor).await,
            Self::Layout(layout) => layout.open_blob(descriptor),
        };
        let place = self.place();
        Ok(Box::pin(reader?.map_err(move |error| error.of_content_in(&place))))
    }

    /// Pushes a blob unless it exists. Returns how it arrived.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written.
    pub(crate) async fn push_blob(&self, descriptor: &Descriptor, source: &BlobSource) -> Result<Arrival> {
        match self {
            Self::Remote(repository) => repository.push_blob(descriptor, source).await,
            Self::Layout(layout) => {
                let written = layout.push_blob(descriptor, source).await?;
                Ok(if written { Arrival::Sent } else { Arrival::Present })
            }
        }
    }

    /// Writes a manifest. Returns whether the store itself lists it among the subject's referrers.
    ///
    /// # Errors
    ///
    /// If the store does not accept it.
    pub async fn put_manifest(
        &self,
        name: ManifestName<'_>,
        descriptor: &Descriptor,
        bytes: &Bytes,
    ) -> Result<bool> {
        match (self, name) {
            (Self::Remote(repository), ManifestName::Tag(tag)) => {
                Ok(repository.put_manifest(Some(tag), descriptor, bytes).await?.keeps_referrers)
            }
            (Self::Remote(repository), ManifestName::Digest | ManifestName::Child) => {
                Ok(repository.put_manifest(None, descriptor, bytes).await?.keeps_referrers)
            }
            (Self::Layout(layout), name) => layout.put_manifest(name, descriptor, bytes).await.map(|()| true),
        }
    }

    /// Lists the manifests that refer to `subject`, optionally of one artifact type.
    ///
    /// # Errors
    ///
    /// If they cannot be listed: a refusal is not an empty list.
    pub async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let mut found = match self {
            Self::Remote(repository) => crate::referrers::list(repository, subject, artifact_type).await?,
            Self::Layout(layout) => layout.referrers(subject)?,
        };
        if let Some(artifact_type) = artifact_type {
            found.retain(|descriptor| descriptor.artifact_type.as_deref() == Some(artifact_type));
        }
        Ok(found)
    }

    /// Returns all tags.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub async fn tags(&self) -> Result<Vec<String>> {
        match self {
            Self::Remote(repository) => repository.tags().await,
            Self::Layout(layout) => layout.tags(),
        }
    }

    /// Returns the name of the store for display.
    fn place(&self) -> String {
        match self {
            Self::Remote(repository) => repository.place(),
            Self::Layout(layout) => layout.display(&Selector::Only),
        }
    }

    /// Returns the name of a manifest in this store for display.
    pub fn display(&self, selector: &Selector) -> String {
        match self {
            Self::Remote(repository) => repository.display(&match selector {
                Selector::Tag(tag) => tag.clone(),
                Selector::Digest(digest) => digest.to_string(),
                Selector::Only => "latest".to_owned(),
            }),
            Self::Layout(layout) => layout.display(selector),
        }
    }
}

impl OpenBlob for Store {
    fn open<'a>(&'a self, descriptor: &'a Descriptor) -> Opening<'a> {
        Box::pin(self.open_blob(descriptor))
    }
}
