//! Writes to a layout.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::file;
use super::read::{Layout, as_referrer, named};
use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::{ManifestName, Selector};
use crate::format::manifest::{Descriptor, IMAGE_INDEX, Index, Manifest, REF_NAME};

const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The maximum number of attempts to read a blob if its source breaks off.
const ATTEMPTS: u32 = 3;

impl Layout {
    /// Writes a blob unless it exists. Returns whether it was written.
    ///
    /// # Errors
    ///
    /// If the source does not match its descriptor, or the disk is full.
    pub(crate) async fn push_blob(&self, descriptor: &Descriptor, source: &BlobSource) -> Result<bool> {
        let path = self.blob_path(&descriptor.digest);
        if self.has_blob(descriptor) {
            return Ok(false);
        }
        self.create()?;
        let mut attempt = 0;
        loop {
            match self.write_blob(descriptor, source, &path).await {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(50..=150) << attempt)).await;
                }
                outcome => return outcome.map(|()| true),
            }
        }
    }

    async fn write_blob(&self, descriptor: &Descriptor, source: &BlobSource, path: &Path) -> Result<()> {
        let directory = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let mut reader = source.open(descriptor).await?;
        let mut temporary = file::temporary(directory)?;
        while let Some(chunk) = reader.next().await {
            temporary.write_all(&chunk?).map_err(Error::io("write", path))?;
        }
        file::persist(temporary, path)
    }

    /// Writes a manifest, and lists it unless it is a child.
    ///
    /// # Errors
    ///
    /// If the directory contains something else, or cannot be written.
    pub(crate) async fn put_manifest(
        &self,
        name: ManifestName<'_>,
        descriptor: &Descriptor,
        bytes: &Bytes,
    ) -> Result<()> {
        self.create()?;
        self.push_blob(descriptor, &BlobSource::Bytes(bytes.clone())).await?;
        let what = descriptor.digest.as_str();
        let manifest = Manifest::parse(what, Some(&descriptor.media_type), bytes)?;
        let mut entry = as_referrer(descriptor, &manifest);
        let subject = manifest.subject().map(|subject| subject.digest.clone());
        let referrer = subject.clone().map(|subject| (subject, entry.clone()));
        if referrer.is_none() {
            entry.annotations.clear();
            entry.artifact_type = None;
        }
        match name {
            ManifestName::Child if referrer.is_none() => return Ok(()),
            ManifestName::Child | ManifestName::Digest => {}
            ManifestName::Tag(tag) => {
                entry.annotations.insert(REF_NAME.into(), tag.to_owned());
            }
        }
        let mut outcome = Ok(());
        let change = |index: &mut Index| {
            let changed = match name {
                ManifestName::Tag(tag) => tag_entry(index, tag, entry),
                _ => list(index, entry),
            };
            let referred = referrer.map_or(Ok(false), |(subject, entry)| self.refer(index, &subject, entry));
            match referred {
                Ok(referred) => changed || referred,
                Err(error) => {
                    outcome = Err(error);
                    false
                }
            }
        };
        self.change_whole(&descriptor.digest, change).await?;
        outcome
    }

    /// Lists a referrer also in the index under the fallback tag of its subject. Clients such as regctl read
    /// it instead of every manifest of a layout. Other content under that tag does not change. Returns
    /// whether anything changed.
    fn refer(&self, index: &mut Index, subject: &Digest, entry: Descriptor) -> Result<bool> {
        let tag = subject.fallback_tag();
        let place = index.manifests.iter().position(|known| named(known, &tag));
        let mut list = match place.map(|place| self.parse(&index.manifests[place])).transpose()? {
            None | Some(None) => Index::default(),
            Some(Some(Manifest::Index(list))) => *list,
            Some(Some(Manifest::Image(_))) => return Ok(false),
        };
        if list.manifests.iter().any(|known| known.digest == entry.digest) {
            return Ok(false);
        }
        list.manifests.push(entry);
        let bytes = serde_json::to_vec(&list).map_err(|error| {
            Error::malformed(self.display(&Selector::Tag(tag.clone())), error.to_string())
        })?;
        let mut named = Descriptor::of(IMAGE_INDEX, &bytes);
        file::write(&self.blob_path(&named.digest), &bytes)?;
        named.annotations.insert(REF_NAME.into(), tag);
        match place {
            Some(place) => {
                let old = std::mem::replace(&mut index.manifests[place], named);
                // Nothing else refers to the old list.
                if !index.manifests.iter().any(|known| known.digest == old.digest) {
                    let _ = fs::remove_file(self.blob_path(&old.digest));
                }
            }
            None => index.manifests.push(named),
        }
        Ok(true)
    }

    /// Changes `index.json` for a manifest whose content is complete. A deletion may have removed content
    /// after it was pushed. The check happens under the lock, so that nothing is lost after it.
    async fn change_whole(&self, root: &Digest, change: impl FnOnce(&mut Index) -> bool) -> Result<()> {
        let mut outcome = Ok(());
        self.change_index(|index| {
            outcome = self.check_whole(root);
            outcome.is_ok() && change(index)
        })
        .await?;
        outcome
    }

    /// Creates the layout if the directory is missing or empty.
    fn create(&self) -> Result<()> {
        let marker = self.root.join("oci-layout");
        self.remove_abandoned();
        if marker.exists() {
            return Ok(());
        }
        let strange = fs::read_dir(&self.root).ok().and_then(|entries| {
            let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
            names.into_iter().find(|name| {
                let name = name.to_string_lossy();
                // Another process that creates the same layout may have made these.
                !(name.starts_with(".compat")
                    || name == "blobs"
                    || name == "index.json"
                    || name == "oci-layout")
            })
        });
        if let Some(name) = strange {
            let reason = format!("it is not empty: it contains {}", name.to_string_lossy());
            return Err(Error::Layout { path: self.root.clone(), reason });
        }
        let blobs = self.root.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        file::write(&marker, VERSION)
    }

    /// Removes the temporary files of killed processes, once per run.
    fn remove_abandoned(&self) {
        static CLEANED: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
        let mut cleaned = CLEANED.lock().unwrap_or_else(PoisonError::into_inner);
        if cleaned.get_or_insert_default().insert(self.root.clone()) {
            let algorithms =
                ["sha256", "sha384", "sha512"].map(|algorithm| self.root.join("blobs").join(algorithm));
            for directory in algorithms.iter().chain([&self.root]) {
                compat_sys::remove_abandoned(directory);
            }
        }
    }

    /// Changes `index.json` under the lock, and returns the lock. `change` returns whether anything must be
    /// written.
    pub(super) async fn change_index(&self, change: impl FnOnce(&mut Index) -> bool) -> Result<file::Lock> {
        let lock = file::lock(&self.root.join(".compat.lock")).await?;
        let mut index = if self.index_path().exists() { self.index()? } else { Index::default() };
        if !change(&mut index) && self.index_path().exists() {
            return Ok(lock);
        }
        let bytes = serde_json::to_vec(&index)
            .map_err(|error| Error::malformed(self.index_path().display().to_string(), error.to_string()))?;
        file::write(&self.index_path(), &bytes)?;
        Ok(lock)
    }
}

/// Lists a manifest without a tag.
fn list(index: &mut Index, entry: Descriptor) -> bool {
    if index.manifests.iter().any(|known| known.digest == entry.digest) {
        return false;
    }
    index.manifests.push(entry);
    true
}

/// Moves a tag to a manifest. An entry without a name for the same manifest is removed, because it adds
/// nothing.
fn tag_entry(index: &mut Index, tag: &str, entry: Descriptor) -> bool {
    if index.manifests.contains(&entry) {
        return false;
    }
    let named = |known: &Descriptor| known.annotations.get(REF_NAME).map(String::as_str) == Some(tag);
    index.manifests.retain(|known| {
        let same = known.digest == entry.digest;
        !(named(known) || (same && !known.annotations.contains_key(REF_NAME)))
    });
    index.manifests.push(entry);
    true
}
