//! Copies between registries and layouts, with the same digests on both sides: the work of `compat copy`.

use serde::Serialize;

use super::{Failure, Session};
use compat_oci::{Access, Location, Selector, Store, copy as registry};

/// The options of a copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Whether attached artifacts are copied too, and the artifacts attached to those.
    pub recursive: bool,
}

/// The result of a copy.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CopyReport {
    /// The source, as it was understood.
    pub source: String,
    /// The target, as it was understood.
    pub target: String,
    /// The manifest's digest, the same on both sides.
    pub digest: String,
    /// The number of manifests that were written.
    pub manifests: usize,
    /// The number of blobs that were sent.
    pub blobs: usize,
    /// The number of bytes in the blobs that were sent.
    pub bytes: u64,
    /// The number of blobs that the registry mounted from another repository without a transfer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mounted: usize,
    /// The number of attached artifacts that were examined.
    pub referrers: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Returns the target of a copy. Without a tag or digest, it gets the tag of the source.
///
/// # Errors
///
/// If the target has another digest than the source (wrong usage).
pub fn target(source: &Location, mut target: Location) -> Result<Location, Failure> {
    if let Selector::Digest(digest) = &target.selector
        && source.selector != target.selector
    {
        let message = format!("{target}: a copy keeps its digest, so use a tag instead of {digest}");
        return Err(Failure::usage(message));
    }
    if target.selector == Selector::Only
        && let Some(tag) = source.tag()
    {
        target.selector = Selector::Tag(tag.to_owned());
    }
    Ok(target)
}

/// Copies a manifest and all content that it refers to. Content that the target already has is not sent
/// again.
///
/// # Errors
///
/// If the source or the target fails.
pub fn copy(
    source: &Location,
    target: &Location,
    options: CopyOptions,
    session: &Session,
) -> Result<CopyReport, Failure> {
    let connection = session.connect(target.host().or(source.host()))?;
    let from = Store::new(&connection.client, &source.place, Access::Pull);
    let to = Store::new(&connection.client, &target.place, Access::Push).mounting_from(&from);
    let observer = connection.client.observer();
    let task = registry::copy(&from, &source.selector, &to, target.tag(), options.recursive, observer);
    let copied = connection.run(task)?;
    Ok(CopyReport {
        source: source.to_string(),
        target: target.to_string(),
        digest: copied.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        manifests: copied.manifests,
        blobs: copied.blobs,
        bytes: copied.bytes,
        mounted: copied.mounted,
        referrers: copied.referrers,
    })
}
