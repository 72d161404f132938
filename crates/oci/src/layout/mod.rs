//! OCI image layouts: a directory as a registry (image-spec, `image-layout.md`).
//!
//! On disk, `oci-layout` holds the version, and `index.json` lists the manifests with their tags
//! (`org.opencontainers.image.ref.name`). `blobs/ALGORITHM/HEX` holds the content. A referrer is listed in
//! `index.json` without a name. It is also listed in an index under the fallback tag of its subject
//! (`sha256-HEX`), which regctl reads. To list referrers, the `subject` of every listed manifest is read, and
//! that index.
//!
//! A blob is written to a temporary file, verified, flushed and renamed, so an existing blob is complete.
//! `index.json` is changed under an exclusive lock on the file `.compat.lock` (flock(2)), also by rename.
//! Readers take no lock. Many processes may push to one layout at the same time. Paths are built only from
//! digests, which cannot lead out of the directory.
//!
//! Only a deletion removes blobs, and only those that only the deleted manifest referred to.

mod delete;
mod file;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::Layout;
