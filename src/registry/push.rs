//! Pushing and attaching artifacts: what is there already is not sent again, and what was attached
//! has been seen in a listing.

use super::artifact::Packed;
use super::blob::BlobSource;
use super::error::Result;
use super::location::Selector;
use super::manifest::Descriptor;
use super::referrers::{self, ListedBy};
use super::store::{Name, Store};

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The artifact's manifest.
    pub descriptor: Descriptor,
    /// Whether anything had to be sent.
    pub sent: bool,
}

/// What an attach did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The artifact's manifest.
    pub descriptor: Descriptor,
    /// Whether anything had to be sent.
    pub sent: bool,
    /// How it is found from its subject.
    pub listed_by: ListedBy,
}

/// Pushes an artifact under a tag, or under its digest.
///
/// # Errors
///
/// Where the store does not take it.
pub async fn push(store: &Store, tag: Option<&str>, packed: &Packed) -> Result<Pushed> {
    let descriptor = packed.descriptor.clone();
    let selector = match tag {
        Some(tag) => Selector::Tag(tag.to_owned()),
        None => Selector::Digest(descriptor.digest.clone()),
    };
    if store.manifest_digest(&selector).await? == Some(descriptor.digest.clone()) {
        return Ok(Pushed { descriptor, sent: false });
    }
    push_blobs(store, packed).await?;
    store.put_manifest(tag.map_or(Name::Digest, Name::Tag), &descriptor, &packed.bytes).await?;
    Ok(Pushed { descriptor, sent: true })
}

/// Pushes an artifact whose manifest names a subject, and makes sure that it is found from there.
///
/// # Errors
///
/// Where the store does not take it, or does not list it.
pub async fn attach(store: &Store, subject: &Descriptor, packed: &Packed) -> Result<Attached> {
    let descriptor = packed.descriptor.clone();
    let selector = Selector::Digest(descriptor.digest.clone());
    if store.manifest_digest(&selector).await?.is_some()
        && let Some(listed_by) = listed(store, subject, &descriptor).await?
    {
        return Ok(Attached { descriptor, sent: false, listed_by });
    }
    push_blobs(store, packed).await?;
    let announced = store.put_manifest(Name::Digest, &descriptor, &packed.bytes).await?;
    let listed_by = match store {
        Store::Remote(repository) => {
            referrers::ensure_listed(repository, subject, &descriptor, announced).await?
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
