//! Deleting a manifest, and its trace in the list of its subject's referrers.

use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::Selector;
use crate::referrers;
use crate::store::Store;

/// What a deletion did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The manifest that is gone.
    pub digest: Digest,
    /// Whether it was taken out of the index under its subject's fallback tag.
    pub unlisted: bool,
}

/// Deletes a manifest, with every tag it has.
///
/// # Errors
///
/// [`Error::NotFound`]; [`Error::Status`] with 405 where the registry does not allow it.
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
    // The entry goes after the manifest: someone who repairs the list in between sees that it is gone.
    let subject = resolved.parse().ok().and_then(|manifest| manifest.subject().cloned());
    let Some(subject) = subject else { return Ok(Deletion { digest, unlisted: false }) };
    let by_api = repository.referrers_api(&subject.digest, None).await?.is_some();
    let unlisted = match referrers::remove_from_fallback(repository, &subject.digest, &digest).await {
        Err(Error::NotFound { .. }) => false,
        // The API lists what is there: a tag from before it counts no more.
        Err(_) if by_api => false,
        outcome => outcome?,
    };
    Ok(Deletion { digest, unlisted })
}
