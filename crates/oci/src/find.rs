//! Finds the compatibility document for a reference, with as few requests as possible.
//!
//! The manifest is resolved with one request. A compatibility artifact is the result itself. For an image,
//! its referrers are listed. For an index, the referrers of the wanted platform's manifest come first, which
//! needs no request for that manifest, then those of the index. The manifest of the artifact is fetched. It
//! contains the document unless that is large. No layer of an image is ever requested. The configuration of a
//! single image is requested only if the user named a platform, because nothing else states its platform.
//!
//! The maximum is five requests: the tag, the referrers of the platform's manifest (404), its fallback tag
//! (404), the fallback tag of the index (by then the registry is known to have no API), and the artifact. A
//! challenge and its token add two.

use bytes::Bytes;

use crate::artifact::{self, Artifact, ArtifactKind};
use crate::cache::Cache;
use crate::choice::{self, Reason};
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::digest::Digest;
use crate::format::location::{Location, Selector};
use crate::format::manifest::{Descriptor, IMAGE_CONFIGS, Index, Manifest, Resolved};
use crate::format::media_type;
use crate::format::platform::Platform;
use crate::format::text::listed;
use crate::limit;
use crate::referrers;
use crate::store::Store;

/// The place of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// The reference names the artifact itself.
    Artifact,
    /// It is attached to the image.
    Manifest,
    /// It is attached to the manifest of a platform in the index.
    Platform(Platform),
    /// It is attached to the index.
    Index,
}

/// A document, with its origin.
#[derive(Clone, Debug)]
pub struct Found {
    /// The document's bytes, verified.
    pub specification: Bytes,
    /// The artifact.
    pub artifact: Artifact,
    /// The manifest that the reference named.
    pub source: Descriptor,
    /// The level at which the document was found.
    pub level: Level,
    /// The number of artifacts attached at that level.
    pub candidates: usize,
    /// Why this artifact was chosen.
    pub reason: Reason,
    /// Newer artifacts that are listed but no longer exist.
    pub gone: Vec<Digest>,
    /// Warnings about the dates of the candidates.
    pub doubts: Vec<String>,
}

/// The options of a search.
#[derive(Clone, Debug)]
pub struct FindOptions {
    /// The wanted platform of an index.
    pub platform: Platform,
    /// Whether the user named the platform. An index without it, or an image for another one, is then an error.
    pub platform_named: bool,
    /// Whether no registry may be asked.
    pub offline: bool,
}

/// Finds the compatibility document for a location.
///
/// # Errors
///
/// If nothing is attached ([`Error::NoArtifact`]), the artifact has another type ([`Error::OtherArtifact`]), the
/// reference has no manifest for the platform ([`Error::NoPlatform`]), or the store fails.
pub async fn find(store: &Store, cache: &Cache, location: &Location, options: &FindOptions) -> Result<Found> {
    let finder = Finder { store, cache, location, offline: options.offline && location.is_remote() };
    let source = finder.resolve(&location.selector).await?;
    let attached = match artifact::recognise(&source)? {
        ArtifactKind::Compatibility(artifact) => {
            return finder.finish(*artifact, source.descriptor, Level::Artifact, Chosen::default()).await;
        }
        ArtifactKind::Index(index) => finder.of_index(&index, &source.descriptor.digest, options).await?,
        ArtifactKind::Image => {
            finder.expect_platform(&source, options).await?;
            finder.of_image(&source.descriptor.digest).await?
        }
        ArtifactKind::Other(kind) => match finder.of_image(&source.descriptor.digest).await {
            Err(Error::NoArtifact { image, .. }) => return Err(artifact::other(&image, &kind)),
            other => other?,
        },
    };
    finder.choose(attached, source.descriptor).await
}

/// How an artifact was chosen among several.
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

/// The level, its manifest, and the artifacts attached to it (at least one).
type AttachedTo = (Level, Digest, Vec<Descriptor>);

impl Finder<'_> {
    /// Fails if the user named a platform and a single image is for another one.
    async fn expect_platform(&self, image: &Resolved, options: &FindOptions) -> Result<()> {
        if !options.platform_named {
            return Ok(());
        }
        let Some(config) = config_of(image)? else { return Ok(()) };
        let content = self.content(&config, limit::CONFIG).await?;
        expect_platform(&self.location.to_string(), &config, &content, &options.platform)
    }

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

    /// Returns the artifact that takes precedence among those attached.
    async fn choose(&self, attached: AttachedTo, source: Descriptor) -> Result<Found> {
        let (level, subject, mut open) = attached;
        let doubts = choice::doubts(&open, jiff::Timestamp::now());
        let (mut gone, mut others) = (Vec::new(), 0);
        let candidates = open.len();
        while let Some(choice) = choice::choose(&open) {
            open.retain(|entry| entry.digest != choice.taken.digest);
            let digest = choice.taken.digest;
            let resolved = match self.resolve(&Selector::Digest(digest.clone())).await {
                // A list may name a deleted artifact. An older one that exists is used instead.
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
                    "a different manifest than the list of referrers states",
                ));
            };
            // The index under a fallback tag may list referrers of another manifest.
            if artifact.subject.as_ref().is_some_and(|of| of.digest != subject) {
                others += 1;
                continue;
            }
            let chosen = Chosen { candidates: candidates - others, reason: choice.reason, gone, doubts };
            return self.finish(*artifact, source, level, chosen).await;
        }
        Err(self.no_artifact(&subject).await)
    }

    /// Returns the failure for an image without artifacts. It states whether one can be attached, because
    /// that decides the hint.
    async fn no_artifact(&self, subject: &Digest) -> Error {
        let image = self.location.to_string();
        if self.offline {
            // The registry may have an artifact by now.
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
            // An unknown answer is reported when something is attached.
            Ok(()) | Err(_) => None,
        };
        Error::NoArtifact { image, refusal }
    }

    /// Returns a manifest: by digest from the cache, by tag from the cache only offline.
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
        // An invalid manifest must not be found again offline.
        if let Err(error) = resolved.parse() {
            let reason = match error {
                FormatError::Malformed { reason, .. } => reason,
                other => other.to_string(),
            };
            return Err(Error::malformed(
                self.store.display(selector),
                format!("it is not a manifest: {reason}"),
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
                what: format!("the list of artifacts attached to {place}@{subject}"),
            });
        }
        let mut found = self.store.referrers(subject, kind).await?;
        if choice::lacks_dates(&found) {
            self.date(&mut found).await?;
        }
        self.cache.keep_referrers(&place, subject, &found);
        Ok(found)
    }

    /// Adds the annotations of their manifests to the entries of a list.
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
        let content = self.content(&artifact.specification, limit::SPECIFICATION).await?;
        artifact::document(&artifact.specification, content)
    }

    /// Returns a blob of at most `maximum` bytes: embedded, from the cache, or from the store.
    async fn content(&self, blob: &Descriptor, maximum: u64) -> Result<Bytes> {
        if let Some(bytes) = blob.embedded()? {
            return Ok(bytes);
        }
        if !self.location.is_remote() {
            return self.store.blob(blob, maximum).await;
        }
        if let Some(bytes) = self.cache.blob(&blob.digest, maximum) {
            blob.verify(&bytes)?;
            return Ok(bytes);
        }
        if self.offline {
            let what = self.store.display(&Selector::Digest(blob.digest.clone()));
            return Err(Error::Offline { what });
        }
        let bytes = self.store.blob(blob, maximum).await?;
        self.cache.keep_blob(&blob.digest, &bytes);
        Ok(bytes)
    }
}

/// Returns the failure for an index that lacks a platform.
pub(super) fn no_platform(image: &str, index: &Index, platform: &Platform) -> Error {
    let offered = index.platforms();
    let offered = if offered.is_empty() { "none".to_owned() } else { listed(&offered) };
    Error::NoPlatform { image: image.to_owned(), platform: platform.to_string(), offered }
}

/// Returns the descriptor of an image's configuration. `None` for an artifact or an index.
pub(super) fn config_of(image: &Resolved) -> Result<Option<Descriptor>> {
    let Manifest::Image(manifest) = image.parse()? else { return Ok(None) };
    Ok(manifest.config.filter(|config| IMAGE_CONFIGS.contains(&config.media_type.as_str())))
}

/// Fails if a single image is for another platform than the requested one. Only its configuration states
/// its platform, so `content` is the configuration.
pub(super) fn expect_platform(
    image: &str,
    config: &Descriptor,
    content: &[u8],
    wanted: &Platform,
) -> Result<()> {
    let own = Platform::of_config(content).map_err(|error| {
        Error::malformed(format!("the configuration {} of {image}", config.digest), error.to_string())
    })?;
    match own {
        Some(own) if own.suits(wanted).is_none() => {
            let (image, platform) = (image.to_owned(), wanted.to_string());
            Err(Error::NoPlatform { image, platform, offered: own.to_string() })
        }
        _ => Ok(()),
    }
}
