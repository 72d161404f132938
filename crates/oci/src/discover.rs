//! The artifacts attached to an image: to the index, to its platforms, and to those artifacts.

use std::collections::HashSet;

use crate::choice::{self, Choice};
use crate::error::{Error, Result};
use crate::find::{config_of, expect_platform, no_platform};
use crate::format::digest::Digest;
use crate::format::location::{Location, Selector};
use crate::format::manifest::{Descriptor, Manifest};
use crate::format::platform::Platform;
use crate::limit;
use crate::store::Store;

/// A manifest, with its platforms and referrers.
#[derive(Clone, Debug)]
pub struct Node {
    /// The manifest.
    pub descriptor: Descriptor,
    /// The manifests of an index.
    pub manifests: Vec<Node>,
    /// The attached artifacts.
    pub referrers: Vec<Node>,
    /// The compatibility artifact that checks use.
    pub taken: Option<Choice>,
}

/// The options of a listing.
#[derive(Clone, Debug, Default)]
pub struct DiscoverOptions {
    /// Only this platform of an index. An image for another platform is an error.
    pub platform: Option<Platform>,
    /// Only referrers of this type.
    pub artifact_type: Option<String>,
}

/// Lists the artifacts attached to an image.
///
/// # Errors
///
/// If the reference has no manifest for the platform ([`Error::NoPlatform`]), or the referrers cannot be listed. A
/// refusal is not an empty list.
pub async fn discover(store: &Store, location: &Location, options: &DiscoverOptions) -> Result<Node> {
    let resolved = store.manifest(&location.selector).await?;
    if let (Some(platform), Some(config)) = (&options.platform, config_of(&resolved)?) {
        let content = store.blob(&config, limit::CONFIG).await?;
        expect_platform(&location.to_string(), &config, &content, platform)?;
    }
    let mut walk = DiscoverWalk { store, options, seen: HashSet::new() };
    let mut root = walk.node(resolved.descriptor.clone(), 0).await?;
    let Manifest::Index(index) = resolved.parse()? else { return Ok(root) };
    let manifests = match &options.platform {
        None => index.manifests,
        Some(platform) => match index.best_for(platform) {
            Some(manifest) => vec![manifest.clone()],
            None => return Err(no_platform(&location.to_string(), &index, platform)),
        },
    };
    for manifest in manifests {
        root.manifests.push(walk.node(manifest, 0).await?);
    }
    Ok(root)
}

/// Returns the manifest to attach to: the one of the location, or that of one platform.
///
/// # Errors
///
/// If the manifest does not exist ([`Error::NotFound`]), the index lacks the platform
/// ([`Error::NoPlatform`]), or the store fails.
pub async fn subject(store: &Store, location: &Location, platform: Option<&Platform>) -> Result<Descriptor> {
    let resolved = store.manifest(&location.selector).await?;
    let Some(platform) = platform else { return Ok(resolved.descriptor.bare()) };
    match resolved.parse()? {
        Manifest::Image(_) => Err(Error::InvalidOption {
            option: "--platform",
            reason: format!("{location} is one manifest, not an index of platforms"),
        }),
        Manifest::Index(index) => match index.best_for(platform) {
            Some(manifest) => {
                // The size in the index could be wrong, so the manifest itself decides.
                let selector = Selector::Digest(manifest.digest.clone());
                Ok(store.manifest(&selector).await?.descriptor.bare())
            }
            None => Err(no_platform(&location.to_string(), &index, platform)),
        },
    }
}

/// The maximum depth of referrers of referrers.
const DEPTH: usize = 4;

struct DiscoverWalk<'a> {
    store: &'a Store,
    options: &'a DiscoverOptions,
    seen: HashSet<Digest>,
}

impl DiscoverWalk<'_> {
    async fn node(&mut self, descriptor: Descriptor, depth: usize) -> Result<Node> {
        let mut node = Node { descriptor, manifests: Vec::new(), referrers: Vec::new(), taken: None };
        if depth >= DEPTH || !self.seen.insert(node.descriptor.digest.clone()) {
            return Ok(node);
        }
        if self.seen.len() > limit::GRAPH {
            let what = self.store.display(&Selector::Digest(node.descriptor.digest));
            return Err(Error::malformed(what, format!("more than {} manifests belong to it", limit::GRAPH)));
        }
        let wanted = self.options.artifact_type.as_deref();
        let mut referrers = self.store.referrers(&node.descriptor.digest, wanted).await?;
        self.date(&mut referrers).await?;
        for referrer in referrers {
            // The next level is listed too: for example, a signature is attached to an artifact.
            node.referrers.push(Box::pin(self.node(referrer, depth + 1)).await?);
        }
        node.taken = choice::choose(&choice::compatibility(
            &node.referrers.iter().map(|referrer| referrer.descriptor.clone()).collect::<Vec<_>>(),
        ));
        Ok(node)
    }

    /// Adds the dates of the manifests to several artifacts, if the list has none.
    async fn date(&self, referrers: &mut [Descriptor]) -> Result<()> {
        let candidates = choice::compatibility(referrers);
        if !choice::lacks_dates(&candidates) {
            return Ok(());
        }
        for candidate in candidates.iter().take(choice::ASKED) {
            let resolved = match self.store.manifest(&Selector::Digest(candidate.digest.clone())).await {
                Err(Error::NotFound { .. }) => continue,
                outcome => outcome?,
            };
            let annotations = resolved.parse()?.annotations().clone();
            if let Some(entry) = referrers.iter_mut().find(|entry| entry.digest == candidate.digest) {
                entry.annotations = annotations;
            }
        }
        Ok(())
    }
}
