//! Pushes and attaches artifacts. Existing content is not sent again, and an attached artifact has been seen
//! in a list of referrers.

use std::time::Duration;

use crate::artifact::{self, ArtifactKind, Packed};
use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::location::{ManifestName, Selector};
use crate::format::manifest::Descriptor;
use crate::format::text::shown;
use crate::referrers::{self, ListedBy};
use crate::store::Store;

/// The maximum number of attempts to send a manifest if the registry does not see its blobs.
const ATTEMPTS: u32 = 5;

/// The result of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The artifact's manifest.
    pub descriptor: Descriptor,
    /// Whether anything was sent.
    pub sent: bool,
}

/// The result of an attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The artifact's manifest.
    pub descriptor: Descriptor,
    /// Whether anything was sent.
    pub sent: bool,
    /// How the artifact is found from its subject.
    pub listed_by: ListedBy,
}

/// Pushes an artifact under a tag, or under its digest. A tag that names anything but a compatibility
/// artifact is not moved without `replace`.
///
/// # Errors
///
/// If the tag names something else ([`Error::TagTaken`]), or the store does not accept the artifact.
pub async fn push(store: &Store, tag: Option<&str>, packed: &Packed, replace: bool) -> Result<Pushed> {
    let descriptor = packed.descriptor.clone();
    let selector = match tag {
        Some(tag) => Selector::Tag(tag.to_owned()),
        None => Selector::Digest(descriptor.digest.clone()),
    };
    match store.manifest_digest(&selector).await? {
        Some(there) if there == descriptor.digest => return Ok(Pushed { descriptor, sent: false }),
        Some(_) if tag.is_some() && !replace => expect_artifact(store, &selector).await?,
        _ => {}
    }
    send(store, tag.map_or(ManifestName::Digest, ManifestName::Tag), packed).await?;
    Ok(Pushed { descriptor, sent: true })
}

/// Makes sure that a tag names a compatibility artifact, so that another one may replace it.
async fn expect_artifact(store: &Store, tag: &Selector) -> Result<()> {
    let kind = match store.manifest(tag).await.and_then(|resolved| artifact::recognise(&resolved)) {
        Ok(ArtifactKind::Compatibility(_)) | Err(Error::NotFound { .. }) => return Ok(()),
        Ok(ArtifactKind::Image) => "a container image".to_owned(),
        Ok(ArtifactKind::Index(_)) => "an index of images".to_owned(),
        Ok(ArtifactKind::Other(kind)) if kind.is_empty() => "an artifact without a type".to_owned(),
        Ok(ArtifactKind::Other(kind)) => format!("an artifact of type {}", shown(&kind, 200)),
        Err(Error::Format(FormatError::Malformed { .. })) => "something else".to_owned(),
        Err(error) => return Err(error),
    };
    Err(Error::TagTaken { reference: store.display(tag), kind })
}

/// Pushes an artifact with a subject, and makes sure that it is listed among the subject's referrers.
///
/// # Errors
///
/// If the store does not accept or list it.
pub async fn attach(store: &Store, subject: &Descriptor, packed: &Packed) -> Result<Attached> {
    let descriptor = packed.descriptor.clone();
    let selector = Selector::Digest(descriptor.digest.clone());
    if store.manifest_digest(&selector).await?.is_some()
        && let Some(listed_by) = listed(store, subject, &descriptor).await?
    {
        return Ok(Attached { descriptor, sent: false, listed_by });
    }
    let announced = send(store, ManifestName::Digest, packed).await?;
    let listed_by = match store {
        Store::Remote(repository) => {
            let pushed =
                referrers::NewReferrer { subject, entry: &descriptor, bytes: &packed.bytes, announced };
            referrers::ensure_listed(repository, pushed).await?
        }
        Store::Layout(_) => ListedBy::Registry,
    };
    Ok(Attached { descriptor, sent: true, listed_by })
}

async fn listed(store: &Store, subject: &Descriptor, entry: &Descriptor) -> Result<Option<ListedBy>> {
    let by_registry = match store {
        Store::Remote(repository) => repository.referrers_api(&subject.digest, None).await?.is_some(),
        Store::Layout(_) => true,
    };
    let found = store.referrers(&subject.digest, None).await?;
    let listed_by = if by_registry { ListedBy::Registry } else { ListedBy::FallbackTag };
    Ok(found.iter().any(|known| known.digest == entry.digest).then_some(listed_by))
}

/// Sends the blobs and the manifest. Returns the result of [`Store::put_manifest`].
async fn send(store: &Store, name: ManifestName<'_>, packed: &Packed) -> Result<bool> {
    let mut attempt = 0;
    loop {
        push_blobs(store, packed).await?;
        match store.put_manifest(name, &packed.descriptor, &packed.bytes).await {
            Err(error) if error.is_blob_unknown() && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(20..=100) << attempt)).await;
            }
            outcome => return outcome,
        }
    }
}

async fn push_blobs(store: &Store, packed: &Packed) -> Result<()> {
    let total = packed.blobs.iter().map(|(blob, _)| blob.size).sum();
    if let Store::Remote(repository) = store {
        repository.client().observer().expect(total);
    }
    for (blob, bytes) in &packed.blobs {
        store.push_blob(blob, &BlobSource::Bytes(bytes.clone())).await?;
    }
    Ok(())
}
