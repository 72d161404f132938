//! Handlers of a cached volume: names, attributes, links and listings, answered from known facts if possible.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::{Access, Statx};
use rustix::io::Errno;

use crate::mirror::attribute;
use crate::mirror::cache::ask::Confirmed;
use crate::mirror::cache::names::{Answer, Resolved, rest};
use crate::mirror::cache::permission::permit;
use crate::mirror::cache::{CacheEvent, CachedVolume, Coherence, Listing, Question};
use crate::mirror::node::Node;
use crate::mirror::request::Request;
use crate::mirror::volume::Volume;
use crate::mirror::wire::{ROOT, Validity, write_entry, write_missing_entry};

/// The time for which the kernel keeps a name whose change will be noticed.
const LONG: Duration = Duration::from_secs(3_600);

/// The minor version of the protocol from which names can be expired one by one (`FUSE_EXPIRE_ONLY`).
const CAN_EXPIRE: u32 = 38;

/// Answers `FUSE_LOOKUP`. Returns the node, or `None` if the name does not exist and the kernel caches this.
pub(super) fn lookup(
    volume: &Volume,
    cached: &CachedVolume,
    request: &Request<'_>,
    parent: &Arc<Node>,
    name: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<Arc<Node>>, Errno> {
    permit(volume, cached, request, parent, Access::EXEC_OK)?;
    let resolved = volume.resolve(cached, parent, name)?;
    let entry = entry_validity(volume, cached, parent, name, &resolved);
    match resolved.answer {
        Answer::Missing if entry.is_zero() => Err(Errno::NOENT),
        Answer::Missing => {
            write_missing_entry(out, entry);
            Ok(None)
        }
        Answer::Node { node, confirmed, is_counted } => {
            if !is_counted {
                volume.table.found_again(&node);
                node.found(parent, name, attribute::has_several_names(&confirmed.stat));
            }
            let stat = shown(volume, &node, confirmed.stat);
            let attributes = attribute_validity(volume, cached, &node, *confirmed);
            write_entry(out, node.number, &stat, Validity { entry, attributes });
            Ok(Some(node))
        }
    }
}

/// Returns the attributes of a node as they are shown, and how long the kernel may keep them.
pub(super) fn attributes(
    volume: &Volume,
    cached: &CachedVolume,
    request: &Request<'_>,
    node: &Arc<Node>,
) -> Result<(Statx, Validity), Errno> {
    if volume.options.only_user.is_none() && !request.identity().is_full() {
        volume.noticed();
    }
    let confirmed = match volume.confirmed(cached, node) {
        Err(Errno::STALE) => last_of_open(cached, node).ok_or(Errno::STALE)?,
        confirmed => confirmed?,
    };
    let stat = shown(volume, node, confirmed.stat);
    if node.number == ROOT {
        volume.root_size.store(stat.stx_size, Ordering::Relaxed);
    }
    if node.is_directory() {
        // From here on, the kernel may use the names in it that it keeps.
        cached.notifier.settle(node.number);
    }
    let attributes = attribute_validity(volume, cached, node, confirmed);
    Ok((stat, Validity { entry: Duration::ZERO, attributes }))
}

/// Returns the last attributes of a file that is read from a copy. The file may have lost its name outside of the mirror
/// while no descriptor held it.
fn last_of_open(cached: &CachedVolume, node: &Node) -> Option<Confirmed> {
    let is_copied = node.with_opens(None, |opens| opens.copied > 0);
    let last = node.facts().last().filter(|_| is_copied)?;
    Some(Confirmed { stat: last.stat(&cached.template), at: last.confirmed })
}

/// Returns the listing from which an open directory is read, if it is known.
pub(super) fn listing(
    volume: &Volume,
    cached: &CachedVolume,
    request: &Request<'_>,
    node: &Arc<Node>,
) -> Result<Option<Arc<Listing>>, Errno> {
    if cached.coherence == Coherence::Strict || node.facts().is_left_out() || node.is_elsewhere() {
        return Ok(None);
    }
    permit(volume, cached, request, node, Access::READ_OK)?;
    let confirmed = volume.confirmed(cached, node)?;
    let listing = volume.listing(cached, node, &confirmed.stat, false);
    if listing.is_some() {
        cached.count(CacheEvent::Answered(Question::Listing));
    }
    Ok(listing)
}

/// Returns attributes as callers see them, and records that the kernel has received them.
fn shown(volume: &Volume, node: &Arc<Node>, mut stat: Statx) -> Statx {
    if !node.is_elsewhere() {
        volume.show(&mut stat, || {
            let known = node.facts().state().may_write;
            known.unwrap_or_else(|| {
                let may_write = volume.may_write(node);
                node.facts().state().may_write = Some(may_write);
                may_write
            })
        });
    }
    node.tell(&stat);
    stat
}

/// Returns how long the kernel may keep the answer for a name.
fn entry_validity(
    volume: &Volume,
    cached: &CachedVolume,
    parent: &Node,
    name: &[u8],
    resolved: &Resolved,
) -> Duration {
    let is_missing = matches!(resolved.answer, Answer::Missing);
    let sharing = &volume.options.sharing;
    if volume.is_observed() || sharing.is_shared() || parent.facts().is_left_out() {
        // Each lookup of a missing name is an event, and other users' permissions are checked.
        return if is_missing { Duration::ZERO } else { sharing.validity().entry };
    }
    let is_elsewhere = matches!(&resolved.answer, Answer::Node { node, .. } if node.is_elsewhere());
    let is_noticed = resolved.is_listed && volume.protocol.load(Ordering::Relaxed) >= CAN_EXPIRE;
    match cached.coherence {
        Coherence::Strict => Duration::ZERO,
        _ if is_elsewhere => sharing.validity().entry,
        Coherence::CloseToOpen(time) if !is_noticed => rest(time, resolved.at),
        Coherence::Session | Coherence::CloseToOpen(_) => {
            // Names that the kernel keeps must be known here, so that they can be expired.
            let is_known = volume.keeps_long(parent, name, resolved);
            if is_known { LONG } else { cached.coherence.short() }
        }
    }
}

/// Returns how long the kernel may keep attributes.
fn attribute_validity(volume: &Volume, cached: &CachedVolume, node: &Node, confirmed: Confirmed) -> Duration {
    let usual = volume.validity(node, &confirmed.stat).attributes;
    let is_changing = node.facts().is_being_written() || usual.is_zero();
    if is_changing || volume.options.sharing.is_shared() || node.is_elsewhere() {
        return usual;
    }
    match cached.coherence {
        Coherence::Strict => Duration::ZERO,
        Coherence::CloseToOpen(time) => rest(time, confirmed.at),
        Coherence::Session if volume.options.only_user.is_some() => LONG,
        // Other users may come, and their requests reveal them.
        Coherence::Session => cached.coherence.short(),
    }
}
