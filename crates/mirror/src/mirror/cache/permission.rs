//! Permissions of callers without all rights. The share decides once for each caller and file, and its decision is
//! kept as long as other facts.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::facts::{Grant, is_fresh};
use super::{CacheEvent, CachedVolume, Question};
use crate::mirror::identity::{CallerIdentity, Standing};
use crate::mirror::node::Node;
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::{Volume, self_path};

/// The most decisions that are kept for one file.
const MOST: usize = 32;

/// Checks that the caller may access a node in this way.
///
/// # Errors
///
/// If the share refuses it (`EACCES`), or cannot be asked.
pub(in crate::mirror) fn permit(
    volume: &Volume,
    cached: &CachedVolume,
    request: &Request<'_>,
    node: &Arc<Node>,
    wanted: Access,
) -> Result<(), Errno> {
    let identity = request.identity();
    if identity.is_full() {
        return Ok(());
    }
    if volume.options.only_user.is_none() {
        volume.noticed();
    }
    if identity.standing == Standing::Known
        && let Some(result) = kept(cached, node, identity, wanted)
    {
        cached.count(CacheEvent::Answered(Question::Permission));
        return result;
    }
    let (ticket, confirmed) = (node.facts().ticket(), Instant::now());
    let handle = volume.reach(node)?;
    cached.count(CacheEvent::Asked(Question::Permission));
    let result = request.act(volume, Subject::reading(node), || may(&handle, wanted));
    if identity.standing == Standing::Known {
        keep(node, ticket, Grant { confirmed, result, ..grant(identity, wanted) });
    }
    result
}

/// Answers access(2) in a user namespace with one user, whose credentials this process has.
///
/// # Errors
///
/// As [`permit`].
pub(in crate::mirror) fn access(
    volume: &Volume,
    cached: &CachedVolume,
    request: &Request<'_>,
    node: &Arc<Node>,
    wanted: Access,
) -> Result<(), Errno> {
    let identity = request.identity();
    volume.confirmed(cached, node)?;
    if let Some(result) = kept(cached, node, identity, wanted) {
        cached.count(CacheEvent::Answered(Question::Permission));
        return result;
    }
    let ticket = node.facts().ticket();
    let handle = volume.reach(node)?;
    cached.count(CacheEvent::Asked(Question::Permission));
    let result = rustix::fs::access(self_path(&handle), wanted);
    keep(node, ticket, Grant { result, ..grant(identity, wanted) });
    result
}

/// Keeps a decision, if nothing has changed since the ticket.
fn keep(node: &Node, ticket: u64, grant: Grant) {
    let facts = node.facts();
    if !matches!(grant.result, Ok(()) | Err(Errno::ACCESS | Errno::PERM | Errno::ROFS)) {
        return;
    }
    let mut state = facts.state();
    if facts.is_unchanged(ticket) {
        state.grants.retain(|other| !is_same(other, &grant));
        if state.grants.len() >= MOST {
            state.grants.remove(0);
        }
        state.grants.push(grant);
    }
}

/// Whether the current credentials permit this.
fn may(handle: &OwnedFd, wanted: Access) -> Result<(), Errno> {
    rustix::fs::accessat(CWD, self_path(handle), wanted, AtFlags::EACCESS)
}

fn kept(
    cached: &CachedVolume,
    node: &Node,
    identity: &CallerIdentity,
    wanted: Access,
) -> Option<Result<(), Errno>> {
    let facts = node.facts();
    if facts.is_being_written() {
        return None;
    }
    let grant = grant(identity, wanted);
    let state = facts.state();
    let known = state.grants.iter().find(|known| is_same(known, &grant))?;
    is_fresh(cached.coherence, known.confirmed).then_some(known.result)
}

fn grant(identity: &CallerIdentity, wanted: Access) -> Grant {
    Grant {
        user: identity.user,
        group: identity.group,
        groups: identity.groups.as_slice().into(),
        capabilities: identity.capabilities.bits(),
        mask: wanted.bits(),
        result: Ok(()),
        confirmed: Instant::now(),
    }
}

/// Whether both are about the same caller and way.
fn is_same(one: &Grant, other: &Grant) -> bool {
    (one.user, one.group, &one.groups, one.capabilities, one.mask)
        == (other.user, other.group, &other.groups, other.capabilities, other.mask)
}
