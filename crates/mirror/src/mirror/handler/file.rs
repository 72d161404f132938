//! Handlers of open files: opening, reading, writing, closing.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::closing::wait_for_closes;
use super::registration::{FileToRegister, check_share, register, unregister};
use super::{copy, growth};
use crate::mirror::admission::Admission;
use crate::mirror::arguments::{Fsync, Read, Write};
use crate::mirror::cache::CachedVolume;
use crate::mirror::identity::with_all_rights;
use crate::mirror::node::Node;
use crate::mirror::number::FileHandle;
use crate::mirror::observer::{Action, Caller};
use crate::mirror::open_file::{OpenFile, Opened, Uses, is_for_writing, next_open};
use crate::mirror::reply::{OpenReply, SizeReply};
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::{Volume, self_path};
use crate::mirror::wire::{LARGEST, OUT_HEADER, ROOT, opened};

/// `FUSE_WRITE_CACHE`: the pages were written through a mapping.
const FROM_CACHE: u32 = 1 << 0;
/// `FUSE_FSYNC_FDATASYNC`.
const DATA_ONLY: u32 = 1 << 0;

/// Answers `FUSE_OPEN`.
pub(in crate::mirror) fn open(
    volume: &Volume,
    request: &Request<'_>,
    flags: u32,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let node = volume.table.node(request.header.node)?;
    let admission = volume.admit(request.caller())?;
    let open = next_open();
    let result = match &volume.cached {
        Some(cached) => copy::open(volume, cached, request, &node, flags),
        None => open_node(volume, request, &node, flags),
    };
    if let Ok(Opened::Served(file)) = &result
        && node.number == ROOT
    {
        growth::tell(volume, file);
    }
    let action = Action::Open { open: open.0, flags };
    volume.tell(
        request.caller(),
        || node.path_for(request.header.thread),
        action,
        result.as_ref().err().copied(),
    );
    write_opened(volume, request, out, &node, NewOpen { number: open, flags, admission }, result?);
    Ok(())
}

/// Opens the original.
pub(super) fn open_node(
    volume: &Volume,
    request: &Request<'_>,
    node: &Arc<Node>,
    flags: u32,
) -> Result<Opened, Errno> {
    let truncates = flags & libc::O_TRUNC as u32 != 0;
    if let Some(cached) = &volume.cached {
        if node.with_opens(None, |opens| opens.passes_copy()) && !volume.retries.has(request.header.thread) {
            return Err(leave_copy(volume, cached, node));
        }
        node.facts().read_original();
    }
    // If an open for reading truncates, the kernel checks only afterwards whether the program runs. The file
    // below is not marked as running if the kernel reads it for the mirror.
    if truncates && wait_for_closes(node, |opens| opens.executed > 0) {
        return Err(Errno::TXTBSY);
    }
    let handle = volume.reach(node)?;
    // The kernel does not know what prevents writing below: flags of lsattr(1), or a running program.
    let changes = truncates || is_for_writing(flags);
    let file = if changes {
        // This comes before any truncation.
        check_share(request, node, flags)?;
        let subject = Subject::of(node);
        Some(request.act(volume, subject, || volume.reopen(&handle, flags))?)
    } else {
        check_open(volume, request, node, &handle, flags)?
    };
    if changes {
        volume.changed(node, &handle);
    }
    let registered = FileToRegister { file: handle.as_fd(), handle: Some(&handle), flags };
    if let Some(number) = register_unless_followed(volume, request, node, &registered)? {
        return Ok(Opened::Passed(number));
    }
    let opened = match file {
        Some(file) => Ok(file),
        None => volume.reopen(&handle, flags),
    };
    match opened {
        Ok(file) if node.with_opens(None, |opens| opens.passes_copy()) => {
            Ok(Opened::Beside(File::from(file)))
        }
        Ok(file) => Ok(Opened::Served(File::from(file))),
        Err(error) => {
            node.with_opens(None, |opens| opens.served -= 1);
            Err(error)
        }
    }
}

/// Gives the file another node, because the kernel refuses opens of other kinds with `EIO` while it reads a registered
/// copy. Returns the error with which the kernel looks the name up again.
fn leave_copy(volume: &Volume, cached: &CachedVolume, node: &Arc<Node>) -> Errno {
    let copy = node.facts().state().registered.clone();
    copy.iter().for_each(|copy| cached.leave_behind(node.identity(), copy));
    node.facts().retire();
    volume.table.retire(node);
    Errno::STALE
}

/// Registers the original, or counts an open that this process serves. Writes are repeated in a copy that others still
/// read, so in that case they must come to this process.
fn register_unless_followed(
    volume: &Volume,
    request: &Request<'_>,
    node: &Arc<Node>,
    file: &FileToRegister<'_>,
) -> Result<Option<u32>, Errno> {
    let cached = volume.cached.as_ref();
    if cached.is_none_or(|cached| cached.left_behind(node.identity()).is_empty()) {
        return register(volume, request, node, file);
    }
    node.with_opens(file.handle, |opens| opens.served += 1);
    Ok(None)
}

/// Checks that the caller may open a file for reading or execution. Opening it is the check, if that is the
/// same.
fn check_open(
    volume: &Volume,
    request: &Request<'_>,
    node: &Arc<Node>,
    handle: &OwnedFd,
    flags: u32,
) -> Result<Option<OwnedFd>, Errno> {
    if request.identity().is_full() {
        return Ok(None);
    }
    let subject = Subject::reading(node);
    if flags & Action::EXECUTE == 0 {
        return request.act(volume, subject, || volume.reopen(handle, flags)).map(Some);
    }
    // An executable file need not be readable.
    let path = self_path(handle);
    let check = || rustix::fs::accessat(CWD, &path, Access::EXEC_OK, AtFlags::EACCESS);
    request.act(volume, subject, check)?;
    // The kernel takes set-id bits and owner from earlier replies. The file may belong to another user by
    // now.
    volume.confirm(node)?;
    Ok(None)
}

/// An open that is to be answered.
pub(super) struct NewOpen {
    pub number: FileHandle,
    /// The flags of open(2).
    pub flags: u32,
    pub admission: Admission,
}

/// Stores an open under its number and writes `struct fuse_open_out`.
pub(super) fn write_opened(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
    node: &Arc<Node>,
    open: NewOpen,
    answer: Opened,
) {
    let flags = open.flags & !(libc::O_TRUNC as u32);
    let uses = Uses::of(flags);
    let (backing, keeps_pages) = (answer.backing(), answer.keeps_pages());
    node.with_opens(None, |opens| uses.begin(opens));
    if uses.mappable && matches!(answer, Opened::Passed(_)) {
        // Once stores through a mapping are possible, the kernel must not use earlier attributes.
        volume.forget_attributes(node);
    }
    let is_direct = volume.options.counts_bytes && !uses.executed && node.kind == libc::S_IFREG;
    let file = OpenFile::new(Arc::clone(node), request.caller(), flags, answer, open.admission, is_direct);
    let how = match (file.passed, file.is_direct) {
        (true, _) => opened::PASSTHROUGH,
        (false, true) => opened::DIRECT_IO,
        (false, false) if keeps_pages => opened::KEEP_CACHE,
        (false, false) => 0,
    };
    volume.files.insert(open.number, file);
    OpenReply { handle: open.number, open_flags: how, backing: backing.unwrap_or(0) }.write(out);
}

/// Answers `FUSE_READ`.
pub(in crate::mirror) fn read(volume: &Volume, wanted: &Read, out: &mut Vec<u8>) -> Result<(), Errno> {
    let Read { handle, offset, size } = *wanted;
    let size = size.min(LARGEST);
    let open = volume.files.find(handle)?;
    out.resize(OUT_HEADER + size as usize, 0);
    let count = match open.copy() {
        Some(content) => copy::read(volume, &open, content, &mut out[OUT_HEADER..], offset)?,
        None => copy::read_original(volume, &open, &mut out[OUT_HEADER..], offset)?,
    };
    out.truncate(OUT_HEADER + count);
    if open.read.fetch_add(count as u64, Ordering::Relaxed) == 0 && count > 0 {
        volume.tell(open.opened_by, || open.path(), Action::FirstRead { open: handle.0 }, None);
    }
    Ok(())
}

/// Answers `FUSE_WRITE`.
pub(in crate::mirror) fn write(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &Write<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let Write { handle, offset, write_flags, flags, data } = *wanted;
    let open = volume.files.find(handle)?;
    let append = libc::O_APPEND as u32;
    // fcntl(2) may have changed the flag since. Pages keep their offset, whichever open the kernel has used.
    let appends = flags & append != 0 && write_flags & FROM_CACHE == 0;
    let file = volume.file_of(&open)?;
    let reopened = if appends == (open.flags & append != 0) {
        None
    } else {
        let handle = volume.reach(&open.node)?;
        let others = open.flags & !(append | libc::O_ACCMODE as u32) | libc::O_WRONLY as u32;
        let flags = others | if appends { append } else { 0 };
        // The file's mode may have changed and forbid this kind of open by now.
        Some(with_all_rights(|| volume.reopen(&handle, flags))?)
    };
    let _writer = match write_flags & FROM_CACHE {
        0 => request.as_writer(&open.node)?,
        _ => request.as_mapper(open.opened_by)?,
    };
    let written = write_all(reopened.as_ref().map_or(file.as_fd(), AsFd::as_fd), data, offset)?;
    copy::repeat(volume, &open, offset, written as u64);
    open.written.fetch_add(written as u64, Ordering::Relaxed);
    SizeReply(written as u32).write(out);
    Ok(())
}

/// Writes everything. If an error follows a partial write, returns the size of the part.
fn write_all(file: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while done < data.len() {
        match rustix::io::pwrite(file, &data[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Answers `FUSE_RELEASE`: the last descriptor of an open was closed.
pub(in crate::mirror) fn release(volume: &Volume, handle: FileHandle) -> Result<(), Errno> {
    let open = volume.files.find(handle)?;
    unregister(volume, &open);
    if volume.cached.is_some() && open.writes() {
        volume.change(&open.node);
        open.node.facts().end_writing();
    }
    let traffic = open.traffic();
    let caller = Caller { thread: 0, ..open.opened_by };
    volume.tell(caller, || open.path(), Action::Close { open: handle.0, traffic }, None);
    // This comes last: if no open is left, all closes have been recorded.
    volume.files.remove(handle);
    Ok(())
}

/// Answers `FUSE_FSYNC`.
pub(in crate::mirror) fn fsync(volume: &Volume, wanted: &Fsync) -> Result<(), Errno> {
    let Fsync { handle, flags } = *wanted;
    let open = volume.files.find(handle)?;
    let file = volume.file_of(&open)?;
    if flags & DATA_ONLY != 0 { rustix::fs::fdatasync(file) } else { rustix::fs::fsync(file) }
}
