//! Handlers that remove and move names. A file that loses its last name while it is in use keeps a
//! descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::mirror::arguments::Rename;
use crate::mirror::attribute;
use crate::mirror::node::Node;
use crate::mirror::observer::Action;
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::Volume;

/// Answers `FUSE_UNLINK`.
pub(in crate::mirror) fn unlink(volume: &Volume, request: &Request<'_>, name: &[u8]) -> Result<(), Errno> {
    remove(volume, request, name, AtFlags::empty(), Action::Unlink)
}

/// Answers `FUSE_RMDIR`.
pub(in crate::mirror) fn rmdir(volume: &Volume, request: &Request<'_>, name: &[u8]) -> Result<(), Errno> {
    remove(volume, request, name, AtFlags::REMOVEDIR, Action::RemoveDirectory)
}

fn remove(
    volume: &Volume,
    request: &Request<'_>,
    name: &[u8],
    flags: AtFlags,
    action: Action<'_>,
) -> Result<(), Errno> {
    let (parent, directory) = volume.handle(request.header.node)?;
    let mut victim = NamedNode::find(volume, &directory, name);
    let node = victim.as_ref().map(|victim| Arc::clone(&victim.node));
    let result = request.act(volume, Subject::of(&parent).owned(node.as_ref()), || {
        let _moving = volume.handles.moving([parent.number; 2]);
        let result = rustix::fs::unlinkat(&*directory, name, flags);
        volume.changed(&parent, &directory);
        volume.change_name(&parent, name);
        victim.iter().for_each(|victim| volume.change(&victim.node));
        if result.is_ok()
            && let Some(victim) = victim.take()
        {
            victim.lost(volume, &parent, name);
        }
        result
    });
    volume.tell(request.caller(), || parent.path_of(name), action, result.err());
    result
}

/// The node of a name, with a descriptor that outlives the name.
struct NamedNode {
    node: Arc<Node>,
    handle: OwnedFd,
}

impl NamedNode {
    /// Returns the node and a descriptor of the file with this name, if the kernel knows the file.
    fn find(volume: &Volume, directory: &OwnedFd, name: &[u8]) -> Option<Self> {
        let stat = attribute::of_name(directory.as_fd(), name).ok()?;
        let node = volume.table.known(&stat)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = volume.with_room(|| rustix::fs::openat(directory, name, flags, Mode::empty())).ok()?;
        Some(Self { node, handle })
    }

    /// Records that the name is gone. A file with other names will be found by those. Until then a descriptor
    /// serves callers that have the file but no name of it.
    fn lost(self, volume: &Volume, parent: &Arc<Node>, name: &[u8]) {
        let last = attribute::of_file(&self.handle).is_ok_and(|stat| stat.stx_nlink == 0);
        if last || self.node.is_directory() {
            self.node.lost(parent, name, Some(self.handle));
            return;
        }
        let handle = Arc::new(self.handle);
        self.node.hold(&handle);
        if self.node.lost(parent, name, None) {
            volume.handles.remember(&self.node);
        } else {
            self.node.release();
        }
    }
}

/// Answers `FUSE_RENAME` and `FUSE_RENAME2`.
pub(in crate::mirror) fn rename(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &Rename<'_>,
) -> Result<(), Errno> {
    let Rename { target, flags, from, to } = *wanted;
    let flags = RenameFlags::from_bits_retain(flags);
    let (old_parent, old_directory) = volume.handle(request.header.node)?;
    let (new_parent, new_directory) = volume.handle(target)?;
    let mut moved = NamedNode::find(volume, &old_directory, from);
    let mut replaced = NamedNode::find(volume, &new_directory, to);
    let node = moved.as_ref().map(|known| Arc::clone(&known.node));
    let victim = replaced.as_ref().map(|known| Arc::clone(&known.node));
    let subject = Subject::of(&old_parent).and(Some(&new_parent)).and(victim.as_ref()).owned(node.as_ref());
    let result = request.act(volume, subject, || {
        let _moving = volume.handles.moving([old_parent.number, new_parent.number]);
        let result = rustix::fs::renameat_with(&*old_directory, from, &*new_directory, to, flags);
        volume.changed(&old_parent, &old_directory);
        volume.changed(&new_parent, &new_directory);
        volume.change_name(&old_parent, from);
        volume.change_name(&new_parent, to);
        moved.iter().chain(&replaced).for_each(|known| volume.changed(&known.node, &known.handle));
        if result.is_ok() {
            let (moved, replaced) = (moved.take(), replaced.take());
            keep_in_mind(volume, (&old_parent, from), (&new_parent, to), flags, moved, replaced);
        }
        result
    });
    let path = if volume.is_observed() { volume.placed(new_parent.path_of(to)) } else { Vec::new() };
    let action = Action::Rename { to: &path, flags: flags.bits() };
    volume.tell(request.caller(), || old_parent.path_of(from), action, result.err());
    result
}

/// Records in the nodes of two names that one was moved to the other.
fn keep_in_mind(
    volume: &Volume,
    (old_parent, from): (&Arc<Node>, &[u8]),
    (new_parent, to): (&Arc<Node>, &[u8]),
    flags: RenameFlags,
    moved: Option<NamedNode>,
    replaced: Option<NamedNode>,
) {
    let same = matches!((&moved, &replaced), (Some(a), Some(b)) if Arc::ptr_eq(&a.node, &b.node));
    // Two names of one file stay as they are (rename(2)).
    if same {
        return;
    }
    if let Some(replaced) = replaced {
        if flags.contains(RenameFlags::EXCHANGE) {
            replaced.node.renamed((new_parent, to), (old_parent, from));
        } else {
            replaced.lost(volume, new_parent, to);
        }
    }
    if let Some(moved) = moved {
        moved.node.renamed((old_parent, from), (new_parent, to));
    }
}
