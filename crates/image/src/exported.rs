//! What skopeo and podman write into a directory (`dir:` of containers-transports(5)): `manifest.json`, the manifests of
//! an index as `HEX.manifest.json`, and the blobs as `HEX`, where another algorithm than SHA-256 stands before the digits.
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

/// Such a directory.
#[derive(Clone, Debug)]
pub(super) struct Exported {
    directory: PathBuf,
}

impl Exported {
    /// The one at a path.
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The manifest or index that was exported.
    pub(crate) fn root(&self) -> Result<Resolved> {
        let bytes = self.read(&self.directory.join("manifest.json"), compat_oci::limit::MANIFEST)?;
        Ok(Resolved { descriptor: Descriptor::of(media_type_of(&bytes, None), &bytes), bytes })
    }

    /// A manifest of an index, verified.
    pub(crate) fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let name = format!("{}.manifest.json", stem(descriptor));
        let bytes = self.read(&self.directory.join(name), compat_oci::limit::MANIFEST)?;
        descriptor.verify(&bytes)?;
        Ok(bytes)
    }

    /// A small blob, verified.
    pub(crate) fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        let bytes = self.read(&self.directory.join(stem(descriptor)), limit)?;
        descriptor.verify(&bytes)?;
        Ok(bytes)
    }

    /// A blob as a stream that is verified on the way.
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

/// What the files of a digest are named by.
fn stem(descriptor: &Descriptor) -> String {
    let digest = &descriptor.digest;
    match digest.algorithm() {
        "sha256" => digest.hex().to_owned(),
        other => format!("{other}-{}", digest.hex()),
    }
}
