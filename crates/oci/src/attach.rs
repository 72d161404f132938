//! Attaches a specification so that checks use it. Attaching the same specification again writes nothing. A
//! different one gets a later date than those already attached. With `replace`, these are removed.

use jiff::Timestamp;

use crate::artifact::{Artifact, ArtifactKind, PackOptions, Packed, pack, recognise};
use crate::choice;
use crate::delete::delete;
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::Selector;
use crate::format::manifest::{Annotations, CREATED, Descriptor};
use crate::format::media_type;
use crate::push::{Attached, attach};
use crate::referrers::{self, ListedBy};
use crate::store::Store;

/// A specification to attach, with its options.
#[derive(Clone, Debug)]
pub struct Attachment<'a> {
    /// The specification.
    pub specification: &'a [u8],
    /// The other content of the artifact. The subject is set by the attach.
    pub options: PackOptions,
    /// Whether compatibility artifacts that are already attached are removed.
    pub replace: bool,
    /// The date of a new artifact, unless its annotations contain one.
    pub now: Timestamp,
}

/// The result of an attach.
#[derive(Debug)]
pub struct Outcome {
    /// The attached artifact.
    pub attached: Attached,
    /// The artifact that takes precedence, if it is another.
    pub overruled_by: Option<Descriptor>,
    /// The removed artifacts.
    pub replaced: Vec<Digest>,
    /// The artifacts that could not be removed, and why.
    pub kept: Vec<(Digest, Error)>,
    /// Warnings about dates.
    pub doubts: Vec<String>,
}

/// Attaches a specification to a manifest.
///
/// # Errors
///
/// [`Error::CannotKeep`] before anything is sent, if the registry has no way to keep referrers. Otherwise any
/// error of the registry or layout. An artifact that cannot be removed afterwards is no error: it is part of
/// the outcome.
pub async fn attach_specification(
    store: &Store,
    subject: &Descriptor,
    attachment: Attachment<'_>,
) -> Result<Outcome> {
    let Attachment { specification, mut options, replace, now } = attachment;
    if let Store::Remote(repository) = store {
        referrers::expect_kept(repository, &subject.digest).await?;
    }
    let known = attached_before(store, subject).await?;
    options.subject = Some(subject.clone());
    let mut packed = pack(specification, options.clone())?;
    let taken = choice::choose(&known).map(|choice| choice.taken);
    let attached = match &taken {
        Some(taken) if is_same(store, taken, &packed).await? => {
            Attached { descriptor: taken.clone(), sent: false, listed_by: listed_by(store, subject).await? }
        }
        _ => {
            if !known.is_empty() && !options.annotations.contains_key(CREATED) {
                let date = choice::date_after(&known, now).to_string();
                options.annotations.insert(CREATED.to_owned(), date);
                packed = pack(specification, options)?;
            }
            attach(store, subject, &packed).await?
        }
    };
    let own = &attached.descriptor;
    let (mut replaced, mut kept) = (Vec::new(), Vec::new());
    let mut left = vec![own.clone()];
    for other in known.iter().filter(|other| other.digest != own.digest) {
        let outcome = if replace { remove(store, subject, &other.digest).await } else { Ok(false) };
        match outcome {
            Ok(true) => replaced.push(other.digest.clone()),
            Ok(false) => left.push(other.clone()),
            Err(error) => {
                left.push(other.clone());
                kept.push((other.digest.clone(), error));
            }
        }
    }
    let counts = choice::choose(&left).map(|choice| choice.taken);
    let overruled_by = counts.filter(|counts| counts.digest != own.digest);
    Ok(Outcome { overruled_by, replaced, kept, doubts: choice::doubts(&left, now), attached })
}

/// Returns the compatibility artifacts that are attached to a manifest, with their dates.
async fn attached_before(store: &Store, subject: &Descriptor) -> Result<Vec<Descriptor>> {
    let mut known = store.referrers(&subject.digest, Some(media_type::ARTIFACT_TYPE)).await?;
    if choice::lacks_dates(&known) {
        for entry in known.iter_mut().take(choice::ASKED) {
            if let Some(artifact) = artifact_of(store, &entry.digest).await? {
                entry.annotations = artifact.annotations;
            }
        }
    }
    Ok(known)
}

/// Returns a listed artifact, or `None` if it does not exist or is not a compatibility artifact.
async fn artifact_of(store: &Store, digest: &Digest) -> Result<Option<Artifact>> {
    match store.manifest(&Selector::Digest(digest.clone())).await {
        Ok(resolved) => Ok(match recognise(&resolved) {
            Ok(ArtifactKind::Compatibility(artifact)) => Some(*artifact),
            _ => None,
        }),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether an attached artifact has the same layers and annotations as a packed one, regardless of
/// its date.
async fn is_same(store: &Store, known: &Descriptor, packed: &Packed) -> Result<bool> {
    let Some(artifact) = artifact_of(store, &known.digest).await? else { return Ok(false) };
    let layers = std::iter::once(&artifact.specification).chain(&artifact.recordings);
    let wanted = packed.blobs.iter().skip(1).map(|(layer, _)| layer);
    let undated = |annotations: &Annotations| {
        let mut annotations = annotations.clone();
        annotations.remove(CREATED);
        annotations
    };
    Ok(layers.map(|layer| &layer.digest).eq(wanted.map(|layer| &layer.digest))
        && undated(&artifact.annotations) == undated(&packed.descriptor.annotations))
}

async fn listed_by(store: &Store, subject: &Descriptor) -> Result<ListedBy> {
    let by_registry = match store {
        Store::Remote(repository) => repository.referrers_api(&subject.digest, None).await?.is_some(),
        Store::Layout(_) => true,
    };
    Ok(if by_registry { ListedBy::Registry } else { ListedBy::FallbackTag })
}

/// Removes an artifact of the subject, with its entry in the list. Returns false for anything else, which
/// stays.
async fn remove(store: &Store, subject: &Descriptor, digest: &Digest) -> Result<bool> {
    let selector = Selector::Digest(digest.clone());
    let Some(artifact) = artifact_of(store, digest).await? else {
        // A deleted artifact may still be listed.
        let is_gone = store.manifest_digest(&selector).await?.is_none();
        if let (true, Store::Remote(repository)) = (is_gone, store) {
            referrers::remove_from_fallback(repository, &subject.digest, digest).await?;
        }
        return Ok(is_gone);
    };
    if artifact.subject.is_none_or(|of| of.digest != subject.digest) {
        return Ok(false);
    }
    delete(store, &selector).await?;
    Ok(true)
}
