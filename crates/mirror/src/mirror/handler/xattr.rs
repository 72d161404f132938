//! Handlers of extended attributes, including access control lists.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::mirror::arguments::{GetXattr, SetXattr};
use crate::mirror::node::Node;
use crate::mirror::reply::SizeReply;
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::{Volume, self_path};
use crate::mirror::wire::OUT_HEADER;

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`, in bytes.
const LARGEST: usize = 1 << 16;

/// The file that a request concerns.
struct AttributeTarget {
    node: Arc<Node>,
    /// The path of the file. Its last component is not followed.
    path: PathBuf,
    /// The descriptor that the path leads through.
    handle: Arc<OwnedFd>,
    /// Whether the path is that of a symbolic link.
    is_link: bool,
}

impl AttributeTarget {
    fn of(volume: &Volume, request: &Request<'_>) -> Result<Self, Errno> {
        let node = volume.table.node(request.header.node)?;
        if node.is_link()
            && let Some((parent, name)) = node.named_place()
        {
            let handle = volume.reach(&parent)?;
            let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&name);
            return Ok(Self { path: self_path(&handle).join(name), node, handle, is_link: true });
        }
        let handle = volume.reach(&node)?;
        Ok(Self { path: self_path(&handle), node, handle, is_link: false })
    }

    /// Reads attributes with the caller's credentials.
    fn read<T>(
        &self,
        volume: &Volume,
        request: &Request<'_>,
        act: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        request.act(volume, Subject::reading(&self.node), act)
    }

    /// Changes attributes with the caller's credentials. The change may give the file another identity.
    fn change(
        &self,
        volume: &Volume,
        request: &Request<'_>,
        act: impl FnMut() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let result = request.act(volume, Subject::default().owned(Some(&self.node)), act);
        if !self.is_link {
            volume.changed(&self.node, &self.handle);
        }
        result
    }
}

/// Whether attributes of this name are passed on (xattr(7)): those of users, of root, of security modules,
/// and POSIX access control lists. Others in `system.` are rules of the underlying file system that the
/// kernel would not know.
fn is_served(name: &[u8]) -> bool {
    let classes: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let lists: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
    classes.iter().any(|class| name.starts_with(class)) || lists.contains(&name)
}

/// Answers `FUSE_SETXATTR`.
pub(in crate::mirror) fn setxattr(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &SetXattr<'_>,
) -> Result<(), Errno> {
    let SetXattr { flags, name, value } = *wanted;
    if !is_served(name) {
        return Err(Errno::OPNOTSUPP);
    }
    let target = AttributeTarget::of(volume, request)?;
    let flags = XattrFlags::from_bits_retain(flags);
    // The underlying file system removes a set-group-id bit if the caller is not in the group.
    target.change(volume, request, || {
        if target.is_link {
            rustix::fs::lsetxattr(&target.path, name, value, flags)
        } else {
            rustix::fs::setxattr(&target.path, name, value, flags)
        }
    })
}

/// Answers `FUSE_GETXATTR`.
pub(in crate::mirror) fn getxattr(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &GetXattr<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let GetXattr { size, name } = *wanted;
    if !is_served(name) {
        return Err(Errno::OPNOTSUPP);
    }
    let target = AttributeTarget::of(volume, request)?;
    fill(out, size, |buffer| {
        target.read(volume, request, || {
            if target.is_link {
                rustix::fs::lgetxattr(&target.path, name, &mut *buffer)
            } else {
                rustix::fs::getxattr(&target.path, name, &mut *buffer)
            }
        })
    })
}

/// Answers `FUSE_LISTXATTR`. Attributes that begin with `trusted.` are shown only to callers with the right.
pub(in crate::mirror) fn listxattr(
    volume: &Volume,
    request: &Request<'_>,
    size: usize,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let target = AttributeTarget::of(volume, request)?;
    let mut names = vec![0; LARGEST];
    let count = target.read(volume, request, || {
        if target.is_link {
            rustix::fs::llistxattr(&target.path, &mut *names)
        } else {
            rustix::fs::listxattr(&target.path, &mut *names)
        }
    })?;
    names.truncate(count);
    if !names.split(|byte| *byte == 0).all(|name| name.is_empty() || is_served(name)) {
        let served = |name: &&[u8]| is_served(name.strip_suffix(b"\0").unwrap_or(name));
        names = names.split_inclusive(|byte| *byte == 0).filter(served).flatten().copied().collect();
    }
    if size == 0 {
        SizeReply(names.len() as u32).write(out);
    } else if names.len() > size {
        return Err(Errno::RANGE);
    } else {
        out.extend_from_slice(&names);
    }
    Ok(())
}

/// Replies with at most `size` bytes. For 0, replies with the size of the value.
fn fill(
    out: &mut Vec<u8>,
    size: usize,
    read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    // The library answers an empty buffer with 0, so the value itself is read to get its size.
    let room = if size == 0 { LARGEST } else { size.min(LARGEST) };
    out.resize(OUT_HEADER + room, 0);
    let count = read(&mut out[OUT_HEADER..])?;
    if size == 0 {
        out.truncate(OUT_HEADER);
        SizeReply(count as u32).write(out);
    } else {
        out.truncate(OUT_HEADER + count);
    }
    Ok(())
}

/// Whether the kernel removes a file's capabilities on its own behalf. A caller in another user namespace
/// might request that, too, but then nobody writes to the file.
fn is_taken_away(volume: &Volume, request: &Request<'_>) -> bool {
    !request.is_foreign() || volume.files.any(|open| open.node.number == request.header.node && open.writes())
}

/// Answers `FUSE_REMOVEXATTR`.
pub(in crate::mirror) fn removexattr(
    volume: &Volume,
    request: &Request<'_>,
    name: &[u8],
) -> Result<(), Errno> {
    if !is_served(name) {
        return Err(Errno::OPNOTSUPP);
    }
    let target = AttributeTarget::of(volume, request)?;
    let result = target.change(volume, request, || {
        if target.is_link {
            rustix::fs::lremovexattr(&target.path, name)
        } else {
            rustix::fs::removexattr(&target.path, name)
        }
    });
    // The kernel sends this before a write, a truncation or a change of owner (`cap_inode_killpriv`). These
    // remove the capabilities of a file below by themselves. The kernel permits this request to nobody else
    // without the right.
    match result {
        Err(Errno::PERM) if name == b"security.capability" && is_taken_away(volume, request) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_rules_that_the_kernel_does_not_know_are_not_passed_on() {
        for name in ["user.a", "trusted.a", "security.capability", "system.posix_acl_access"] {
            assert!(is_served(name.as_bytes()), "{name}");
        }
        for name in ["system.nfs4_acl", "system.posix_acl_access2", "system.richacl", "os2.a", "user"] {
            assert!(!is_served(name.as_bytes()), "{name}");
        }
    }
}
