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

use super::artifact::{self, Artifact, Kind};
use super::cache::Cache;
use super::digest::Digest;
use super::error::{Error, Result};
use super::limit;
use super::location::{Location, Selector};
use super::manifest::{CREATED, Descriptor, Index, Resolved};
use super::platform::Platform;
use super::store::Store;
use super::text::listed;
use crate::spec::media_type;

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
    /// How many artifacts are attached there; the newest was taken.
    pub candidates: usize,
    /// Newer artifacts that are listed, and gone.
    pub gone: Vec<Digest>,
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
    let (level, mut found) = match artifact::recognise(&source)? {
        Kind::Compatibility(artifact) => {
            return finder.finish(*artifact, source.descriptor, Level::Artifact, 1, Vec::new()).await;
        }
        Kind::Index(index) => finder.of_index(&index, &source.descriptor.digest, options).await?,
        Kind::Image => finder.of_image(&source.descriptor.digest).await?,
        Kind::Other(kind) => match finder.of_image(&source.descriptor.digest).await {
            Err(Error::NoArtifact { image }) => return Err(artifact::other(&image, &kind)),
            other => other?,
        },
    };
    let (candidates, mut gone) = (found.len(), Vec::new());
    let resolved = loop {
        let chosen = newest(&mut found).ok_or_else(|| finder.no_artifact())?;
        match finder.resolve(&Selector::Digest(chosen.digest.clone())).await {
            // A list may name what was deleted since: an older one that is there counts.
            Err(Error::NotFound { .. }) if !found.is_empty() => gone.push(chosen.digest),
            outcome => break outcome?,
        }
    };
    match artifact::recognise(&resolved)? {
        Kind::Compatibility(artifact) => {
            finder.finish(*artifact, source.descriptor, level, candidates, gone).await
        }
        _ => {
            let reference = store.display(&Selector::Digest(resolved.descriptor.digest));
            Err(artifact::other(&reference, "another manifest than the listing of referrers says"))
        }
    }
}

struct Finder<'a> {
    store: &'a Store,
    cache: &'a Cache,
    location: &'a Location,
    offline: bool,
}

/// The level that answered, and what is attached there: at least one.
type Attached = (Level, Vec<Descriptor>);

impl Finder<'_> {
    async fn of_image(&self, digest: &Digest) -> Result<Attached> {
        let found = self.referrers(digest).await?;
        if found.is_empty() { Err(self.no_artifact()) } else { Ok((Level::Manifest, found)) }
    }

    async fn of_index(&self, index: &Index, digest: &Digest, options: &FindOptions) -> Result<Attached> {
        if let Some(manifest) = index.best_for(&options.platform) {
            let found = self.referrers(&manifest.digest).await?;
            if !found.is_empty() {
                let platform = manifest.platform.clone().unwrap_or_default();
                return Ok((Level::Platform(platform), found));
            }
        } else if options.platform_named {
            return Err(no_platform(&self.location.to_string(), index, &options.platform));
        }
        let found = self.referrers(digest).await?;
        if found.is_empty() { Err(self.no_artifact()) } else { Ok((Level::Index, found)) }
    }

    fn no_artifact(&self) -> Error {
        let image = self.location.to_string();
        if self.offline {
            // What was not there when it was last asked for may be there now.
            return Error::Offline { what: format!("a compatibility artifact attached to {image}") };
        }
        Error::NoArtifact { image }
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
                Error::Malformed { reason, .. } => reason,
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
            return self.store.referrers(subject, kind).await;
        }
        let place = self.location.place.to_string();
        if self.offline {
            return self.cache.referrers(&place, subject).ok_or_else(|| Error::Offline {
                what: format!("the list of what is attached to {place}@{subject}"),
            });
        }
        let found = self.store.referrers(subject, kind).await?;
        self.cache.keep_referrers(&place, subject, &found);
        Ok(found)
    }

    async fn finish(
        &self,
        artifact: Artifact,
        source: Descriptor,
        level: Level,
        candidates: usize,
        gone: Vec<Digest>,
    ) -> Result<Found> {
        let specification = self.specification(&artifact).await?;
        Ok(Found { specification, artifact, source, level, candidates, gone })
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

/// Takes out the newest by the time its annotation gives; without one it counts as the oldest. Of equals
/// the one with the highest digest: any rule will do as long as every machine follows it.
pub fn newest(found: &mut Vec<Descriptor>) -> Option<Descriptor> {
    let created = |entry: &Descriptor| entry.annotations.get(CREATED).and_then(|time| sortable(time));
    let (place, _) = found
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| created(a).cmp(&created(b)).then_with(|| a.digest.cmp(&b.digest)))?;
    Some(found.swap_remove(place))
}

/// An RFC 3339 time.
fn sortable(time: &str) -> Option<jiff::Timestamp> {
    time.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_artifact_is_taken_and_ties_are_broken_the_same_way_everywhere() {
        let entry = |content: &str, created: Option<&str>| {
            let mut entry = Descriptor::of("x", content.as_bytes());
            entry.annotations.extend(created.map(|time| (CREATED.to_owned(), time.to_owned())));
            entry
        };
        let old = entry("a", Some("2024-01-01T00:00:00Z"));
        let new = entry("b", Some("2024-06-01T01:00:00+02:00"));
        let newer = entry("c", Some("2024-05-31T23:30:00Z"));
        let none = entry("d", None);
        let mut all = vec![newer.clone(), none, old, new];
        assert_eq!(newest(&mut all), Some(newer));
        let (a, b) = (entry("a", None), entry("b", None));
        assert_eq!(newest(&mut vec![a.clone(), b.clone()]), newest(&mut vec![b, a]));
        assert_eq!(newest(&mut vec![]), None);
        assert_eq!(sortable("2024"), None);
        assert_eq!(sortable("é024-01-01T00:00:00Z"), None);
    }
}
