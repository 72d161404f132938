//! Deletes from a layout: the entries of `index.json`, then the blobs without references.

use std::collections::HashSet;
use std::fs;

use super::file;
use super::read::{Layout, named};
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::Selector;
use crate::format::manifest::{Descriptor, Index, Manifest};
use crate::limit;

/// The result of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// The manifest.
    pub digest: Digest,
    /// The number of blobs that were deleted with it.
    pub blobs: usize,
}

impl Layout {
    /// Deletes a manifest with all its tags, and the blobs that only it referred to.
    ///
    /// # Errors
    ///
    /// If the manifest does not exist ([`Error::NotFound`]), or the directory cannot be written.
    pub(crate) async fn delete(&self, selector: &Selector) -> Result<Deleted> {
        let digest = self.manifest(selector)?.descriptor.digest;
        let mut outcome = Ok(HashSet::new());
        let lock = self
            .change_index(|index| {
                outcome = self.remove(index, &digest);
                outcome.is_ok()
            })
            .await?;
        let gone = outcome?;
        // The lock is still held, so nobody else can list a manifest that refers to the deleted blobs.
        let blobs = gone.iter().filter(|gone| fs::remove_file(self.blob_path(gone)).is_ok()).count();
        drop(lock);
        Ok(Deleted { digest, blobs })
    }

    /// Removes a manifest from an index. Returns the digests without references.
    fn remove(&self, index: &mut Index, digest: &Digest) -> Result<HashSet<Digest>> {
        let mut before = self.reachable(&index.manifests)?;
        before.insert(digest.clone());
        let mut kept = index.manifests.clone();
        kept.retain(|entry| entry.digest != *digest);
        if let Some(subject) = self.subject_of(&self.find(&Selector::Digest(digest.clone()))?)? {
            self.remove_referrer(&mut kept, &subject, digest)?;
        }
        let after = self.reachable(&kept)?;
        index.manifests = kept;
        Ok(before.difference(&after).cloned().collect())
    }

    /// Removes a manifest from the index under the fallback tag of its subject, which other clients maintain.
    /// An empty index is removed too.
    fn remove_referrer(&self, listed: &mut Vec<Descriptor>, subject: &Digest, gone: &Digest) -> Result<()> {
        let tag = subject.fallback_tag();
        let Some(place) = listed.iter().position(|entry| named(entry, &tag)) else { return Ok(()) };
        let Some(Manifest::Index(mut index)) = self.parse(&listed[place])? else { return Ok(()) };
        let count = index.manifests.len();
        index.manifests.retain(|entry| entry.digest != *gone);
        if index.manifests.is_empty() {
            listed.remove(place);
        } else if index.manifests.len() < count {
            let what = self.display(&Selector::Tag(tag));
            let bytes =
                serde_json::to_vec(&index).map_err(|error| Error::malformed(what, error.to_string()))?;
            let entry = Descriptor::of(listed[place].media_type.clone(), &bytes);
            file::write(&self.blob_path(&entry.digest), &bytes)?;
            listed[place].digest = entry.digest;
            listed[place].size = entry.size;
        }
        Ok(())
    }

    /// Checks that all content of a manifest exists, except for content that no store has (`urls`).
    pub(super) fn check_whole(&self, root: &Digest) -> Result<()> {
        let mut seen = HashSet::new();
        let mut open = vec![(root.clone(), root.clone(), true)];
        while let Some((digest, parent, is_manifest)) = open.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            let missing = || Error::BlobUnknown {
                manifest: self.display(&Selector::Digest(parent.clone())),
                missing: digest.clone(),
            };
            let path = self.blob_path(&digest);
            if !is_manifest {
                path.is_file().then_some(()).ok_or_else(missing)?;
                continue;
            }
            let bytes = file::read(&path, limit::MANIFEST)?.ok_or_else(missing)?;
            let next = |entry: &Descriptor, is_manifest| (entry.digest.clone(), digest.clone(), is_manifest);
            match Manifest::parse(digest.as_str(), None, &bytes)? {
                Manifest::Image(image) => {
                    let blobs = image.config.iter().chain(&image.layers);
                    open.extend(blobs.filter(|blob| !blob.is_foreign()).map(|blob| next(blob, false)));
                }
                Manifest::Index(index) => {
                    open.extend(index.manifests.iter().map(|entry| next(entry, true)));
                }
            }
        }
        Ok(())
    }

    /// Returns everything that these manifests refer to, directly or indirectly.
    fn reachable(&self, roots: &[Descriptor]) -> Result<HashSet<Digest>> {
        let mut seen = HashSet::new();
        let mut open: Vec<Digest> = roots.iter().map(|entry| entry.digest.clone()).collect();
        while let Some(digest) = open.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            if seen.len() > limit::GRAPH * 100 {
                return Err(Error::malformed(self.root.display().to_string(), "it refers to too many blobs"));
            }
            let path = self.blob_path(&digest);
            // A file that is larger than a manifest, or is not a valid one, refers to nothing.
            if fs::metadata(&path).map_or(true, |found| found.len() > limit::MANIFEST) {
                continue;
            }
            let Some(bytes) = file::read(&path, limit::MANIFEST)? else { continue };
            match Manifest::parse("", None, &bytes) {
                Ok(Manifest::Image(image)) => {
                    open.extend(image.config.iter().chain(&image.layers).map(|entry| entry.digest.clone()));
                }
                Ok(Manifest::Index(index)) => {
                    open.extend(index.manifests.iter().map(|entry| entry.digest.clone()));
                }
                Err(_) => {}
            }
        }
        Ok(seen)
    }
}
