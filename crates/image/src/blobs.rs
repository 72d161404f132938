//! The sources of an image's manifests, configurations and layers: a registry, an image layout, or an archive
//! that contains either form.

use bytes::Bytes;

use crate::archive::{Archive, Extent};
use crate::error::Result;
use crate::exported::Exported;
use crate::limit;
use compat_oci::blob::{self, BlobReader};
use compat_oci::manifest::media_type_of;
use compat_oci::{Descriptor, Resolved, Selector, Store};

/// A source of content.
#[derive(Clone, Debug)]
pub(super) enum Blobs {
    Store(Store),
    Archive(Archive),
    Exported(Exported),
}

/// One layer.
#[derive(Clone, Debug)]
pub(super) enum LayerBlob {
    /// A layer with a digest.
    Blob(Box<Descriptor>),
    /// A layer in an archive without digests. Only the configuration states the digest of its uncompressed
    /// form.
    Member { name: String, extent: Extent },
}

impl LayerBlob {
    /// The layer's name in errors.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Blob(descriptor) => descriptor.digest.to_string(),
            Self::Member { name, .. } => name.clone(),
        }
    }

    /// Whether the layer may be stored outside the image's source.
    pub(crate) fn is_foreign(&self) -> bool {
        let Self::Blob(descriptor) = self else { return false };
        let kind = &descriptor.media_type;
        descriptor.is_foreign() || kind.contains("nondistributable") || kind.contains("foreign")
    }
}

impl Blobs {
    /// Fetches a manifest by its descriptor and verifies it.
    pub(crate) async fn manifest(&self, descriptor: &Descriptor) -> Result<Resolved> {
        match self {
            Self::Store(store) => {
                let mut resolved = store.manifest(&Selector::Digest(descriptor.digest.clone())).await?;
                resolved.descriptor.platform.clone_from(&descriptor.platform);
                Ok(resolved)
            }
            Self::Archive(_) | Self::Exported(_) => {
                let bytes = match self {
                    Self::Exported(exported) => exported.manifest(descriptor)?,
                    _ => self.blob(descriptor, compat_oci::limit::MANIFEST).await?,
                };
                let mut found = descriptor.bare();
                found.platform.clone_from(&descriptor.platform);
                found.media_type = media_type_of(&bytes, Some(&descriptor.media_type));
                Ok(Resolved { descriptor: found, bytes })
            }
        }
    }

    /// Fetches a small blob and verifies it.
    pub(crate) async fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        match self {
            Self::Store(store) => Ok(store.blob(descriptor, limit).await?),
            Self::Archive(archive) => {
                let bytes = archive.read(&member_of(descriptor), limit)?;
                let bytes = bytes.ok_or_else(|| missing(archive, descriptor))?;
                descriptor.verify(&bytes)?;
                Ok(bytes)
            }
            Self::Exported(exported) => exported.blob(descriptor, limit),
        }
    }

    /// Fetches a configuration.
    pub(crate) async fn config(&self, descriptor: &Descriptor) -> Result<Bytes> {
        self.blob(descriptor, limit::CONFIG).await
    }

    /// Opens a layer as a stream. A layer with a digest is verified as it is read.
    pub(crate) async fn open(&self, layer: &LayerBlob) -> Result<BlobReader> {
        match (self, layer) {
            (Self::Store(store), LayerBlob::Blob(descriptor)) => match descriptor.embedded()? {
                Some(bytes) => Ok(Box::pin(futures_util::stream::once(async move { Ok(bytes) }))),
                None => Ok(store.open_blob(descriptor).await?),
            },
            (Self::Archive(archive), LayerBlob::Blob(descriptor)) => {
                let extent =
                    archive.find(&member_of(descriptor)).ok_or_else(|| missing(archive, descriptor))?;
                Ok(blob::verified(archive.stream(extent), descriptor))
            }
            (Self::Archive(archive), LayerBlob::Member { extent, .. }) => Ok(archive.stream(*extent)),
            (Self::Exported(exported), LayerBlob::Blob(descriptor)) => exported.open(descriptor),
            (Self::Store(_) | Self::Exported(_), LayerBlob::Member { name, .. }) => {
                Err(compat_oci::Error::NotFound { what: name.clone() }.into())
            }
        }
    }
}

/// The path of a blob in an image layout.
fn member_of(descriptor: &Descriptor) -> String {
    format!("blobs/{}/{}", descriptor.digest.algorithm(), descriptor.digest.hex())
}

fn missing(archive: &Archive, descriptor: &Descriptor) -> compat_oci::Error {
    compat_oci::Error::NotFound { what: format!("{} in {}", descriptor.digest, archive.path().display()) }
}
