//! Extended attributes, access control lists among them.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::CapabilitySet;

use crate::mirror::protocol::{OUT_HEADER, ReplyExt};
use crate::mirror::volume::{Request, Volume, self_path};

/// `FUSE_SETXATTR_ACL_KILL_SGID`.
const KILLS_SET_ID: u32 = 1 << 0;

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`, in bytes.
const LARGEST: usize = 1 << 16;

/// A path whose last part is not followed, the descriptor that it leads through, and whether it is the
/// path of a link.
fn path_of(volume: &Volume, request: &Request<'_>) -> Result<(PathBuf, Arc<OwnedFd>, bool), Errno> {
    let node = volume.table.node(request.header.node)?;
    if node.is_link()
        && let Some((parent, name)) = node.named_place()
    {
        let folder = volume.reach(&parent)?;
        let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&name);
        return Ok((self_path(&folder).join(name), folder, true));
    }
    let handle = volume.reach(&node)?;
    Ok((self_path(&handle), handle, false))
}

/// An attribute was set or removed; what `path_of` has found may have become another file.
fn changed(volume: &Volume, request: &Request<'_>, handle: &OwnedFd, link: bool) {
    if !link && let Ok(node) = volume.table.node(request.header.node) {
        volume.changed(&node, handle);
    }
}

/// Answers `FUSE_SETXATTR`.
pub(in crate::mirror) fn set(volume: &Volume, request: &Request<'_>) -> Result<(), Errno> {
    let mut body = request.body;
    let (size, flags, kills) = (body.u32()? as usize, body.u32()?, body.u32()?);
    body.u32()?;
    let name = body.name()?;
    let value = body.bytes(size)?;
    let (path, handle, link) = path_of(volume, request)?;
    let flags = XattrFlags::from_bits_retain(flags);
    let guard = (kills & KILLS_SET_ID != 0).then(|| request.credentials.without_set_id());
    let result = if link {
        rustix::fs::lsetxattr(path, name, value, flags)
    } else {
        rustix::fs::setxattr(path, name, value, flags)
    };
    drop(guard);
    changed(volume, request, &handle, link);
    result
}

/// Answers `FUSE_GETXATTR`.
pub(in crate::mirror) fn get(volume: &Volume, request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let mut body = request.body;
    let size = body.u32()? as usize;
    body.u32()?;
    let name = body.name()?;
    let (path, _handle, link) = path_of(volume, request)?;
    fill(out, size, |buffer| {
        if link {
            rustix::fs::lgetxattr(&path, name, buffer)
        } else {
            rustix::fs::getxattr(&path, name, buffer)
        }
    })
}

/// Answers `FUSE_LISTXATTR`.
pub(in crate::mirror) fn list(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let size = { request.body }.u32()? as usize;
    let (path, _handle, link) = path_of(volume, request)?;
    let mut names = vec![0; LARGEST];
    let count = if link {
        rustix::fs::llistxattr(&path, &mut *names)?
    } else {
        rustix::fs::listxattr(&path, &mut *names)?
    };
    names.truncate(count);
    let is_trusted = |name: &[u8]| name.starts_with(b"trusted.");
    if names.split(|byte| *byte == 0).any(is_trusted) && !sees_trusted(request.header.thread) {
        let shown = names.split_inclusive(|byte| *byte == 0).filter(|name| !is_trusted(name));
        names = shown.flatten().copied().collect();
    }
    if size == 0 {
        out.put_u32(names.len() as u32);
        out.put_u32(0);
    } else if names.len() > size {
        return Err(Errno::RANGE);
    } else {
        out.extend_from_slice(&names);
    }
    Ok(())
}

/// Whether a thread is shown attributes that begin with `trusted.`: with `CAP_SYS_ADMIN` in the first user
/// namespace (xattr(7)). This process is in it where it is shown any itself. The kernel tells the caller's
/// user, which does not tell its capabilities; of a thread that is not to be seen from here nothing is known.
fn sees_trusted(thread: u32) -> bool {
    let Some(pid) = i32::try_from(thread).ok().and_then(Pid::from_raw) else { return false };
    let namespace = |process: &str| rustix::fs::stat(format!("/proc/{process}/ns/user"));
    let same = match (namespace(&thread.to_string()), namespace("self")) {
        (Ok(its), Ok(own)) => (its.st_dev, its.st_ino) == (own.st_dev, own.st_ino),
        _ => false,
    };
    let sets = rustix::thread::capabilities(Some(pid));
    same && sets.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Answers with as many bytes as asked for, or, for none, with how many there are.
fn fill(
    out: &mut Vec<u8>,
    size: usize,
    read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    // The library answers an empty buffer with 0, so the value itself is read for its size, too.
    let room = if size == 0 { LARGEST } else { size.min(LARGEST) };
    out.resize(OUT_HEADER + room, 0);
    let count = read(&mut out[OUT_HEADER..])?;
    if size == 0 {
        out.truncate(OUT_HEADER);
        out.put_u32(count as u32);
        out.put_u32(0);
    } else {
        out.truncate(OUT_HEADER + count);
    }
    Ok(())
}

/// Answers `FUSE_REMOVEXATTR`.
pub(in crate::mirror) fn remove(volume: &Volume, request: &Request<'_>) -> Result<(), Errno> {
    let name = { request.body }.name()?;
    let (path, handle, link) = path_of(volume, request)?;
    let result =
        if link { rustix::fs::lremovexattr(path, name) } else { rustix::fs::removexattr(path, name) };
    changed(volume, request, &handle, link);
    result
}
