//! Handlers that create files, directories, links and nodes with the caller's credentials.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::file::{NewOpen, write_opened};
use super::registration::{FileToRegister, register};
use crate::mirror::arguments::{Create, Creation, Link, MkDir, MkNod, SymLink};
use crate::mirror::attribute;
use crate::mirror::node::Node;
use crate::mirror::observer::Action;
use crate::mirror::open_file::{Opened, is_for_writing, next_open};
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::{Volume, self_path};
use crate::mirror::wire::write_entry;

/// The maximum wait for a file to disappear that others create and remove again and again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Answers `FUSE_SYMLINK`.
pub(in crate::mirror) fn symlink(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &SymLink<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let SymLink { name, target } = *wanted;
    made(volume, request, out, name, 0, Action::SymbolicLink { target }, |directory| {
        rustix::fs::symlinkat(target, directory, name)
    })
}

/// Answers `FUSE_MKNOD`.
pub(in crate::mirror) fn mknod(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &MkNod<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let MkNod { mode, device, mask, name } = *wanted;
    let kind = FileType::from_raw_mode(mode);
    // The number is packed like the kernel's `new_encode_dev`.
    let device = rustix::fs::makedev(device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    made(volume, request, out, name, mask, Action::MakeNode { mode }, |directory| {
        rustix::fs::mknodat(directory, name, kind, Mode::from_raw_mode(mode & 0o7777), device)
    })
}

/// Answers `FUSE_MKDIR`.
pub(in crate::mirror) fn mkdir(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &MkDir<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let MkDir { mode, mask, name } = *wanted;
    made(volume, request, out, name, mask, Action::MakeDirectory { mode }, |directory| {
        rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(mode & 0o7777))
    })
}

/// Creates an entry in a directory, notifies the observer, and replies with its node.
fn made(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
    name: &[u8],
    mask: u32,
    action: Action<'_>,
    make: impl Fn(&OwnedFd) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let (parent, directory) = volume.handle(request.header.node)?;
    let result = request.act(volume, Subject::of(&parent).making(mask), || make(&directory));
    volume.changed(&parent, &directory);
    volume.change_name(&parent, name);
    let result = result.and_then(|()| volume.answer_entry(out, &parent, &directory, name).map(drop));
    volume.tell(request.caller(), || parent.path_of(name), action, result.err());
    result
}

/// Answers `FUSE_LINK`.
pub(in crate::mirror) fn link(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &Link<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let Link { source, name } = *wanted;
    let (node, handle) = volume.handle(source)?;
    let from =
        if volume.is_observed() { volume.placed(node.path_for(request.header.thread)) } else { Vec::new() };
    let (parent, directory) = volume.handle(request.header.node)?;
    // A link to any descriptor requires CAP_DAC_READ_SEARCH. The link in /proc requires no capability.
    let source = self_path(&handle);
    let link = || rustix::fs::linkat(CWD, &source, &*directory, name, AtFlags::SYMLINK_FOLLOW);
    let result = request.act(volume, Subject::of(&parent).owned(Some(&node)), link);
    volume.changed(&node, &handle);
    volume.changed(&parent, &directory);
    volume.change_name(&parent, name);
    let result = result.and_then(|()| volume.answer_entry(out, &parent, &directory, name).map(drop));
    volume.tell(request.caller(), || parent.path_of(name), Action::HardLink { from: &from }, result.err());
    result
}

/// Answers `FUSE_CREATE`: creates a file and opens it.
///
/// The kernel has found no file. It takes the reply for a new file, which it opens without checking
/// permissions. If somebody outside has created one meanwhile, the reply is `ESTALE`. Then the kernel looks
/// once more and opens the existing file like any other.
pub(in crate::mirror) fn create(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &Create<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let Create { how, name } = *wanted;
    let Creation { flags, mode, .. } = how;
    let (parent, directory) = volume.handle(request.header.node)?;
    let admission = volume.admit(request.caller())?;
    let new = || create_new(volume, request, &parent, &directory, name, how);
    let mut file = volume.with_room(new);
    let is_in_the_way = |file: &Result<_, _>| matches!(file, Err(Errno::EXIST));
    if is_in_the_way(&file) && flags & libc::O_EXCL as u32 == 0 {
        // A second `ESTALE` would be returned to the caller. A program that has removed the file this fast
        // does it again.
        let since = Instant::now();
        while volume.retries.has(request.header.thread) && is_in_the_way(&file) && since.elapsed() < PATIENCE
        {
            std::thread::yield_now();
            file = new();
        }
        if is_in_the_way(&file) {
            // The observer is not notified. The next requests show the result of the call.
            return Err(Errno::STALE);
        }
    }
    volume.changed(&parent, &directory);
    volume.change_name(&parent, name);
    let open = next_open();
    let result = file.and_then(|file| {
        let stat = attribute::of_file(&file)?;
        let node = volume.table.found(&stat, &parent, name);
        node.tell(&stat);
        write_entry(out, node.number, &stat, volume.validity_of_opened(&node, &stat, flags));
        answer_opened(volume, request, out, &node, file, NewOpen { number: open, flags, admission })
    });
    let action = Action::Create { open: open.0, flags, mode };
    volume.tell(request.caller(), || parent.path_of(name), action, result.err());
    result
}

/// Answers `FUSE_TMPFILE`: creates a file without a name.
pub(in crate::mirror) fn tmpfile(
    volume: &Volume,
    request: &Request<'_>,
    how: Creation,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let Creation { flags, mode, .. } = how;
    let (parent, directory) = volume.handle(request.header.node)?;
    let admission = volume.admit(request.caller())?;
    let wanted = OFlags::TMPFILE;
    let how = Creation { flags: flags & !(libc::O_CREAT as u32), ..how };
    let file = volume.with_room(|| make_file(volume, request, &parent, &directory, b".", how, wanted))?;
    let stat = attribute::of_file(&file)?;
    let handle = reach(&file)?;
    let node = volume.table.made_unnamed(&stat, |number| Node::unnamed(number, &stat, &parent, handle));
    let open = next_open();
    node.tell(&stat);
    // The file is created only once. A later open of it must not create another.
    let kept = flags & !(libc::O_TMPFILE as u32);
    write_entry(out, node.number, &stat, volume.validity_of_opened(&node, &stat, kept));
    answer_opened(volume, request, out, &node, file, NewOpen { number: open, flags: kept, admission })?;
    volume.tell(request.caller(), || node.path(), Action::Create { open: open.0, flags, mode }, None);
    Ok(())
}

fn create_new(
    volume: &Volume,
    request: &Request<'_>,
    parent: &Arc<Node>,
    directory: &OwnedFd,
    name: &[u8],
    how: Creation,
) -> Result<OwnedFd, Errno> {
    make_file(volume, request, parent, directory, name, how, OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW)
}

/// Creates and opens a file with the caller's credentials.
fn make_file(
    volume: &Volume,
    request: &Request<'_>,
    parent: &Arc<Node>,
    directory: &OwnedFd,
    name: &[u8],
    how: Creation,
    wanted: OFlags,
) -> Result<OwnedFd, Errno> {
    let Creation { flags, mode, mask } = how;
    let flags = flags & !(libc::O_DIRECT as u32) & !Action::EXECUTE;
    let flags = OFlags::from_bits_retain(flags) | wanted | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode & 0o7777);
    request.act(volume, Subject::of(parent).making(mask), || rustix::fs::openat(directory, name, flags, mode))
}

/// Returns a descriptor that only reaches the file (`O_PATH`).
fn reach(file: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::fs::open(self_path(file), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn answer_opened(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
    node: &Arc<Node>,
    file: OwnedFd,
    open: NewOpen,
) -> Result<(), Errno> {
    // If no descriptor is left for the file, it is found by its name.
    let handle = reach(&file).ok().map(Arc::new);
    let registered = FileToRegister { file: file.as_fd(), handle: handle.as_ref(), flags: open.flags };
    let passed = register(volume, request, node, &registered)?;
    let opened = passed.map_or_else(|| Opened::Served(File::from(file)), Opened::Passed);
    if volume.cached.is_some() && is_for_writing(open.flags) {
        volume.change(node);
        node.facts().begin_writing();
    }
    write_opened(volume, request, out, node, open, opened);
    Ok(())
}
