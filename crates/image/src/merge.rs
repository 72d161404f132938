//! Merges layers, the top one first.
//!
//! The paths that an upper layer hides are known before the lower layer is read, so hidden files are skipped.
//! The rules follow image-spec `layer.md`, "Applying Changesets". If it is silent, they follow containerd and
//! docker on overlayfs:
//!
//! - A directory over a directory becomes one directory with the content of both. Anything else hides the
//!   entries below it, and a directory hides anything that is not a directory.
//! - If an upper layer has a directory and a lower layer has a file or a whiteout at the same path, the layers
//!   further down are hidden at that path.
//! - Whiteouts hide lower layers, never their own, regardless of their position in the layer.
//! - If one layer has two entries with the same path, the later one counts.
//! - A missing parent directory of an entry is created, and hides a link of a lower layer. A link of the same
//!   layer is followed, inside the root.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::Fault;
use crate::tree::FileContent;
use crate::tree::{Directory, File, FileId, Node, NodeId, Tree};
use crate::{limit, memory};
use compat_loader::host::{Ahead, Cursor, Found, WalkError, walk_names};

/// The layers merged so far.
pub(super) struct Merge {
    slots: Vec<Slot>,
    files: Vec<File>,
    /// The layer that is being merged below the others. The bottom layer is 0.
    layer: u32,
    /// The memory that the nodes and files refer to, in bytes.
    referred: u64,
}

struct Slot {
    kind: SlotContent,
    /// The layer that contains this entry.
    layer: u32,
    /// Layers below this one show nothing in this directory.
    sealed: u32,
    /// The length of its path, in bytes.
    path: u32,
}

enum SlotContent {
    Directory(Directory),
    Link(Box<[u8]>),
    File(FileId),
    Other,
    /// A whiteout.
    Absent,
}

/// The position of an entry: a directory and a name in it.
#[derive(Clone, Debug)]
pub(super) struct EntryPosition {
    parent: NodeId,
    name: Box<[u8]>,
}

/// A new entry.
pub(super) enum New {
    /// A directory with its permission bits, and with its owner and group if they are known.
    Directory(u32, Option<(u64, u64)>),
    /// A symbolic link.
    Link(Box<[u8]>),
    /// A regular file.
    File(FileId),
    /// A device, pipe or socket.
    Other,
}

/// The target of a hard link.
pub(super) enum Linked {
    /// The target is in the tree and belongs to the same layer.
    Found(New),
    /// The target is hidden or belongs to another layer.
    Elsewhere,
}

impl Merge {
    /// Returns an empty root.
    pub(crate) fn new() -> Self {
        let root = Slot {
            kind: SlotContent::Directory(Directory { mode: 0o755, ..Directory::default() }),
            layer: 0,
            sealed: 0,
            path: 0,
        };
        Self { slots: vec![root], files: Vec::new(), layer: 0, referred: 0 }
    }

    /// Starts the next layer, which is lower than the one before.
    pub(crate) fn begin(&mut self, layer: u32) {
        self.layer = layer;
    }

    /// The memory of the tree, in bytes, including one copy of every path: code that derives data from a tree
    /// writes its paths out.
    pub(crate) fn kept(&self) -> u64 {
        let slots = self.slots.capacity() * size_of::<Slot>();
        let files = self.files.capacity() * size_of::<File>();
        self.referred + (slots + files) as u64
    }

    /// Returns the position of a path. `None` if an upper layer hides it. Missing parent directories are
    /// created.
    pub(crate) fn locate(&mut self, components: &[Box<[u8]>]) -> Result<Option<EntryPosition>, Fault> {
        let Some((name, parents)) = components.split_last() else { return Ok(None) };
        let Some(parent) = self.directory(parents)? else { return Ok(None) };
        if self.hides(parent, name) {
            Ok(None)
        } else {
            Ok(Some(EntryPosition { parent, name: name.clone() }))
        }
    }

    /// Whether an upper layer has an entry here that hides any entry of this layer other than a directory.
    fn hides(&self, parent: NodeId, name: &[u8]) -> bool {
        let Some(id) = self.child(parent, name) else { return false };
        let slot = self.slot(id);
        slot.layer > self.layer && !matches!(slot.kind, SlotContent::Directory(_))
    }

    /// Whether an upper layer has a directory at this position. Only directories are merged with it.
    pub(crate) fn is_covered(&self, place: &EntryPosition) -> bool {
        let above = self.child(place.parent, &place.name).map(|id| self.slot(id));
        above.is_some_and(|slot| slot.layer > self.layer)
    }

    /// Returns the directory at a path and creates it if it is missing. `None` if an upper layer hides it.
    fn directory(&mut self, components: &[Box<[u8]>]) -> Result<Option<NodeId>, Fault> {
        if self.is_sealed(NodeId(0)) {
            return Ok(None);
        }
        let mut cursor = MergeCursor { merge: self, stack: vec![NodeId(0)] };
        match walk_names(&mut cursor, components.iter().map(|name| &**name)) {
            Ok(()) => Ok(cursor.stack.pop()),
            Err(MergeStop::Hidden) => Ok(None),
            Err(MergeStop::Fault(fault)) => Err(fault),
            Err(MergeStop::Walk(WalkError::NotDirectory)) => Err(Fault::malformed(format!(
                "{} is used as a directory, but the layer contains a file at that path",
                shown(components)
            ))),
            Err(MergeStop::Walk(_)) => {
                Err(Fault::malformed(format!("{}: too many links", shown(components))))
            }
        }
    }

    /// Resolves one component on the way to a directory.
    fn step(&mut self, parent: NodeId, name: &[u8]) -> Result<Step, Fault> {
        let layer = self.layer;
        let Some(id) = self.child(parent, name) else {
            return Ok(Step::Into(self.add(parent, name, SlotContent::Directory(implied()), 0)?));
        };
        let slot = self.slot_mut(id);
        let own = slot.layer == layer;
        Ok(match &slot.kind {
            SlotContent::Directory(_) => Step::Into(id),
            _ if !own => Step::Hidden,
            SlotContent::Link(target) => Step::Link(target.clone()),
            SlotContent::Absent => {
                slot.kind = SlotContent::Directory(implied());
                slot.sealed = layer;
                Step::Into(id)
            }
            SlotContent::File(_) | SlotContent::Other => Step::Blocked,
        })
    }

    /// Puts an entry at a position that [`Merge::locate`] returned.
    pub(crate) fn put(&mut self, place: &EntryPosition, new: New) -> Result<(), Fault> {
        let Some(id) = self.child(place.parent, &place.name) else {
            self.add(place.parent, &place.name, new.into_kind(), 0)?;
            return Ok(());
        };
        let layer = self.layer;
        let slot = self.slot_mut(id);
        let own = slot.layer == layer;
        match (&mut slot.kind, new) {
            // A directory that no upper layer describes takes the mode and owner of the lower layer, unless it
            // replaces an entry.
            (SlotContent::Directory(directory), New::Directory(mode, owner)) => {
                if own || (!directory.is_described && slot.sealed == 0) {
                    (directory.mode, directory.owner, directory.is_described) = (mode, owner, true);
                }
            }
            // A file hides the layers below it, although an upper layer has a directory at the path.
            (SlotContent::Directory(_), _) if !own => {
                slot.sealed = slot.sealed.max(layer);
                self.withdraw(id);
            }
            (_, _) if !own => {}
            (SlotContent::Absent, new) => {
                slot.sealed = layer;
                self.replace(id, new.into_kind());
            }
            (_, new) => {
                slot.sealed = 0;
                self.replace(id, new.into_kind());
            }
        }
        Ok(())
    }

    fn replace(&mut self, id: NodeId, kind: SlotContent) {
        let before = self.slot(id).kind.referred();
        self.referred = (self.referred + kind.referred()).saturating_sub(before);
        self.slot_mut(id).kind = kind;
    }

    /// Removes the entries that this layer has put into a directory, because the layer replaces the directory.
    fn withdraw(&mut self, directory: NodeId) {
        let mut ahead = vec![directory];
        while let Some(id) = ahead.pop() {
            let SlotContent::Directory(inner) = &mut self.slot_mut(id).kind else { continue };
            let mut children = std::mem::take(&mut inner.children);
            children.retain(|_, child| {
                let stays = self.slot(*child).layer != self.layer;
                if stays {
                    ahead.push(*child);
                }
                stays
            });
            if let SlotContent::Directory(inner) = &mut self.slot_mut(id).kind {
                inner.children = children;
            }
        }
    }

    /// Applies a whiteout: the layers below show nothing at this path.
    pub(crate) fn hide(&mut self, components: &[Box<[u8]>]) -> Result<(), Fault> {
        let Some((name, parents)) = components.split_last() else { return Ok(()) };
        let Some(parent) = self.directory(parents)? else { return Ok(()) };
        match self.child(parent, name) {
            None => {
                self.add(parent, name, SlotContent::Absent, 0)?;
            }
            Some(id) => self.seal(id),
        }
        Ok(())
    }

    /// Applies an opaque whiteout: the layers below show nothing in this directory.
    pub(crate) fn hide_content(&mut self, components: &[Box<[u8]>]) -> Result<(), Fault> {
        if let Some(id) = self.directory(components)? {
            self.seal(id);
        }
        Ok(())
    }

    fn seal(&mut self, id: NodeId) {
        let layer = self.layer;
        let slot = self.slot_mut(id);
        slot.sealed = slot.sealed.max(layer);
    }

    /// Returns the target of a hard link, if this layer has put it into the tree.
    pub(crate) fn linked(&mut self, components: &[Box<[u8]>]) -> Result<Linked, Fault> {
        let Some((name, parents)) = components.split_last() else { return Ok(Linked::Elsewhere) };
        let Some(parent) = self.existing(parents) else { return Ok(Linked::Elsewhere) };
        let Some(id) = self.child(parent, name) else { return Ok(Linked::Elsewhere) };
        let slot = self.slot(id);
        if slot.layer != self.layer {
            return Ok(Linked::Elsewhere);
        }
        Ok(match &slot.kind {
            SlotContent::File(file) => Linked::Found(New::File(*file)),
            SlotContent::Link(target) => Linked::Found(New::Link(target.clone())),
            SlotContent::Other => Linked::Found(New::Other),
            SlotContent::Directory(_) => {
                let path = shown(components);
                return Err(Fault::malformed(format!("a hard link points to {path}, which is a directory")));
            }
            SlotContent::Absent => Linked::Elsewhere,
        })
    }

    /// Returns the directory at a path, if it exists. Does not follow links or create anything.
    fn existing(&self, components: &[Box<[u8]>]) -> Option<NodeId> {
        components.iter().try_fold(NodeId(0), |parent, name| self.child(parent, name))
    }

    /// Adds a file that has no name yet.
    pub(crate) fn add_file(&mut self, file: File) -> FileId {
        self.referred += file.content.kept();
        memory::grow(&mut self.files);
        self.files.push(file);
        FileId(u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX))
    }

    /// Fills a placeholder with the content of its file.
    pub(crate) fn fill_file(&mut self, id: FileId, file: File) {
        self.referred += file.content.kept();
        self.files[id.0 as usize] = file;
    }

    /// Adds a placeholder for a file that is not known yet.
    pub(crate) fn promise_file(&mut self) -> FileId {
        self.add_file(File {
            mode: 0,
            owner: None,
            size: 0,
            capabilities: false,
            content: FileContent::Other,
        })
    }

    /// Returns the tree of all layers.
    pub(crate) fn finish(self) -> Tree {
        let absent: Vec<bool> =
            self.slots.iter().map(|slot| matches!(slot.kind, SlotContent::Absent)).collect();
        let node = |slot: Slot| match slot.kind {
            SlotContent::Directory(mut directory) => {
                directory.children.retain(|_, id| !absent[id.0 as usize]);
                Node::Directory(directory)
            }
            SlotContent::Link(target) => Node::Link(target),
            SlotContent::File(id) => Node::File(id),
            SlotContent::Other | SlotContent::Absent => Node::Other,
        };
        Tree { nodes: self.slots.into_iter().map(node).collect(), files: self.files }
    }

    fn add(&mut self, parent: NodeId, name: &[u8], kind: SlotContent, sealed: u32) -> Result<NodeId, Fault> {
        let number = u32::try_from(self.slots.len())
            .map_err(|_| Fault::Limit { what: "the number of entries", limit: u64::from(u32::MAX) })?;
        let path = self.slot(parent).path.saturating_add(name.len() as u32 + 1);
        let (layer, kind_referred) = (self.layer, kind.referred());
        memory::grow(&mut self.slots);
        self.slots.push(Slot { kind, layer, sealed, path });
        let mut referred = kind_referred + memory::allocated(name.len()) + u64::from(path);
        if let SlotContent::Directory(directory) = &mut self.slot_mut(parent).kind {
            referred += memory::of_child(directory.children.len());
            directory.children.insert(name.into(), NodeId(number));
        }
        self.referred += referred;
        Ok(NodeId(number))
    }

    fn is_sealed(&self, id: NodeId) -> bool {
        self.slot(id).sealed > self.layer
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.slot(parent).kind {
            SlotContent::Directory(directory) => directory.children.get(name).copied(),
            _ => None,
        }
    }

    fn slot(&self, id: NodeId) -> &Slot {
        &self.slots[id.0 as usize]
    }

    fn slot_mut(&mut self, id: NodeId) -> &mut Slot {
        &mut self.slots[id.0 as usize]
    }
}

impl SlotContent {
    /// The memory that an entry refers to, in bytes. The count of a directory grows with each child.
    fn referred(&self) -> u64 {
        match self {
            Self::Link(target) => memory::allocated(target.len()),
            _ => 0,
        }
    }
}

/// The position of a walk in the merged layers. Missing directories on the way are created.
struct MergeCursor<'m> {
    merge: &'m mut Merge,
    stack: Vec<NodeId>,
}

/// The reason for a walk through the layers to stop.
enum MergeStop {
    /// An upper layer hides the path.
    Hidden,
    Walk(WalkError),
    Fault(Fault),
}

impl From<WalkError> for MergeStop {
    fn from(error: WalkError) -> Self {
        Self::Walk(error)
    }
}

impl<'a> Cursor<'a> for MergeCursor<'_> {
    type Text = [u8];
    type Stop = MergeStop;

    fn enter(&mut self, name: &[u8], ahead: &Ahead<'a, [u8]>) -> Result<Found<'a, [u8]>, MergeStop> {
        let parent = self.stack[self.stack.len() - 1];
        match self.merge.step(parent, name).map_err(MergeStop::Fault)? {
            Step::Into(id) if self.merge.is_sealed(id) => Err(MergeStop::Hidden),
            Step::Into(id) => {
                self.stack.push(id);
                Ok(Found::Directory)
            }
            Step::Hidden => Err(MergeStop::Hidden),
            // The links of an archive may expand to ever longer paths.
            Step::Link(_) if ahead.names() > limit::PATH => Err(WalkError::Loop.into()),
            Step::Link(target) => Ok(Found::Link(Cow::Owned(target.into_vec()))),
            // The path of a walk must end at a directory.
            Step::Blocked => Err(WalkError::NotDirectory.into()),
        }
    }

    fn leave(&mut self, _: &Ahead<'a, [u8]>) -> Result<(), MergeStop> {
        self.stack.truncate(self.stack.len().saturating_sub(1).max(1));
        Ok(())
    }

    fn restart(&mut self, _: &[u8], _: &Ahead<'a, [u8]>) -> Result<(), MergeStop> {
        self.stack.truncate(1);
        Ok(())
    }

    /// Names of entries were checked when they were read. A longer name in a link makes a directory that no
    /// path leads to.
    fn is_too_long(&self, _: &[u8]) -> bool {
        false
    }
}

enum Step {
    Into(NodeId),
    Link(Box<[u8]>),
    Hidden,
    Blocked,
}

impl New {
    fn into_kind(self) -> SlotContent {
        match self {
            Self::Directory(mode, owner) => SlotContent::Directory(Directory {
                mode,
                owner,
                is_described: true,
                children: BTreeMap::new(),
            }),
            Self::Link(target) => SlotContent::Link(target),
            Self::File(id) => SlotContent::File(id),
            Self::Other => SlotContent::Other,
        }
    }
}

/// A directory without an entry.
fn implied() -> Directory {
    // The mode that container engines give to a missing parent directory.
    Directory { mode: 0o755, ..Directory::default() }
}

/// A path in an error: shortened, with control characters escaped.
pub(super) fn shown(components: &[Box<[u8]>]) -> String {
    let text = String::from_utf8_lossy(&components.join(&b'/')).into_owned();
    text.chars().take(200).flat_map(char::escape_debug).collect()
}
