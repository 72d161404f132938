//! Handlers of names: lookup, forget, and the targets of symbolic links.

use std::sync::Arc;

use rustix::io::Errno;

use super::cached;
use crate::mirror::arguments::BatchForget;
use crate::mirror::cache::CachedVolume;
use crate::mirror::node::Node;
use crate::mirror::number::NodeId;
use crate::mirror::observer::Action;
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::Volume;

/// Answers `FUSE_LOOKUP`: finds a name in a directory. The kernel does not cache missing names, so the mirror
/// receives every lookup of one.
pub(in crate::mirror) fn lookup(
    volume: &Volume,
    request: &Request<'_>,
    name: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    if matches!(name, b"." | b"..") {
        return lookup_handle(volume, request.header.node, name, out);
    }
    let thread = request.header.thread;
    let again = volume.retries.has(thread);
    if let Some(cached) = &volume.cached
        && !again
    {
        return lookup_cached(volume, cached, request, name, out);
    }
    let (parent, directory) = volume.handle(request.header.node)?;
    let answer = request.act(volume, Subject::reading(&parent), || {
        if again {
            volume.answer_retry(out, &parent, &directory, name, thread)
        } else {
            volume.answer_entry(out, &parent, &directory, name)
        }
    });
    let answer = answer.map(|node| node.met(thread, &parent, name));
    let answer = answer.map_err(|error| spare_mounts(volume, request.header.thread, &parent, name, error));
    volume.tell(request.caller(), || parent.path_of(name), Action::Lookup, answer.as_ref().err().copied());
    answer
}

/// Answers `FUSE_LOOKUP` of a cached volume.
fn lookup_cached(
    volume: &Volume,
    cached: &CachedVolume,
    request: &Request<'_>,
    name: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let parent = volume.table.node(request.header.node)?;
    let answer = cached::lookup(volume, cached, request, &parent, name, out);
    let answer = answer.map_err(|error| spare_mounts(volume, request.header.thread, &parent, name, error));
    let error = match &answer {
        Ok(Some(node)) => {
            node.met(request.header.thread, &parent, name);
            None
        }
        Ok(None) => Some(Errno::NOENT),
        Err(error) => Some(*error),
    };
    volume.tell(request.caller(), || parent.path_of(name), Action::Lookup, error);
    answer.map(drop)
}

/// Finds a node, or the directory that contains it, by the node's number (open_by_handle_at(2)). The kernel
/// decides whether the caller may do so. Later requests for the file are checked like all others.
fn lookup_handle(volume: &Volume, number: NodeId, name: &[u8], out: &mut Vec<u8>) -> Result<(), Errno> {
    let node = volume.table.node(number)?;
    let wanted = match name {
        b".." => node.named_place().ok_or(Errno::STALE)?.0,
        _ => node,
    };
    volume.answer_node(out, &wanted)
}

/// Returns the error to reply if a name may not be looked up. The kernel unmounts everything at or below a
/// name that it cannot find any more (`d_invalidate`), unless the error is one of two. A caller that the
/// kernel let pass with old attributes tries again.
fn spare_mounts(volume: &Volume, thread: u32, parent: &Arc<Node>, name: &[u8], error: Errno) -> Errno {
    let is_refused = matches!(error, Errno::ACCESS | Errno::PERM | Errno::STALE);
    if !is_refused || volume.options.only_user.is_some() {
        return error;
    }
    let is_old = error == Errno::STALE || volume.confirm(parent) == Err(Errno::STALE);
    let paths = volume.all_placed(parent.path_of(name));
    match (paths.iter().any(|path| has_mounts(path, thread)), is_old) {
        (false, _) => error,
        (true, true) => Errno::INTR,
        (true, false) => Errno::NOMEM,
    }
}

/// Whether anything is mounted at a path or below it, in the namespace of this process or of the caller. An unreadable
/// table of mounts counts as yes.
fn has_mounts(path: &[u8], thread: u32) -> bool {
    let Ok(mut table) = std::fs::read("/proc/thread-self/mountinfo") else { return true };
    // A caller that this process cannot see, or that has ended, has no other namespace to consider.
    table.extend(std::fs::read(format!("/proc/{thread}/mountinfo")).unwrap_or_default());
    let path = as_shown(path);
    table.split(|byte| *byte == b'\n').any(|line| {
        let place = line.split(|byte| *byte == b' ').nth(4).unwrap_or_default();
        place.strip_prefix(&*path).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// Returns a path as the table of mounts shows it (proc_pid_mountinfo(5)).
fn as_shown(path: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => shown.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            other => shown.push(*other),
        }
    }
    shown
}

/// Answers `FUSE_FORGET`: the kernel subtracts from the lookup count of a node.
pub(in crate::mirror) fn forget(volume: &Volume, request: &Request<'_>, lookups: u64) -> Result<(), Errno> {
    volume.table.forget(request.header.node, lookups);
    Ok(())
}

/// Answers `FUSE_BATCH_FORGET`: the kernel subtracts from the lookup counts of several nodes.
pub(in crate::mirror) fn batch_forget(volume: &Volume, forgotten: BatchForget<'_>) -> Result<(), Errno> {
    for node in forgotten.nodes() {
        let (node, lookups) = node?;
        volume.table.forget(node, lookups);
    }
    Ok(())
}

/// Answers `FUSE_READLINK`: returns the target of a symbolic link, byte for byte.
pub(in crate::mirror) fn readlink(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let node = volume.table.node(request.header.node)?;
    let target = match &volume.cached {
        Some(cached) => volume.link_target(cached, &node),
        None => volume.reach(&node).and_then(|handle| {
            rustix::fs::readlinkat(&*handle, c"", Vec::new()).map(|target| target.into_bytes().into())
        }),
    };
    let error = target.as_ref().err().copied();
    volume.tell(request.caller(), || node.path_for(request.header.thread), Action::ReadLink, error);
    out.extend_from_slice(&target?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_mounts_is_known_by_the_path() {
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        assert!(has_mounts(b"/proc", 0) && has_mounts(b"/proc", thread));
        assert!(!has_mounts(b"/proc-and-more", thread) && !has_mounts(b"/pro", 0));
        assert_eq!(as_shown(b"/a b\\c"), b"/a\\040b\\134c");
    }
}
