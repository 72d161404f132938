//! OCI image layouts: a directory as a registry (image-spec, `image-layout.md`).
//!
//! On disk: `oci-layout` (the version), `index.json` (the manifests that can be found, with their
//! tags as `org.opencontainers.image.ref.name`), `blobs/ALGORITHM/HEX`. A referrer is listed in
//! `index.json` without a name, and in an index under the fallback tag of its subject (`sha256-HEX`), which
//! is what regctl looks at. Listing referrers means looking at the `subject` of every manifest listed, and
//! at that index.
//!
//! Writing: a blob is written to a temporary file, verified, flushed and renamed, so a blob that is
//! there is whole. `index.json` is changed under an exclusive lock on the file `.compat.lock`
//! (flock(2)), by rename too; readers take no lock. Many processes may push to one layout at once.
//! Paths are built from digests alone, which cannot leave the directory.
//!
//! Garbage is collected only by a deletion, and only what the deleted manifest alone referred to.

mod delete;
mod file;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::Layout;
