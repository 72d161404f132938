//! From one registry or layout to another, the same digests on both sides: what `compat copy` does.

use serde::Serialize;

use super::{Failure, Session};
use compat_oci::{Access, Location, Selector, Store, copy as registry};

/// How something is copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// All that is attached is copied too, and what is attached to that.
    pub recursive: bool,
}

/// What a copy did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CopyReport {
    /// The source as it was understood.
    pub source: String,
    /// The target as it was understood.
    pub target: String,
    /// The manifest's digest, the same on both sides.
    pub digest: String,
    /// How many manifests were written.
    pub manifests: usize,
    /// How many blobs were sent.
    pub blobs: usize,
    /// How many bytes of blobs were sent.
    pub bytes: u64,
    /// How many blobs the registry took over from the other repository, without a transfer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mounted: usize,
    /// How many attached artifacts were looked at.
    pub referrers: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The target of a copy: without a tag or digest it takes the tag of the source.
///
/// # Errors
///
/// Wrong usage where it is another digest than that of the source.
pub fn target(source: &Location, mut target: Location) -> Result<Location, Failure> {
    if let Selector::Digest(digest) = &target.selector
        && source.selector != target.selector
    {
        let message = format!("{target}: a copy keeps its digest, name a tag instead of {digest}");
        return Err(Failure::usage(message));
    }
    if target.selector == Selector::Only
        && let Some(tag) = source.tag()
    {
        target.selector = Selector::Tag(tag.to_owned());
    }
    Ok(target)
}

/// Copies a manifest with all that it refers to; what is there already is not sent again.
///
/// # Errors
///
/// If either side fails.
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
