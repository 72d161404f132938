//! Handlers of extended attributes, including access control lists.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::mirror::arguments::{GetXattr, SetXattr};
use crate::mirror::cache::{CacheEvent, CachedVolume, Coherence, KeptFact, Question};
use crate::mirror::node::Node;
use crate::mirror::reply::SizeReply;
use crate::mirror::request::{Request, Subject};
use crate::mirror::stamp::Stamp;
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

    /// Reads the value of an attribute with the caller's credentials.
    fn value(
        &self,
        volume: &Volume,
        request: &Request<'_>,
        name: &[u8],
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        self.read(volume, request, || {
            if self.is_link {
                rustix::fs::lgetxattr(&self.path, name, &mut *buffer)
            } else {
                rustix::fs::getxattr(&self.path, name, &mut *buffer)
            }
        })
    }

    /// Returns the names of the attributes that are served, each with a zero byte.
    fn names(&self, volume: &Volume, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
        let mut names = vec![0; LARGEST];
        let count = self.read(volume, request, || {
            if self.is_link {
                rustix::fs::llistxattr(&self.path, &mut *names)
            } else {
                rustix::fs::listxattr(&self.path, &mut *names)
            }
        })?;
        names.truncate(count);
        if !names.split(|byte| *byte == 0).all(|name| name.is_empty() || is_served(name)) {
            let served = |name: &&[u8]| is_served(name.strip_suffix(b"\0").unwrap_or(name));
            names = names.split_inclusive(|byte| *byte == 0).filter(served).flatten().copied().collect();
        }
        Ok(names)
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
        volume.change(&self.node);
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
    if let Some(cached) = &volume.cached
        && (is_for_kernel(name) || request.identity().is_full())
    {
        return reply(out, size, &known_attribute(volume, cached, request, name)?);
    }
    let target = AttributeTarget::of(volume, request)?;
    fill(out, size, |buffer| target.value(volume, request, name, buffer))
}

/// Whether the kernel itself reads the attribute, to decide about an access.
fn is_for_kernel(name: &[u8]) -> bool {
    matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// Returns an attribute of a file on a cached volume.
fn known_attribute(
    volume: &Volume,
    cached: &CachedVolume,
    request: &Request<'_>,
    name: &[u8],
) -> Result<Box<[u8]>, Errno> {
    let node = volume.table.node(request.header.node)?;
    let facts = node.facts();
    let is_kept = cached.coherence != Coherence::Strict && !facts.is_left_out() && !node.is_elsewhere();
    let ticket = facts.ticket();
    let mut stamp = None;
    if is_kept {
        let own = Stamp::of(&volume.confirmed(cached, &node)?.stat);
        stamp = Some(own);
        volume.recall(cached, &node, &own);
        if let Some((_, value)) = facts.state().attributes.iter().find(|(known, _)| **known == *name) {
            cached.count(CacheEvent::Answered(Question::ExtendedAttribute));
            return value.clone();
        }
    }
    let target = AttributeTarget::of(volume, request)?;
    cached.count(CacheEvent::Asked(Question::ExtendedAttribute));
    let mut buffer = vec![0; LARGEST];
    let value = target.value(volume, request, name, &mut buffer).map(|count| Box::from(&buffer[..count]));
    let is_answer = matches!(value, Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP));
    let mut state = facts.state();
    if let Some(stamp) = stamp.filter(|_| is_answer && facts.is_unchanged(ticket)) {
        state.attributes.push((name.into(), value.clone()));
        if value != Err(Errno::OPNOTSUPP) {
            cached.cache.keep(&stamp, KeptFact::Attribute(name, value.as_deref().ok()));
        }
    }
    value
}

/// Replies with a value, or with its size if `size` is 0.
fn reply(out: &mut Vec<u8>, size: usize, value: &[u8]) -> Result<(), Errno> {
    if size == 0 {
        SizeReply(value.len() as u32).write(out);
    } else if value.len() > size {
        return Err(Errno::RANGE);
    } else {
        out.extend_from_slice(value);
    }
    Ok(())
}

/// Answers `FUSE_LISTXATTR`. Attributes that begin with `trusted.` are shown only to callers with the right.
pub(in crate::mirror) fn listxattr(
    volume: &Volume,
    request: &Request<'_>,
    size: usize,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    if let Some(cached) = &volume.cached
        && request.identity().is_full()
    {
        return reply(out, size, &known_names(volume, cached, request)?);
    }
    let target = AttributeTarget::of(volume, request)?;
    reply(out, size, &target.names(volume, request)?)
}

/// Returns the names of the attributes of a file on a cached volume.
fn known_names(volume: &Volume, cached: &CachedVolume, request: &Request<'_>) -> Result<Box<[u8]>, Errno> {
    let node = volume.table.node(request.header.node)?;
    let facts = node.facts();
    let is_kept = cached.coherence != Coherence::Strict && !facts.is_left_out() && !node.is_elsewhere();
    let ticket = facts.ticket();
    if is_kept {
        volume.confirmed(cached, &node)?;
        if let Some(names) = facts.state().attribute_names.clone() {
            cached.count(CacheEvent::Answered(Question::ExtendedAttribute));
            return Ok(names);
        }
    }
    cached.count(CacheEvent::Asked(Question::ExtendedAttribute));
    let names = AttributeTarget::of(volume, request)?.names(volume, request)?.into_boxed_slice();
    let mut state = facts.state();
    if is_kept && facts.is_unchanged(ticket) {
        state.attribute_names = Some(names.clone());
    }
    Ok(names)
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
