//! Opens of a cached volume. A file that is opened for reading is read from a copy of its current version.
//!
//! All opens of a file at one time read the same version, because the kernel keeps one set of pages for them. If the
//! file has changed and an older version is still open, the file gets another node: the reply is `ESTALE`, and the
//! kernel looks the name up again. A file that is open for writing is read from the original.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::fs::{Access, Statx};
use rustix::io::Errno;

use super::file::open_node;
use crate::mirror::attribute;
use crate::mirror::cache::ask::Confirmed;
use crate::mirror::cache::permission::permit;
use crate::mirror::cache::{CacheEvent, CachedFile, CachedVolume, Content, Found};
use crate::mirror::identity::with_all_rights;
use crate::mirror::node::Node;
use crate::mirror::observer::Action;
use crate::mirror::open_file::{OpenFile, Opened, is_for_writing};
use crate::mirror::request::Request;
use crate::mirror::volume::Volume;
use crate::mirror::wire::LARGEST;

/// Opens a file of a cached volume.
///
/// # Errors
///
/// As open(2), or `ESTALE` if the kernel must look the name up again.
pub(super) fn open(
    volume: &Volume,
    cached: &CachedVolume,
    request: &Request<'_>,
    node: &Arc<Node>,
    flags: u32,
) -> Result<Opened, Errno> {
    let changes = is_for_writing(flags) || flags & libc::O_TRUNC as u32 != 0;
    if changes {
        return open_for_writing(volume, request, node, flags);
    }
    if node.kind != libc::S_IFREG || node.is_elsewhere() {
        return open_node(volume, request, node, flags);
    }
    if node.facts().is_left_out() {
        cached.count(CacheEvent::OpenedLeftOut);
        return open_node(volume, request, node, flags);
    }
    let wanted = if flags & Action::EXECUTE == 0 { Access::READ_OK } else { Access::EXEC_OK };
    permit(volume, cached, request, node, wanted)?;
    node.facts().opened();
    if node.facts().is_being_written() || node.facts().was_changed_just_now() {
        cached.count(CacheEvent::OpenedWritten);
        return open_node(volume, request, node, flags);
    }
    let Confirmed { stat, .. } = volume.confirmed(cached, node)?;
    let Some(content) = content(volume, cached, node, &stat) else {
        return open_node(volume, request, node, flags);
    };
    let other = match count(volume, node, &content) {
        Counted::Copy(opened) => return Ok(opened),
        Counted::Original => return open_node(volume, request, node, flags),
        Counted::OtherVersion(other) => other,
    };
    if volume.retries.has(request.header.thread) {
        // The node appeared during this call, and so did the version that others have opened since. Or there is no name
        // to look up again (`/proc/self/fd`). A third version would mix with theirs in the pages of the kernel.
        return match other.map(|other| count(volume, node, &other)) {
            Some(Counted::Copy(opened)) => Ok(opened),
            _ => open_node(volume, request, node, flags),
        };
    }
    node.facts().retire();
    volume.table.retire(node);
    Err(Errno::STALE)
}

/// Returns the content of a file with these attributes, and keeps newer attributes.
fn content(
    volume: &Volume,
    cached: &CachedVolume,
    node: &Arc<Node>,
    stat: &Statx,
) -> Option<Arc<dyn Content>> {
    let (facts, asked) = (node.facts(), Instant::now());
    let ticket = facts.ticket();
    let path = volume.placed(node.path());
    let original = || volume.reach(node);
    let file = CachedFile { path: &path, stat, original: &original, is_ahead: false };
    let Found { content, stat } = cached.cache.content(&file)?;
    if let Some(stat) = stat {
        volume.note(cached, node, &stat, asked, ticket);
    }
    // A change through the mirror meanwhile is newer than the copy.
    (facts.is_unchanged(ticket) && !facts.is_being_written()).then_some(content)
}

/// How an open was counted.
enum Counted {
    Copy(Opened),
    /// The original is open, so it is read for this open, too.
    Original,
    /// This other version is open. `None` means that the file has changed through the mirror since, so the original is
    /// read for all its opens.
    OtherVersion(Option<Arc<dyn Content>>),
}

/// Counts an open of a copy.
fn count(volume: &Volume, node: &Node, content: &Arc<dyn Content>) -> Counted {
    let stamp = content.stamp();
    let passes = (volume.options.read_only || content.is_program()) && content.may_pass();
    // A file that loses its name while it is open is found by its descriptor.
    let handle = node.held();
    node.with_opens(handle.as_ref(), |opens| {
        if opens.served + opens.passed > opens.copied {
            return Counted::Original;
        }
        let mut state = node.facts().state();
        let is_same = state.pages.as_ref().is_some_and(|pages| pages.is_same(&stamp));
        if opens.copied > 0 && !is_same {
            let opened = state.opened.as_ref().filter(|(_, ticket)| node.facts().is_unchanged(*ticket));
            return Counted::OtherVersion(opened.and_then(|(content, _)| content.upgrade()));
        }
        let keeps_pages = is_same && state.has_pages;
        let backing = if opens.passed > 0 {
            opens.passed += 1;
            Some(opens.backing)
        } else if opens.served == 0 && passes {
            let number = registered(volume, content);
            if let Some(number) = number {
                (opens.passed, opens.backing) = (1, number);
                state.registered = Some(Arc::clone(content));
            }
            number
        } else {
            None
        };
        opens.served += u32::from(backing.is_none());
        opens.copied += 1;
        state.has_pages = keeps_pages;
        state.pages = Some(Box::new(stamp));
        state.opened = Some((Arc::downgrade(content), node.facts().ticket()));
        Counted::Copy(Opened::Copied { content: Arc::clone(content), backing, keeps_pages })
    })
}

/// Registers a copy for passthrough. A copy that cannot be registered is served, which shows nothing about the volume's
/// own files.
fn registered(volume: &Volume, content: &Arc<dyn Content>) -> Option<u32> {
    let file = content.whole().filter(|_| volume.passthrough.load(Ordering::Relaxed))?;
    compat_sys::open_backing(volume.device.as_fd(), file.as_fd()).ok()
}

fn open_for_writing(
    volume: &Volume,
    request: &Request<'_>,
    node: &Arc<Node>,
    flags: u32,
) -> Result<Opened, Errno> {
    // Copies that are open are no longer read by this process from here on.
    volume.change(node);
    node.facts().begin_writing();
    let opened = open_node(volume, request, node, flags);
    if opened.is_err() || !is_for_writing(flags) {
        volume.change(node);
        node.facts().end_writing();
    }
    if opened.is_ok() && flags & libc::O_TRUNC as u32 != 0 {
        repeat_size(volume, node, 0);
    }
    opened
}

/// Reads from a copy. If the file has become longer since, the rest is read from the original.
///
/// # Errors
///
/// If the copy cannot be read, and the original neither.
pub(super) fn read(
    volume: &Volume,
    open: &OpenFile,
    content: &Arc<dyn Content>,
    buffer: &mut [u8],
    offset: u64,
) -> Result<usize, Errno> {
    let Ok(count) = content.read(buffer, offset) else {
        return read_original(volume, open, buffer, offset);
    };
    let size = open.node.facts().read_copy(&content.stamp());
    if count == buffer.len() || size <= content.stamp().size {
        return Ok(count);
    }
    let (rest, from) = (&mut buffer[count..], offset + count as u64);
    Ok(count + read_original(volume, open, rest, from)?)
}

/// Reads from the original.
///
/// # Errors
///
/// As pread(2).
pub(super) fn read_original(
    volume: &Volume,
    open: &OpenFile,
    buffer: &mut [u8],
    offset: u64,
) -> Result<usize, Errno> {
    let count = rustix::io::pread(volume.file_of(open)?, buffer, offset)?;
    if let Some(cached) = &volume.cached {
        cached.count(CacheEvent::ReadOriginal(count as u64));
    }
    Ok(count)
}

/// Repeats a change of this range of the original in the copies that the kernel reads for other opens.
pub(super) fn repeat(volume: &Volume, open: &OpenFile, offset: u64, length: u64) {
    let copies = registered_copies(volume, &open.node);
    if copies.is_empty() {
        return;
    }
    let Ok(handle) = volume.reach(&open.node) else { return };
    let Ok(file) = with_all_rights(|| volume.reopen(&handle, libc::O_RDONLY as u32)) else { return };
    let size = attribute::of_file(&file).map_or(0, |stat| stat.stx_size);
    copies.iter().for_each(|copy| copy.set_size(size));
    let (mut at, end) = (offset, offset.saturating_add(length).min(size));
    let mut buffer = vec![0; LARGEST as usize];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        match rustix::io::pread(&file, &mut buffer[..wanted], at) {
            Ok(count) if count > 0 => {
                copies.iter().for_each(|copy| copy.write(&buffer[..count], at));
                at += count as u64;
            }
            _ => break,
        }
    }
}

/// Repeats a change of the original's size in the copies that the kernel reads.
pub(super) fn repeat_size(volume: &Volume, node: &Node, size: u64) {
    registered_copies(volume, node).iter().for_each(|copy| copy.set_size(size));
}

/// Returns the copies that the kernel reads for opens of this file. They may be changed from here on.
fn registered_copies(volume: &Volume, node: &Node) -> Vec<Arc<dyn Content>> {
    let Some(cached) = &volume.cached else { return Vec::new() };
    let mut copies = cached.left_behind(node.identity());
    if node.with_opens(None, |opens| opens.passes_copy()) {
        copies.extend(node.facts().state().registered.clone());
    }
    copies.iter().for_each(|copy| copy.detach());
    copies
}
