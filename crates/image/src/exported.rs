//! The directories that skopeo and podman write (`dir:` of containers-transports(5)). They contain
//! `manifest.json`, the manifests of an index as `HEX.manifest.json`, and the blobs as `HEX`. For algorithms
//! other than SHA-256, the algorithm's name precedes the digits.
//!
//! Everything but `manifest.json` is verified against its digest.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::archive::{Extent, pieces};
use crate::error::{Error, Result};
use compat_oci::blob::{self, BlobReader};
use compat_oci::manifest::media_type_of;
use compat_oci::{Descriptor, Resolved};

/// A directory that skopeo wrote.
#[derive(Clone, Debug)]
pub(super) struct Exported {
    directory: PathBuf,
}

impl Exported {
    /// Returns the export at a path.
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Reads the exported manifest or index.
    pub(crate) fn root(&self) -> Result<Resolved> {
        let bytes = self.read(&self.directory.join("manifest.json"), compat_oci::limit::MANIFEST)?;
        Ok(Resolved { descriptor: Descriptor::of(media_type_of(&bytes, None), &bytes), bytes })
    }

    /// Reads a manifest of an index and verifies it.
    pub(crate) fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let name = format!("{}.manifest.json", stem(descriptor));
        let bytes = self.read(&self.directory.join(name), compat_oci::limit::MANIFEST)?;
        descriptor.verify(&bytes)?;
        Ok(bytes)
    }

    /// Reads a small blob and verifies it.
    pub(crate) fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        let bytes = self.read(&self.directory.join(stem(descriptor)), limit)?;
        descriptor.verify(&bytes)?;
        Ok(bytes)
    }

    /// Returns a blob as a stream that verifies it.
    pub(crate) fn open(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        let path = self.directory.join(stem(descriptor));
        let file = compat_sys::open_regular(&path).map_err(Error::io("read", &path))?;
        let size = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(blob::verified(pieces(&path, Arc::new(file), Extent::whole(size)), descriptor))
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Bytes> {
        let mut bytes = Vec::new();
        let file = compat_sys::open_regular(path).map_err(Error::io("read", path))?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        if bytes.len() as u64 > limit {
            let what = path.display().to_string();
            return Err(compat_oci::Error::TooLarge { what, limit }.into());
        }
        Ok(bytes.into())
    }
}

/// The base name of a digest's files.
fn stem(descriptor: &Descriptor) -> String {
    let digest = &descriptor.digest;
    match digest.algorithm() {
        "sha256" => digest.hex().to_owned(),
        other => format!("{other}-{}", digest.hex()),
    }
}
