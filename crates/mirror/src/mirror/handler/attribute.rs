//! Handlers of requests for attributes: reading and changing them, and those of the volume.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, Gid, Mode, Statx, Timestamps, Uid};
use rustix::io::Errno;

use super::{cached, copy};
use crate::mirror::arguments::SetAttr;
use crate::mirror::cache::permission;
use crate::mirror::node::Node;
use crate::mirror::observer::Action;
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::{Volume, self_path};
use crate::mirror::wire::{Validity, change, write_attributes, write_statx, write_volume_statistics};

/// Answers `FUSE_GETATTR`.
pub(in crate::mirror) fn getattr(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let (stat, validity) = current(volume, request)?;
    write_attributes(out, &stat, validity);
    Ok(())
}

/// Answers `FUSE_STATX`, which the kernel sends if the birth time is requested.
pub(in crate::mirror) fn statx(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let (stat, validity) = current(volume, request)?;
    write_statx(out, &stat, validity);
    Ok(())
}

/// Returns the attributes of the request's node, and how long the kernel may keep them.
fn current(volume: &Volume, request: &Request<'_>) -> Result<(Statx, Validity), Errno> {
    let node = volume.table.node(request.header.node)?;
    if let Some(cached) = &volume.cached {
        return cached::attributes(volume, cached, request, &node);
    }
    let stat = volume.stat(&node)?;
    Ok((stat, volume.validity(&node, &stat)))
}

/// Answers `FUSE_SETATTR`: sets owner, mode, size and times in an order in which none undoes another.
pub(in crate::mirror) fn setattr(
    volume: &Volume,
    request: &Request<'_>,
    change: &SetAttr,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let (node, handle) = volume.handle(request.header.node)?;
    let result = apply(volume, request, change, &node, &handle);
    volume.changed(&node, &handle);
    if change.has(change::SIZE) {
        copy::repeat_size(volume, &node, change.size);
    }
    drop(handle);
    result?;
    let stat = volume.stat(&node)?;
    let mut validity = volume.validity(&node, &stat);
    if u32::from(stat.stx_mode) & (libc::S_ISUID | libc::S_ISGID) != 0 {
        // The next write may remove them below.
        validity.attributes = Duration::ZERO;
    }
    write_attributes(out, &stat, validity);
    Ok(())
}

fn apply(
    volume: &Volume,
    request: &Request<'_>,
    change: &SetAttr,
    node: &Arc<Node>,
    handle: &OwnedFd,
) -> Result<(), Errno> {
    let subject = Subject::default().owned(Some(node));
    if change.has(change::UID | change::GID) {
        let user = change.has(change::UID).then(|| Uid::from_raw(change.user));
        let group = change.has(change::GID).then(|| Gid::from_raw(change.group));
        let act = || rustix::fs::chownat(handle, c"", user, group, AtFlags::EMPTY_PATH);
        request.act(volume, subject.giving_away(), act)?;
    }
    if change.has(change::MODE) {
        set_mode(volume, request, change, node, handle)?;
    }
    if change.is_empty() {
        touch_owner(volume, request, change, node, handle)?;
    }
    if change.has(change::SIZE) {
        let result = truncate(volume, request, change, node, handle);
        let action = Action::Truncate { size: change.size };
        volume.tell(request.caller(), || node.path_for(request.header.thread), action, result.err());
        result?;
    }
    if let Some(times) = change.times() {
        request.act(volume, subject, || set_times(node, handle, &times))?;
    }
    Ok(())
}

/// Sets the owner that the file already has. This changes its ctime and, for callers that may change the
/// mode, removes set-id bits (`chown_common`). The kernel sends the same request before a write, which
/// removes set-id bits below by itself.
fn touch_owner(
    volume: &Volume,
    request: &Request<'_>,
    change: &SetAttr,
    node: &Arc<Node>,
    handle: &OwnedFd,
) -> Result<(), Errno> {
    let act = || rustix::fs::chownat(handle, c"", None, None, AtFlags::EMPTY_PATH);
    match request.act(volume, Subject::of(node), act) {
        Err(Errno::PERM) if is_being_written(volume, change, node) => Ok(()),
        other => other,
    }
}

fn set_mode(
    volume: &Volume,
    request: &Request<'_>,
    change: &SetAttr,
    node: &Arc<Node>,
    handle: &OwnedFd,
) -> Result<(), Errno> {
    let path = self_path(handle);
    let set = || rustix::fs::chmod(&path, Mode::from_raw_mode(change.mode & 0o7777));
    let result = request.act(volume, Subject::default().owned(Some(node)), set);
    match result {
        // The kernel sends this before a write, which removes set-id bits below by itself
        // (`file_remove_privs`).
        Err(Errno::PERM | Errno::ACCESS) if is_being_written(volume, change, node) => {
            let before = node.told().map_or(0, |told| u32::from(told.mode) & 0o7777);
            let takes_set_id = before & !change.mode & 0o6000 != 0 && change.mode & 0o7777 == written(before);
            if takes_set_id { Ok(()) } else { result }
        }
        other => other,
    }
}

/// Returns a mode after a write. The set-user-ID bit is removed, and the set-group-ID bit if the group may
/// execute.
fn written(mode: u32) -> u32 {
    let group = if mode & libc::S_IXGRP != 0 { libc::S_ISGID } else { 0 };
    mode & !(libc::S_ISUID | group)
}

/// Whether the change belongs to a write.
fn is_being_written(volume: &Volume, change: &SetAttr, node: &Arc<Node>) -> bool {
    change.has(change::SIZE) || volume.files.any(|open| Arc::ptr_eq(&open.node, node) && open.writes())
}

fn truncate(
    volume: &Volume,
    request: &Request<'_>,
    change: &SetAttr,
    node: &Arc<Node>,
    handle: &OwnedFd,
) -> Result<(), Errno> {
    if change.has(change::FH) {
        let open = volume.files.find(change.handle)?;
        let file = volume.file_of(&open)?;
        let _writer = request.as_writer(node)?;
        rustix::fs::ftruncate(file, change.size)
    } else if node.kind == libc::S_IFREG {
        let open = || volume.reopen(handle, libc::O_WRONLY as u32);
        let file = request.act(volume, Subject::of(node), open)?;
        let _writer = request.as_writer(node)?;
        rustix::fs::ftruncate(file, change.size)
    } else {
        Err(Errno::INVAL)
    }
}

fn set_times(node: &Node, handle: &OwnedFd, times: &Timestamps) -> Result<(), Errno> {
    if node.is_link() {
        return rustix::fs::utimensat(handle.as_fd(), c"", times, AtFlags::EMPTY_PATH);
    }
    rustix::fs::utimensat(rustix::fs::CWD, self_path(handle), times, AtFlags::empty())
}

/// Answers `FUSE_ACCESS`. The kernel sends it only if it leaves permissions to the server: in a user
/// namespace with one user, whose credentials this process has.
pub(in crate::mirror) fn access(volume: &Volume, request: &Request<'_>, mask: u32) -> Result<(), Errno> {
    let wanted = Access::from_bits_truncate(mask);
    let node = volume.table.node(request.header.node)?;
    if let Some(cached) = &volume.cached {
        return permission::access(volume, cached, request, &node, wanted);
    }
    let handle = volume.reach(&node)?;
    rustix::fs::access(self_path(&handle), wanted)
}

/// Answers `FUSE_STATFS`.
pub(in crate::mirror) fn statfs(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let (_, handle) = volume.handle(request.header.node)?;
    write_volume_statistics(out, &rustix::fs::fstatvfs(&*handle)?);
    Ok(())
}
