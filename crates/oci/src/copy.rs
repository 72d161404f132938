//! Copies from one place to another byte for byte, so that digests stay the same.
//!
//! An index is copied with its manifests. With `recursive`, everything is copied with its referrers and their
//! referrers. Children are written before parents and subjects before referrers, so the target never contains
//! a dangling reference. Blobs are streamed. Only manifests are held in memory.

use std::collections::HashSet;
use std::time::Duration;

use crate::blob::{Arrival, BlobSource};
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::{ManifestName, Selector};
use crate::format::manifest::{Descriptor, Manifest, Resolved};
use crate::limit;
use crate::observer::Observer;
use crate::referrers;
use crate::store::Store;

/// The result of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The digest of the manifest, the same on both sides.
    pub digest: Option<Digest>,
    /// The number of manifests that were written.
    pub manifests: usize,
    /// The number of blobs that were sent.
    pub blobs: usize,
    /// The number of bytes that were sent.
    pub bytes: u64,
    /// The number of blobs that the target's registry mounted from another repository.
    pub mounted: usize,
    /// The number of referrers that were examined.
    pub referrers: usize,
}

/// Copies a manifest and all content that it refers to.
///
/// # Errors
///
/// If the source or the target fails. Content that was already copied stays.
pub async fn copy(
    source: &Store,
    selector: &Selector,
    target: &Store,
    tag: Option<&str>,
    recursive: bool,
    observer: &dyn Observer,
) -> Result<Copied> {
    let root = source.manifest(selector).await?;
    let (seen, blobs, copied) = (HashSet::new(), HashSet::new(), Copied::default());
    let mut copier = Copier { source, target, recursive, observer, tag: None, seen, blobs, copied };
    copier.copied.digest = Some(root.descriptor.digest.clone());
    copier.tag = tag.map(str::to_owned);
    copier.tree(root, tag.map_or(ManifestName::Digest, ManifestName::Tag)).await?;
    Ok(copier.copied)
}

struct Copier<'a> {
    source: &'a Store,
    target: &'a Store,
    recursive: bool,
    observer: &'a dyn Observer,
    /// The tag of the root in the target.
    tag: Option<String>,
    /// The manifests that were visited.
    seen: HashSet<Digest>,
    /// The blobs that were visited.
    blobs: HashSet<Digest>,
    copied: Copied,
}

/// The remaining steps, as a stack. With recursion, the content would decide the depth of the call stack.
enum CopyStep {
    /// Copy the content of a manifest, then the manifest. The number is its nesting depth in indexes.
    Manifest(Digest, usize),
    /// Copy a referrer, if it still exists.
    Referrer(Digest),
    /// Write a manifest after its content.
    Write { resolved: Box<Resolved>, tag: Option<String>, child: bool },
    /// Copy the referrers of a manifest.
    Referrers(Digest),
}

impl Copier<'_> {
    async fn tree(&mut self, root: Resolved, name: ManifestName<'_>) -> Result<()> {
        let tag = match name {
            ManifestName::Tag(tag) => Some(tag.to_owned()),
            _ => None,
        };
        self.seen.insert(root.descriptor.digest.clone());
        let mut steps = Vec::new();
        self.plan(root, tag, 0, &mut steps).await?;
        while let Some(step) = steps.pop() {
            match step {
                CopyStep::Manifest(digest, depth) => {
                    if !self.seen.insert(digest.clone()) {
                        continue;
                    }
                    let resolved = self.source.manifest(&Selector::Digest(digest)).await?;
                    self.plan(resolved, None, depth, &mut steps).await?;
                }
                CopyStep::Write { resolved, tag, child } => {
                    self.write(&resolved, tag.as_deref(), child).await?
                }
                CopyStep::Referrers(subject) => {
                    let referrers = self.source.referrers(&subject, None).await?;
                    if !referrers.is_empty() {
                        self.expect_same_digest(&subject).await?;
                    }
                    steps.extend(referrers.into_iter().map(|referrer| CopyStep::Referrer(referrer.digest)));
                }
                CopyStep::Referrer(digest) => {
                    if self.seen.contains(&digest) {
                        self.copied.referrers += 1;
                        continue;
                    }
                    match self.source.manifest(&Selector::Digest(digest.clone())).await {
                        Ok(resolved) => {
                            self.seen.insert(digest);
                            self.copied.referrers += 1;
                            self.plan(resolved, None, 1, &mut steps).await?;
                        }
                        // A list may name a deleted manifest. The other referrers are copied all the same.
                        Err(Error::NotFound { what }) => {
                            self.observer.note(&format!(
                                "{what} is listed as a referrer but no longer exists: skipped"
                            ));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies the blobs of an image at once. For an index, plans its manifests.
    async fn plan(
        &mut self,
        resolved: Resolved,
        tag: Option<String>,
        depth: usize,
        steps: &mut Vec<CopyStep>,
    ) -> Result<()> {
        let what = || self.source.display(&Selector::Digest(resolved.descriptor.digest.clone()));
        if self.seen.len() + steps.len() > limit::GRAPH {
            return Err(Error::malformed(
                what(),
                format!("more than {} manifests belong to it", limit::GRAPH),
            ));
        }
        // Each index is held in memory until its manifests are written.
        if depth > limit::NESTING {
            return Err(Error::malformed(
                what(),
                format!("it is nested in more than {} indexes", limit::NESTING),
            ));
        }
        let manifest = resolved.parse()?;
        // This is a stack: the step pushed last is done first.
        if self.recursive {
            steps.push(CopyStep::Referrers(resolved.descriptor.digest.clone()));
        }
        steps.push(CopyStep::Write { resolved: Box::new(resolved), tag, child: depth > 0 });
        match manifest {
            Manifest::Image(image) => {
                for blob in image.config.iter().chain(&image.layers) {
                    self.blob(blob).await?;
                }
            }
            Manifest::Index(index) => {
                steps.extend(
                    index.manifests.into_iter().map(|entry| CopyStep::Manifest(entry.digest, depth + 1)),
                );
            }
        }
        Ok(())
    }

    async fn blob(&mut self, blob: &Descriptor) -> Result<()> {
        // Layers that no registry stores (`urls`, as in Windows base layers) are not copied.
        if blob.is_foreign() || !self.blobs.insert(blob.digest.clone()) {
            return Ok(());
        }
        if self.blobs.len() > limit::GRAPH * 100 {
            let what = self.source.display(&Selector::Digest(blob.digest.clone()));
            return Err(Error::malformed(
                what,
                format!("it is one of more than {} blobs", limit::GRAPH * 100),
            ));
        }
        self.observer.expect(blob.size);
        match self.target.push_blob(blob, &BlobSource::stored(self.source.clone())).await? {
            Arrival::Present => {}
            Arrival::Mounted => self.copied.mounted += 1,
            Arrival::Sent => {
                self.copied.blobs += 1;
                self.copied.bytes += blob.size;
            }
        }
        Ok(())
    }

    /// Writes a manifest. If the target does not see the content of the manifest, that content is sent again
    /// first.
    async fn put(&self, name: ManifestName<'_>, resolved: &Resolved) -> Result<bool> {
        match self.target.put_manifest(name, &resolved.descriptor, &resolved.bytes).await {
            Err(error) if error.is_blob_unknown() => {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(200..=600))).await;
                self.resend(resolved).await?;
                self.target.put_manifest(name, &resolved.descriptor, &resolved.bytes).await
            }
            outcome => outcome,
        }
    }

    /// Makes sure that the target knows a subject by the digest that its referrers name. Registries compute
    /// the sha256 digest of a tagged manifest. Nobody would find artifacts that are attached to a digest of
    /// another algorithm.
    async fn expect_same_digest(&self, subject: &Digest) -> Result<()> {
        if subject.algorithm() == "sha256" {
            return Ok(());
        }
        let mut selectors = vec![Selector::Digest(subject.clone())];
        if let (Some(root), Some(tag)) = (&self.copied.digest, &self.tag)
            && root == subject
        {
            selectors.push(Selector::Tag(tag.clone()));
        }
        for selector in selectors {
            let there = match self.target.manifest(&selector).await {
                Ok(resolved) => Some(resolved.descriptor.digest),
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            if there.as_ref() != Some(subject) {
                return Err(Error::OtherDigest {
                    target: self.target.display(&selector),
                    wanted: subject.clone(),
                    actual: there,
                });
            }
        }
        Ok(())
    }

    /// Sends the content of a manifest that the target does not have, or no longer has.
    async fn resend(&self, root: &Resolved) -> Result<()> {
        let root_digest = &root.descriptor.digest;
        let (mut open, mut order) = (vec![root_digest.clone()], Vec::new());
        while let Some(digest) = open.pop() {
            if order.contains(&digest) {
                continue;
            }
            match self.source.manifest(&Selector::Digest(digest.clone())).await?.parse()? {
                Manifest::Image(image) => {
                    let blobs = image.config.iter().chain(&image.layers).filter(|blob| !blob.is_foreign());
                    for blob in blobs {
                        self.target.push_blob(blob, &BlobSource::stored(self.source.clone())).await?;
                    }
                }
                Manifest::Index(index) => open.extend(index.manifests.into_iter().map(|entry| entry.digest)),
            }
            order.push(digest);
        }
        for digest in order.into_iter().rev().filter(|digest| digest != root_digest) {
            let child = self.source.manifest(&Selector::Digest(digest)).await?;
            self.target.put_manifest(ManifestName::Child, &child.descriptor, &child.bytes).await?;
        }
        Ok(())
    }

    async fn write(&mut self, resolved: &Resolved, tag: Option<&str>, child: bool) -> Result<()> {
        let descriptor = &resolved.descriptor;
        let selector = match tag {
            Some(tag) => Selector::Tag(tag.to_owned()),
            None => Selector::Digest(descriptor.digest.clone()),
        };
        let manifest = resolved.parse()?;
        let present = self.target.manifest_digest(&selector).await?.as_ref() == Some(&descriptor.digest);
        let name = match tag {
            Some(tag) => ManifestName::Tag(tag),
            None if child => ManifestName::Child,
            None => ManifestName::Digest,
        };
        let mut announced = false;
        let layout = matches!(self.target, Store::Layout(_));
        // In a layout, a manifest can exist without being listed. Writing it again costs nothing.
        if !present || layout {
            announced = self.put(name, resolved).await?;
            self.copied.manifests += usize::from(!present);
        }
        if let (Store::Remote(repository), Some(subject)) = (self.target, manifest.subject()) {
            let mut entry = descriptor.bare();
            entry.artifact_type = manifest.kind().map(str::to_owned);
            entry.annotations = manifest.annotations().clone();
            let pushed = referrers::NewReferrer { subject, entry: &entry, bytes: &resolved.bytes, announced };
            referrers::ensure_listed(repository, pushed).await?;
        }
        Ok(())
    }
}
