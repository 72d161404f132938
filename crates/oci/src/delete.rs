//! Deletes a manifest, and its entry in the list of its subject's referrers.

use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::Selector;
use crate::referrers;
use crate::store::Store;

/// The result of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The deleted manifest.
    pub digest: Digest,
    /// Whether the manifest was removed from the index under the fallback tag of its subject.
    pub unlisted: bool,
}

/// Deletes a manifest and all its tags.
///
/// # Errors
///
/// If the manifest does not exist ([`Error::NotFound`]), or the registry does not allow deletion
/// ([`Error::Status`] with 405).
pub async fn delete(store: &Store, selector: &Selector) -> Result<Deletion> {
    let repository = match store {
        Store::Layout(layout) => {
            let deleted = layout.delete(selector).await?;
            return Ok(Deletion { digest: deleted.digest, unlisted: false });
        }
        Store::Remote(repository) => repository,
    };
    let resolved = repository.manifest(selector).await?;
    let digest = resolved.descriptor.digest.clone();
    repository.delete_manifest(digest.as_str()).await?;
    // The entry is removed after the manifest, so that another client that repairs the list in between sees
    // that the manifest is gone.
    let subject = resolved.parse().ok().and_then(|manifest| manifest.subject().cloned());
    let Some(subject) = subject else { return Ok(Deletion { digest, unlisted: false }) };
    let by_api = repository.referrers_api(&subject.digest, None).await?.is_some();
    let unlisted = match referrers::remove_from_fallback(repository, &subject.digest, &digest).await {
        Err(Error::NotFound { .. }) => false,
        // With the API, an older fallback tag has no effect.
        Err(_) if by_api => false,
        outcome => outcome?,
    };
    Ok(Deletion { digest, unlisted })
}
