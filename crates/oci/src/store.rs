//! One interface to both kinds of place: a repository of a registry and an image layout.

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
    /// The store at a place, to be used in the given way.
    pub fn new(client: &Client, place: &Place, access: Access) -> Self {
        match place {
            Place::Repository { host, name } => {
                Self::Remote(Repository::new(client.clone(), host, name, access))
            }
            Place::Layout(path) => Self::Layout(Layout::new(path)),
        }
    }

    /// The same store, which may take blobs over from `source` without a transfer, if both are of one registry.
    #[must_use]
    pub fn mounting_from(self, source: &Self) -> Self {
        match (self, source) {
            (Self::Remote(repository), Self::Remote(source)) => {
                Self::Remote(repository.mounting_from(source))
            }
            (store, _) => store,
        }
    }

    /// Fetches a manifest; verified where it is named by a digest.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotFound`], or what went wrong.
    pub async fn manifest(&self, selector: &Selector) -> Result<Resolved> {
        let resolved = match self {
            Self::Remote(repository) => repository.manifest(selector).await,
            Self::Layout(layout) => layout.manifest(selector),
        };
        resolved.map_err(|error| error.of_content_in(&self.place()))
    }

    /// The digest of a manifest, where the store has it and says so.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub(crate) async fn manifest_digest(&self, selector: &Selector) -> Result<Option<Digest>> {
        match self {
            Self::Remote(repository) => repository.manifest_digest(selector).await,
            Self::Layout(layout) => layout.manifest_digest(selector),
        }
    }

    /// Fetches a blob into memory, verified: from its descriptor where it is embedded there.
    ///
    /// # Errors
    ///
    /// [`crate::Error::TooLarge`] beyond `limit`, or what went wrong.
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

    /// Opens a blob as a stream that verifies what passes.
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

    /// Pushes a blob unless it is there; says how it came there.
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

    /// Puts a manifest; says whether the store keeps the subject's referrers itself.
    ///
    /// # Errors
    ///
    /// If the store does not take it.
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

    /// The manifests that refer to `subject`, of one artifact type where one is given.
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

    /// All tags.
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

    /// How the store is named to people.
    fn place(&self) -> String {
        match self {
            Self::Remote(repository) => repository.place(),
            Self::Layout(layout) => layout.display(&Selector::Only),
        }
    }

    /// How a manifest of this store is named to people.
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
