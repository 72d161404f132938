//! From what a user typed to a compatibility document, in as few requests as there can be.
//!
//! The manifest is resolved (one request). If it is a compatibility artifact, that is it. If it is an
//! image, its referrers are looked at; if it is an index, those of the manifest for the wanted platform
//! first, which needs no request for that manifest itself, then those of the index. The artifact's
//! manifest is fetched, and the document is embedded in it unless it is large. Never is a
//! configuration or a layer of an image asked for.
//!
//! At most: tag, referrers of the platform's manifest (404), its fallback tag (404), the fallback tag
//! of the index (that there is no API is known by then), the artifact: five requests, and two more for
//! a challenge and its token.

use bytes::Bytes;

use crate::artifact::{self, Artifact, ArtifactKind};
use crate::cache::Cache;
use crate::choice::{self, Reason};
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::digest::Digest;
use crate::format::location::{Location, Selector};
use crate::format::manifest::{Descriptor, Index, Resolved};
use crate::format::media_type;
use crate::format::platform::Platform;
use crate::format::text::listed;
use crate::limit;
use crate::referrers;
use crate::store::Store;

/// Where the document was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// The reference names the artifact itself.
    Artifact,
    /// It is attached to the image.
    Manifest,
    /// It is attached to the manifest of a platform, which the index has.
    Platform(Platform),
    /// It is attached to the index.
    Index,
}

/// A document with the way it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The document's bytes, verified.
    pub specification: Bytes,
    /// The artifact.
    pub artifact: Artifact,
    /// The manifest that the reference named.
    pub source: Descriptor,
    /// Which level answered.
    pub level: Level,
    /// How many artifacts are attached there.
    pub candidates: usize,
    /// Why this one was taken.
    pub reason: Reason,
    /// Newer artifacts that are listed, and gone.
    pub gone: Vec<Digest>,
    /// What people should know about the dates of the candidates.
    pub doubts: Vec<String>,
}

/// How to look.
#[derive(Clone, Debug)]
pub struct FindOptions {
    /// The platform wanted of an index.
    pub platform: Platform,
    /// Whether the user named the platform: then an index without it is an error.
    pub platform_named: bool,
    /// Ask no registry.
    pub offline: bool,
}

/// Finds the compatibility document for a location.
///
/// # Errors
///
/// [`Error::NoArtifact`] where none is attached, [`Error::OtherArtifact`] for an artifact of
/// another type, or what went wrong.
pub async fn find(store: &Store, cache: &Cache, location: &Location, options: &FindOptions) -> Result<Found> {
    let finder = Finder { store, cache, location, offline: options.offline && location.is_remote() };
    let source = finder.resolve(&location.selector).await?;
    let attached = match artifact::recognise(&source)? {
        ArtifactKind::Compatibility(artifact) => {
            return finder.finish(*artifact, source.descriptor, Level::Artifact, Chosen::default()).await;
        }
        ArtifactKind::Index(index) => finder.of_index(&index, &source.descriptor.digest, options).await?,
        ArtifactKind::Image => finder.of_image(&source.descriptor.digest).await?,
        ArtifactKind::Other(kind) => match finder.of_image(&source.descriptor.digest).await {
            Err(Error::NoArtifact { image, .. }) => return Err(artifact::other(&image, &kind)),
            other => other?,
        },
    };
    finder.choose(attached, source.descriptor).await
}

/// How an artifact was chosen of several.
struct Chosen {
    candidates: usize,
    reason: Reason,
    gone: Vec<Digest>,
    doubts: Vec<String>,
}

impl Default for Chosen {
    fn default() -> Self {
        Self { candidates: 1, reason: Reason::Only, gone: Vec::new(), doubts: Vec::new() }
    }
}

struct Finder<'a> {
    store: &'a Store,
    cache: &'a Cache,
    location: &'a Location,
    offline: bool,
}

/// The level that answered, the manifest of that level, and what is attached to it: at least one.
type AttachedTo = (Level, Digest, Vec<Descriptor>);

impl Finder<'_> {
    async fn of_image(&self, digest: &Digest) -> Result<AttachedTo> {
        let found = self.referrers(digest).await?;
        if found.is_empty() {
            return Err(self.no_artifact(digest).await);
        }
        Ok((Level::Manifest, digest.clone(), found))
    }

    async fn of_index(&self, index: &Index, digest: &Digest, options: &FindOptions) -> Result<AttachedTo> {
        if let Some(manifest) = index.best_for(&options.platform) {
            let found = self.referrers(&manifest.digest).await?;
            if !found.is_empty() {
                let platform = manifest.platform.clone().unwrap_or_default();
                return Ok((Level::Platform(platform), manifest.digest.clone(), found));
            }
        } else if options.platform_named {
            return Err(no_platform(&self.location.to_string(), index, &options.platform));
        }
        let found = self.referrers(digest).await?;
        if found.is_empty() {
            return Err(self.no_artifact(digest).await);
        }
        Ok((Level::Index, digest.clone(), found))
    }

    /// Takes the artifact that counts of those that are attached.
    async fn choose(&self, attached: AttachedTo, source: Descriptor) -> Result<Found> {
        let (level, subject, mut open) = attached;
        let doubts = choice::doubts(&open, jiff::Timestamp::now());
        let (mut gone, mut others) = (Vec::new(), 0);
        let candidates = open.len();
        while let Some(choice) = choice::choose(&open) {
            open.retain(|entry| entry.digest != choice.taken.digest);
            let digest = choice.taken.digest;
            let resolved = match self.resolve(&Selector::Digest(digest.clone())).await {
                // A list may name what was deleted since: an older one that is there counts.
                Err(Error::NotFound { .. }) if !open.is_empty() => {
                    gone.push(digest);
                    continue;
                }
                outcome => outcome?,
            };
            let ArtifactKind::Compatibility(artifact) = artifact::recognise(&resolved)? else {
                let reference = self.store.display(&Selector::Digest(digest));
                return Err(artifact::other(
                    &reference,
                    "another manifest than the listing of referrers says",
                ));
            };
            // What is under a fallback tag may be a list of something else.
            if artifact.subject.as_ref().is_some_and(|of| of.digest != subject) {
                others += 1;
                continue;
            }
            let chosen = Chosen { candidates: candidates - others, reason: choice.reason, gone, doubts };
            return self.finish(*artifact, source, level, chosen).await;
        }
        Err(self.no_artifact(&subject).await)
    }

    /// The failure of an image that nothing is attached to; whether it could be decides what a user may do.
    async fn no_artifact(&self, subject: &Digest) -> Error {
        let image = self.location.to_string();
        if self.offline {
            // What was not there when it was last asked for may be there now.
            return Error::Offline { what: format!("a compatibility artifact attached to {image}") };
        }
        let kept = match self.store {
            Store::Remote(repository) => referrers::expect_kept(repository, subject).await,
            Store::Layout(_) => Ok(()),
        };
        let refusal = match kept {
            Err(Error::CannotKeep { reason, .. }) => {
                Some(format!("the registry has no referrers API, and {reason}"))
            }
            // What could not be found out is said when it matters.
            Ok(()) | Err(_) => None,
        };
        Error::NoArtifact { image, refusal }
    }

    /// A manifest: by digest from the cache, by tag only when offline.
    async fn resolve(&self, selector: &Selector) -> Result<Resolved> {
        if !self.location.is_remote() {
            return self.store.manifest(selector).await;
        }
        let place = self.location.place.to_string();
        let cached = match selector {
            Selector::Digest(digest) => self.cache.manifest(digest),
            Selector::Tag(tag) if self.offline => self.cache.tagged(&place, tag),
            _ => None,
        };
        if let Some(resolved) = cached {
            return Ok(resolved);
        }
        if self.offline {
            return Err(Error::Offline { what: self.store.display(selector) });
        }
        let resolved = self.store.manifest(selector).await?;
        // What is no manifest must not be found again offline.
        if let Err(error) = resolved.parse() {
            let reason = match error {
                FormatError::Malformed { reason, .. } => reason,
                other => other.to_string(),
            };
            return Err(Error::malformed(
                self.store.display(selector),
                format!("it is no manifest: {reason}"),
            ));
        }
        self.cache.keep_manifest(&resolved);
        if let Selector::Tag(tag) = selector {
            self.cache.keep_tag(&place, tag, &resolved.descriptor);
        }
        Ok(resolved)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let kind = Some(media_type::ARTIFACT_TYPE);
        if !self.location.is_remote() {
            let mut found = self.store.referrers(subject, kind).await?;
            if choice::lacks_dates(&found) {
                self.date(&mut found).await?;
            }
            return Ok(found);
        }
        let place = self.location.place.to_string();
        if self.offline {
            return self.cache.referrers(&place, subject).ok_or_else(|| Error::Offline {
                what: format!("the list of what is attached to {place}@{subject}"),
            });
        }
        let mut found = self.store.referrers(subject, kind).await?;
        if choice::lacks_dates(&found) {
            self.date(&mut found).await?;
        }
        self.cache.keep_referrers(&place, subject, &found);
        Ok(found)
    }

    /// Gives the entries of a list the annotations of their manifests.
    async fn date(&self, found: &mut [Descriptor]) -> Result<()> {
        for entry in found.iter_mut().take(choice::ASKED) {
            match self.resolve(&Selector::Digest(entry.digest.clone())).await {
                Ok(resolved) => entry.annotations = resolved.parse()?.annotations().clone(),
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn finish(
        &self,
        artifact: Artifact,
        source: Descriptor,
        level: Level,
        chosen: Chosen,
    ) -> Result<Found> {
        let specification = self.specification(&artifact).await?;
        let Chosen { candidates, reason, gone, doubts } = chosen;
        Ok(Found { specification, artifact, source, level, candidates, reason, gone, doubts })
    }

    async fn specification(&self, artifact: &Artifact) -> Result<Bytes> {
        let content = self.specification_layer(&artifact.specification).await?;
        artifact::document(&artifact.specification, content)
    }

    async fn specification_layer(&self, layer: &Descriptor) -> Result<Bytes> {
        if let Some(bytes) = layer.embedded()? {
            return Ok(bytes);
        }
        if !self.location.is_remote() {
            return self.store.blob(layer, limit::SPECIFICATION).await;
        }
        if let Some(bytes) = self.cache.blob(&layer.digest, limit::SPECIFICATION) {
            layer.verify(&bytes)?;
            return Ok(bytes);
        }
        if self.offline {
            let what = self.store.display(&Selector::Digest(layer.digest.clone()));
            return Err(Error::Offline { what });
        }
        let bytes = self.store.blob(layer, limit::SPECIFICATION).await?;
        self.cache.keep_blob(&layer.digest, &bytes);
        Ok(bytes)
    }
}

/// The failure of an index that lacks a platform.
pub(super) fn no_platform(image: &str, index: &Index, platform: &Platform) -> Error {
    let offered = index.platforms();
    let offered = if offered.is_empty() { "none".to_owned() } else { listed(&offered) };
    Error::NoPlatform { image: image.to_owned(), platform: platform.to_string(), offered }
}
