//! An image layout, and reading from it.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::file;
use crate::blob::{self, BlobReader};
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::digest::{self, Digest};
use crate::format::location::Selector;
use crate::format::manifest::{Descriptor, IMAGE_INDEX, Index, Manifest, REF_NAME, Resolved, media_type_of};
use crate::format::text::listed;
use crate::limit;

/// An image layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) root: PathBuf,
}

impl Layout {
    /// Creates the layout in a directory, which need not exist yet.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Returns the name of a manifest in this layout for display.
    pub(crate) fn display(&self, selector: &Selector) -> String {
        let root = self.root.display();
        match selector {
            Selector::Tag(tag) => format!("oci:{root}:{tag}"),
            Selector::Digest(digest) => format!("oci:{root}@{digest}"),
            Selector::Only => format!("oci:{root}"),
        }
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    /// Reads `index.json`.
    ///
    /// # Errors
    ///
    /// If the directory is not a layout ([`Error::Layout`]).
    pub(crate) fn index(&self) -> Result<Index> {
        let fault = |reason: &str| Error::Layout { path: self.root.clone(), reason: reason.to_owned() };
        if !self.root.exists() {
            return Err(fault("the directory does not exist"));
        }
        let Some(version) = file::read(&self.root.join("oci-layout"), limit::ERROR_BODY)? else {
            return Err(fault("it has no file oci-layout"));
        };
        let version: serde_json::Value =
            serde_json::from_slice(&version).map_err(|_| fault("its file oci-layout is not JSON"))?;
        match version["imageLayoutVersion"].as_str() {
            Some(version) if version.starts_with("1.") => {}
            _ => return Err(fault("its imageLayoutVersion is not 1")),
        }
        let Some(bytes) = file::read(&self.index_path(), limit::MANIFEST)? else {
            return Err(fault("it has no file index.json"));
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::malformed(self.index_path().display().to_string(), error.to_string()))
    }

    /// Finds a manifest in `index.json`. A digest also finds a manifest that is not listed.
    pub(super) fn find(&self, selector: &Selector) -> Result<Descriptor> {
        let not_found = || Error::NotFound { what: self.display(selector) };
        let index = self.index()?;
        match selector {
            Selector::Tag(tag) => {
                index.manifests.into_iter().find(|entry| named(entry, tag)).ok_or_else(not_found)
            }
            Selector::Digest(digest) => {
                if let Some(entry) = index.manifests.into_iter().find(|entry| entry.digest == *digest) {
                    return Ok(entry);
                }
                let bytes = file::read(&self.blob_path(digest), limit::MANIFEST)?.ok_or_else(not_found)?;
                let mut descriptor = Descriptor::of(media_type_of(&bytes, None), &bytes);
                descriptor.digest = digest.clone();
                Ok(descriptor)
            }
            Selector::Only => self.only(index),
        }
    }

    /// Returns the only manifest that is not a referrer.
    fn only(&self, index: Index) -> Result<Descriptor> {
        let mut found: Vec<Descriptor> = Vec::new();
        for entry in index.manifests {
            // A list of referrers is not an image.
            if is_list_of_referrers(&entry) {
                continue;
            }
            let tagged = entry.annotations.contains_key(REF_NAME);
            let known = found.iter().any(|other| other.digest == entry.digest);
            if !known && (tagged || self.subject_of(&entry)?.is_none()) {
                found.push(entry);
            }
        }
        match (found.len(), found.pop()) {
            (1, Some(only)) => Ok(only),
            (0, _) => {
                Err(Error::NotFound { what: format!("a manifest in {}", self.display(&Selector::Only)) })
            }
            (count, _) => Err(FormatError::InvalidReference {
                reference: self.display(&Selector::Only),
                reason: format!("it has {count} manifests: use one of the tags {}", listed(&self.tags()?)),
            }
            .into()),
        }
    }

    /// Reads a manifest and verifies it.
    ///
    /// # Errors
    ///
    /// If the manifest does not exist ([`Error::NotFound`]), or the layout is invalid.
    pub(crate) fn manifest(&self, selector: &Selector) -> Result<Resolved> {
        let entry = self.find(selector)?;
        let bytes = self.read_manifest(&entry)?;
        let mut descriptor = entry.bare();
        descriptor.media_type = media_type_of(&bytes, Some(&entry.media_type));
        Ok(Resolved { descriptor, bytes })
    }

    fn read_manifest(&self, entry: &Descriptor) -> Result<Bytes> {
        let what = || self.display(&Selector::Digest(entry.digest.clone()));
        if entry.size > limit::MANIFEST {
            return Err(Error::TooLarge { what: what(), limit: limit::MANIFEST });
        }
        let bytes = file::read(&self.blob_path(&entry.digest), limit::MANIFEST)?;
        let bytes = bytes.ok_or_else(|| Error::NotFound { what: what() })?;
        entry.verify(&bytes)?;
        Ok(bytes.into())
    }

    /// Returns the digest of a manifest, if the layout has it.
    ///
    /// # Errors
    ///
    /// If the layout cannot be read. A layout that does not exist has no manifests.
    pub(crate) fn manifest_digest(&self, selector: &Selector) -> Result<Option<Digest>> {
        if !self.root.join("index.json").exists() {
            return Ok(None);
        }
        match self.find(selector) {
            Ok(entry) => Ok(Some(entry.digest)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a blob and verifies it.
    ///
    /// # Errors
    ///
    /// If the blob does not exist ([`Error::NotFound`]), is too large ([`Error::TooLarge`]) or invalid.
    pub(crate) fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        let what = || self.display(&Selector::Digest(descriptor.digest.clone()));
        if descriptor.size > limit {
            return Err(Error::TooLarge { what: what(), limit });
        }
        let bytes = file::read(&self.blob_path(&descriptor.digest), limit)?;
        let bytes = bytes.ok_or_else(|| Error::NotFound { what: what() })?;
        descriptor.verify(&bytes)?;
        Ok(bytes.into())
    }

    /// Opens a blob as a stream that verifies the content.
    ///
    /// # Errors
    ///
    /// If the blob does not exist ([`Error::NotFound`]) or cannot be opened.
    pub(crate) fn open_blob(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        let path = self.blob_path(&descriptor.digest);
        let Some(reader) = file::stream(&path)? else {
            let what = self.display(&Selector::Digest(descriptor.digest.clone()));
            return Err(Error::NotFound { what });
        };
        Ok(blob::verified(reader, descriptor))
    }

    /// Returns whether a blob exists.
    pub(crate) fn has_blob(&self, descriptor: &Descriptor) -> bool {
        let found = std::fs::metadata(self.blob_path(&descriptor.digest));
        found.is_ok_and(|found| found.is_file() && found.len() == descriptor.size)
    }

    /// Returns all tags in order.
    ///
    /// # Errors
    ///
    /// If the directory is not a layout.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let entries = self.index()?.manifests;
        let images = entries.iter().filter(|entry| !is_list_of_referrers(entry));
        let mut tags: Vec<String> =
            images.filter_map(|entry| entry.annotations.get(REF_NAME).cloned()).collect();
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    /// Returns the manifests that refer to `subject`.
    ///
    /// # Errors
    ///
    /// If the layout cannot be read.
    pub(crate) fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let index = self.index()?;
        let fallback = subject.fallback_tag();
        let mut found: Vec<Descriptor> = Vec::new();
        let mut add = |descriptor: Descriptor| {
            if !found.iter().any(|known| known.digest == descriptor.digest) {
                found.push(descriptor);
            }
        };
        for entry in &index.manifests {
            if named(entry, &fallback) {
                if let Some(Manifest::Index(list)) = self.parse(entry)? {
                    list.manifests.into_iter().for_each(&mut add);
                }
            } else if let Some(manifest) = self.parse(entry)?
                && manifest.subject().is_some_and(|of| of.digest == *subject)
            {
                add(as_referrer(entry, &manifest));
            }
        }
        found.sort_by(|a, b| a.digest.cmp(&b.digest));
        Ok(found)
    }

    /// Returns a listed manifest, or `None` if its blob is missing or invalid. One such manifest must not
    /// hide the others.
    pub(super) fn parse(&self, entry: &Descriptor) -> Result<Option<Manifest>> {
        let what = || self.display(&Selector::Digest(entry.digest.clone()));
        match self.read_manifest(entry) {
            Ok(bytes) => Ok(Manifest::parse(&what(), Some(&entry.media_type), &bytes).ok()),
            Err(Error::NotFound { .. } | Error::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn subject_of(&self, entry: &Descriptor) -> Result<Option<Digest>> {
        Ok(self.parse(entry)?.and_then(|manifest| manifest.subject().map(|of| of.digest.clone())))
    }
}

/// Returns whether an entry is the index under a fallback tag.
fn is_list_of_referrers(entry: &Descriptor) -> bool {
    let tag = entry.annotations.get(REF_NAME).map_or("", String::as_str);
    entry.media_type == IMAGE_INDEX && digest::is_fallback_tag(tag)
}

pub(super) fn named(entry: &Descriptor, tag: &str) -> bool {
    entry.annotations.get(REF_NAME).is_some_and(|name| name == tag)
}

/// Returns the descriptor for a list of referrers, with the manifest's type and annotations.
pub(super) fn as_referrer(entry: &Descriptor, manifest: &Manifest) -> Descriptor {
    let mut descriptor = entry.bare();
    descriptor.artifact_type = manifest.kind().map(str::to_owned);
    descriptor.annotations = manifest.annotations().clone();
    descriptor
}
