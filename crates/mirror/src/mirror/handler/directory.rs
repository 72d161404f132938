//! Handlers of open directories.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno;

use super::cached;
use crate::mirror::arguments::Read;
use crate::mirror::cache::{Listed, Listing};
use crate::mirror::node::Node;
use crate::mirror::number::FileHandle;
use crate::mirror::observer::{Action, Caller};
use crate::mirror::open_file::{Entries, OpenDirectory, next_open};
use crate::mirror::reply::{DirectoryEntry, NoNode, OpenReply, written};
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::Volume;

/// Answers `FUSE_OPENDIR`.
pub(in crate::mirror) fn opendir(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let node = volume.table.node(request.header.node)?;
    let admission = volume.admit(request.caller())?;
    let open = next_open();
    let entries = open_entries(volume, request, &node);
    let error = entries.as_ref().err().copied();
    volume.tell(request.caller(), || node.path(), Action::OpenDirectory { open: open.0 }, error);
    let (entries, opened_by) = (entries?, request.caller());
    volume.directories.insert(open, OpenDirectory { node, opened_by, entries, _admission: admission });
    OpenReply { handle: open, open_flags: 0, backing: 0 }.write(out);
    Ok(())
}

fn open_entries(volume: &Volume, request: &Request<'_>, node: &Arc<Node>) -> Result<Entries, Errno> {
    if let Some(cached) = &volume.cached
        && let Some(listing) = cached::listing(volume, cached, request, node)?
    {
        return Ok(Entries::Listed(listing));
    }
    open_original(volume, request, node).map(|directory| Entries::Original(Mutex::new((directory, 0))))
}

fn open_original(volume: &Volume, request: &Request<'_>, node: &Arc<Node>) -> Result<OwnedFd, Errno> {
    let handle = volume.reach(node)?;
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY) as u32;
    request.act(volume, Subject::reading(node), || volume.reopen(&handle, flags))
}

/// Answers `FUSE_READDIR`.
pub(in crate::mirror) fn readdir(volume: &Volume, wanted: &Read, out: &mut Vec<u8>) -> Result<(), Errno> {
    read_entries(volume, wanted, out, false)
}

/// Answers `FUSE_READDIRPLUS`: returns the entries with their nodes.
pub(in crate::mirror) fn readdirplus(volume: &Volume, wanted: &Read, out: &mut Vec<u8>) -> Result<(), Errno> {
    read_entries(volume, wanted, out, true)
}

fn read_entries(volume: &Volume, wanted: &Read, out: &mut Vec<u8>, plus: bool) -> Result<(), Errno> {
    let Read { handle, offset, size } = *wanted;
    let size = size as usize;
    let open = volume.directories.find(handle)?;
    let place = match &open.entries {
        Entries::Original(place) => place,
        Entries::Listed(listing) => {
            write_listed(listing, offset, size, out);
            return Ok(());
        }
    };
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    let (directory, stands_at) = &mut *place;
    if *stands_at != offset {
        rustix::fs::seek(&*directory, SeekFrom::Start(offset))?;
        *stands_at = offset;
    }
    // Entries take about that much less room in the kernel's form. Entries that do not fit are read again.
    let room = if plus { size / 4 } else { size }.clamp(1024, 1 << 16);
    let mut buffer = vec![MaybeUninit::uninit(); room];
    let mut entries = RawDir::new(&*directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let needed = DirectoryEntry::size(name) + if plus { NoNode::SIZE } else { 0 };
        if written(out) + needed > size {
            rustix::fs::seek(&*directory, SeekFrom::Start(*stands_at))?;
            break;
        }
        if plus {
            write_node(volume, out, &open, directory, name);
        }
        *stands_at = entry.next_entry_cookie();
        let (inode, kind) = (entry.ino(), entry.file_type().as_raw_mode());
        DirectoryEntry { inode, offset: *stands_at, kind, name }.write(out);
        if entries.is_buffer_empty() {
            break;
        }
    }
    Ok(())
}

/// Writes entries of a listing. The offset of an entry is the number of the next one.
fn write_listed(listing: &Listing, offset: u64, size: usize, out: &mut Vec<u8>) {
    let mut number = offset;
    while let Some(entry) = usize::try_from(number).ok().and_then(|number| listing.get(number)) {
        let Listed { name, inode, kind } = entry;
        if written(out) + DirectoryEntry::size(name) > size {
            break;
        }
        number += 1;
        DirectoryEntry { inode, offset: number, kind, name }.write(out);
    }
}

/// Writes the node of an entry. Writes zeros for an entry that needs none or was removed meanwhile.
fn write_node(volume: &Volume, out: &mut Vec<u8>, open: &OpenDirectory, directory: &OwnedFd, name: &[u8]) {
    let dots = name == b"." || name == b"..";
    if dots || volume.answer_entry(out, &open.node, directory, name).is_err() {
        NoNode.write(out);
    }
}

/// Answers `FUSE_RELEASEDIR`.
pub(in crate::mirror) fn releasedir(volume: &Volume, handle: FileHandle) -> Result<(), Errno> {
    let open = volume.directories.find(handle)?;
    let caller = Caller { thread: 0, ..open.opened_by };
    volume.tell(caller, || open.node.path(), Action::CloseDirectory { open: handle.0 }, None);
    volume.directories.remove(handle);
    Ok(())
}

/// Answers `FUSE_FSYNCDIR`.
pub(in crate::mirror) fn fsyncdir(volume: &Volume, handle: FileHandle) -> Result<(), Errno> {
    let open = volume.directories.find(handle)?;
    match &open.entries {
        Entries::Original(place) => {
            rustix::fs::fsync(&place.lock().unwrap_or_else(PoisonError::into_inner).0)
        }
        Entries::Listed(_) => {
            let handle = volume.reach(&open.node)?;
            rustix::fs::fsync(volume.reopen(&handle, (libc::O_RDONLY | libc::O_DIRECTORY) as u32)?)
        }
    }
}

/// Answers `FUSE_SYNCFS`.
pub(in crate::mirror) fn syncfs(volume: &Volume, request: &Request<'_>) -> Result<(), Errno> {
    let (_, handle) = volume.handle(request.header.node)?;
    let directory = volume.reopen(&handle, libc::O_RDONLY as u32)?;
    rustix::fs::syncfs(&directory)
}
