//! Handlers of open directories.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno;

use crate::mirror::arguments::Read;
use crate::mirror::number::FileHandle;
use crate::mirror::observer::{Action, Caller};
use crate::mirror::open_file::{OpenDirectory, next_open};
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
    let directory = volume.reach(&node).and_then(|handle| {
        let flags = (libc::O_RDONLY | libc::O_DIRECTORY) as u32;
        request.act(volume, Subject::reading(&node), || volume.reopen(&handle, flags))
    });
    let error = directory.as_ref().err().copied();
    volume.tell(request.caller(), || node.path(), Action::OpenDirectory { open: open.0 }, error);
    let directory = Mutex::new((directory?, 0));
    volume
        .directories
        .insert(open, OpenDirectory { node, opened_by: request.caller(), directory, _admission: admission });
    OpenReply { handle: open, open_flags: 0, backing: 0 }.write(out);
    Ok(())
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
    let mut place = open.directory.lock().unwrap_or_else(PoisonError::into_inner);
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
    let place = open.directory.lock().unwrap_or_else(PoisonError::into_inner);
    rustix::fs::fsync(&place.0)
}

/// Answers `FUSE_SYNCFS`.
pub(in crate::mirror) fn syncfs(volume: &Volume, request: &Request<'_>) -> Result<(), Errno> {
    let (_, handle) = volume.handle(request.header.node)?;
    let directory = volume.reopen(&handle, libc::O_RDONLY as u32)?;
    rustix::fs::syncfs(&directory)
}
