//! Making files, directories, links and nodes, as the caller.

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
use crate::mirror::open_file::{Opened, next_open, note_writing};
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::{Volume, self_path};
use crate::mirror::wire::write_entry;

/// For how long a file that comes and goes is waited for to be gone.
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
    // As the kernel's `new_encode_dev` packs it.
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

/// Makes something in a directory, notifies the observer, and answers with its node.
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
    // The right to name any descriptor needs CAP_DAC_READ_SEARCH; the link in /proc needs none.
    let source = self_path(&handle);
    let link = || rustix::fs::linkat(CWD, &source, &*directory, name, AtFlags::SYMLINK_FOLLOW);
    let result = request.act(volume, Subject::of(&parent).owned(Some(&node)), link);
    volume.changed(&node, &handle);
    volume.changed(&parent, &directory);
    let result = result.and_then(|()| volume.answer_entry(out, &parent, &directory, name).map(drop));
    volume.tell(request.caller(), || parent.path_of(name), Action::HardLink { from: &from }, result.err());
    result
}

/// Answers `FUSE_CREATE`: makes a file and opens it.
///
/// The kernel has found no file and takes the answer for a new one, which it opens without asking for
/// permission. Where somebody outside has made one meanwhile it is sent back (`ESTALE`): it looks once more,
/// and opens what is there as any other file.
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
        // Sent back a second time the caller would be told. Who has removed it so fast does it again.
        let since = Instant::now();
        while volume.retries.has(request.header.thread) && is_in_the_way(&file) && since.elapsed() < PATIENCE
        {
            std::thread::yield_now();
            file = new();
        }
        if is_in_the_way(&file) {
            // Nothing is told of it: what becomes of the call is what comes next.
            return Err(Errno::STALE);
        }
    }
    volume.changed(&parent, &directory);
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

/// Answers `FUSE_TMPFILE`: a file without a name.
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
    // It is made so once; what opens it again must not make another.
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

/// Makes and opens a file as the caller.
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

/// A descriptor by which the file is reached, and no more.
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
    note_writing(node, open.flags);
    // Where no descriptor is left for it, the file is found by its name.
    let handle = reach(&file).ok().map(Arc::new);
    let registered = FileToRegister { file: file.as_fd(), handle: handle.as_ref(), flags: open.flags };
    let passed = register(volume, request, node, &registered)?;
    let opened = passed.map_or_else(|| Opened::Served(File::from(file)), Opened::Passed);
    write_opened(volume, request, out, node, open, opened);
    Ok(())
}
