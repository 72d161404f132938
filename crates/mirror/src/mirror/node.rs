//! A node: a file that the kernel knows by a number. The mirror finds it again by its name in its parent
//! directory, so a node costs memory but no descriptor. The identity reveals whether somebody else has put
//! another file there. Open files, and files that lost their last name, keep a descriptor.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::{Mode, OFlags, Statx, StatxAttributes};
use rustix::io::Errno;

use super::attribute::{self, FileIdentity};
use super::cache::facts::Facts;
use super::identity::with_all_rights;
use super::long_path::{DEEPEST, Upward};
use super::names::{self, UsedNames};
use super::number::NodeId;
use super::open_handle::OpenHandle;

/// The name shown for a file that never had one (`O_TMPFILE`). It is the same in each run.
const UNNAMED: &[u8] = b"#unnamed";

/// A directory, and a name in it.
pub(super) type UsedName = names::UsedName<Node>;

/// One file of the mirrored root.
#[derive(Debug)]
pub(super) struct Node {
    /// The kernel's number.
    pub number: NodeId,
    /// The type bits of the mode (`S_IFMT`).
    pub kind: u32,
    /// Whether the node is in a mount that is not a volume. It is visible but cannot be reached. Mounts
    /// inside the mirror cover it.
    elsewhere: bool,
    /// Whether the descriptor was used since the cache looked last.
    pub used: AtomicBool,
    /// Whether the kernel may have some of the content in the page cache, because an open was served.
    pub cached: AtomicBool,
    /// The facts about the file, if the volume is cached.
    facts: OnceLock<Box<Facts>>,
    state: Mutex<NodeState>,
}

#[derive(Debug)]
struct NodeState {
    /// The identity of the file.
    identity: FileIdentity,
    place: NodePlace,
    /// The names that the next requests may have used, for a file with several names.
    names: Option<Box<UsedNames<Node>>>,
    /// An `O_PATH` descriptor: kept by the cache for directories, kept for ever if `pinned`.
    handle: Option<Arc<OwnedFd>>,
    pinned: bool,
    opens: Opens,
    /// A descriptor that is kept while the file is open.
    open_handle: Option<OpenHandle>,
    /// The attributes in the last reply, with which the kernel decides.
    told: Option<AccessAttributes>,
}

/// The attributes that decide about permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccessAttributes {
    pub mode: u16,
    pub user: u32,
    pub group: u32,
    /// Whether the file is append-only (`chattr +a`).
    pub appends: bool,
}

impl AccessAttributes {
    /// Whether a write keeps the set-group-id bit only if the writer is in the file's group
    /// (`setattr_should_drop_sgid`).
    pub(super) fn depends_on_groups(self) -> bool {
        u32::from(self.mode) & (libc::S_ISGID | libc::S_IXGRP) == libc::S_ISGID
    }

    /// Returns the attributes of a file.
    pub(super) fn of(stat: &Statx) -> Self {
        let appends = stat.stx_attributes.contains(StatxAttributes::APPEND);
        Self { mode: stat.stx_mode, user: stat.stx_uid, group: stat.stx_gid, appends }
    }
}

/// How the node is found.
#[derive(Clone, Debug)]
enum NodePlace {
    /// The mirrored root.
    Root,
    /// A name in a directory.
    Named { parent: Arc<Node>, name: Box<[u8]> },
    /// No name is left. The last name is kept for events.
    Gone { parent: Arc<Node>, name: Box<[u8]> },
    /// The node was below a directory that is now below the node. Others have moved it to an unknown place.
    Adrift,
}

impl NodePlace {
    /// Whether this is the given place.
    fn is(&self, parent: &Arc<Node>, name: &[u8]) -> bool {
        matches!(self, Self::Named { parent: own, name: same } if Arc::ptr_eq(own, parent) && **same == *name)
    }

    /// Returns the directory and the name, if the place has a name.
    fn name(&self) -> Option<(Arc<Node>, Box<[u8]>)> {
        match self {
            Self::Named { parent, name } => Some((Arc::clone(parent), name.clone())),
            Self::Root | Self::Gone { .. } | Self::Adrift => None,
        }
    }
}

/// The current opens of a file. The kernel requires all opens of a file to be of the same sort. Opens by
/// passthrough share one registration.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opens {
    /// Opens that are served by reads and writes.
    pub served: u32,
    /// Opens by passthrough.
    pub passed: u32,
    /// The number of the registration, while `passed` is not 0.
    pub backing: u32,
    /// The credentials of the registration.
    pub registrar: Registrar,
    /// Opens of both sorts for an execution. They last as long as the program runs.
    pub executed: u32,
    /// Opens of both sorts for reading and writing. They permit shared writable mappings.
    pub mappable: u32,
    /// Whether an open has waited in vain for others to be closed. Then somebody has the file open, and no
    /// close is under way.
    pub held: bool,
    /// Opens for which a copy of the file is read. On a cached volume, either all opens or none are of this sort.
    pub copied: u32,
}

/// The credentials with which a file is registered for passthrough. They limit writes to the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Registrar {
    /// Root with all rights. No limits apply.
    #[default]
    Root,
    /// The owner of the file, without capabilities.
    Owner { user: u32, group: u32 },
}

impl Opens {
    /// Whether the kernel reads and writes the original without this process.
    pub(super) fn passes_original(&self) -> bool {
        self.passed > 0 && self.copied == 0
    }

    /// Whether the kernel reads a registered copy.
    pub(super) fn passes_copy(&self) -> bool {
        self.passed > 0 && self.copied > 0
    }
}

impl Node {
    /// Creates the root of a mirror, which keeps its descriptor.
    pub(super) fn root(number: NodeId, handle: OwnedFd, stat: &Statx) -> Arc<Self> {
        Self::new(number, stat, NodePlace::Root, Some(Arc::new(handle)), false)
    }

    /// Creates the node of the file `name` in `parent`.
    pub(super) fn named(number: NodeId, stat: &Statx, parent: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        let elsewhere = !FileIdentity::of(stat).has_mount_of(&parent.identity());
        let place = NodePlace::Named { parent: Arc::clone(parent), name: name.into() };
        Self::new(number, stat, place, None, elsewhere)
    }

    /// Creates the node of a file without a name, which keeps its descriptor. `parent` is the directory in
    /// which it was created.
    pub(super) fn unnamed(number: NodeId, stat: &Statx, parent: &Arc<Self>, handle: OwnedFd) -> Arc<Self> {
        let name = UNNAMED.into();
        let place = NodePlace::Gone { parent: Arc::clone(parent), name };
        Self::new(number, stat, place, Some(Arc::new(handle)), false)
    }

    fn new(
        number: NodeId,
        stat: &Statx,
        place: NodePlace,
        handle: Option<Arc<OwnedFd>>,
        elsewhere: bool,
    ) -> Arc<Self> {
        let pinned = handle.is_some();
        let identity = FileIdentity::of(stat);
        let (opens, open_handle, told, names) = (Opens::default(), None, None, None);
        let state = NodeState { identity, place, names, handle, pinned, opens, open_handle, told };
        Arc::new(Self {
            number,
            kind: attribute::kind(stat),
            elsewhere,
            used: AtomicBool::new(false),
            cached: AtomicBool::new(false),
            facts: OnceLock::new(),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, NodeState> {
        // A thread that panicked held the lock only for a few assignments, and each of them is complete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the facts about the file, for a cached volume.
    pub(super) fn facts(&self) -> &Facts {
        self.facts.get_or_init(Box::default)
    }

    /// Returns the identity of the file.
    pub(super) fn identity(&self) -> FileIdentity {
        self.state().identity
    }

    /// Sets a new identity: an overlay has copied the file, which makes it another file below.
    pub(super) fn became(&self, identity: FileIdentity) {
        self.state().identity = identity;
    }

    /// Records these attributes as sent to the kernel.
    pub(super) fn tell(&self, stat: &Statx) {
        self.tell_access(AccessAttributes::of(stat));
    }

    /// Records these attributes as sent to the kernel, or as about to be sent.
    pub(super) fn tell_access(&self, access: AccessAttributes) {
        self.state().told = Some(access);
    }

    /// Returns the attributes in the last reply to the kernel.
    pub(super) fn told(&self) -> Option<AccessAttributes> {
        self.state().told
    }

    /// Whether the node is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.kind == libc::S_IFDIR
    }

    /// Whether the node is a symbolic link.
    pub(super) fn is_link(&self) -> bool {
        self.kind == libc::S_IFLNK
    }

    /// Whether the node is in a mount that is not a volume.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Returns the current descriptor, if any.
    pub(super) fn held(&self) -> Option<Arc<OwnedFd>> {
        self.used.store(true, Ordering::Relaxed);
        let state = self.state();
        state.handle.clone().or_else(|| state.open_handle.as_ref().map(|handle| Arc::clone(handle.file())))
    }

    /// Stores a descriptor in the node for a while, unless it has one.
    pub(super) fn hold(&self, handle: &Arc<OwnedFd>) {
        self.state().handle.get_or_insert_with(|| Arc::clone(handle));
    }

    /// Releases that descriptor, unless it is pinned.
    pub(super) fn release(&self) {
        let mut state = self.state();
        let released = if state.pinned { None } else { state.handle.take() };
        drop(state);
        drop(released);
    }

    /// Records that the kernel has forgotten the node. The names that requests may have used are dropped.
    pub(super) fn forgotten(&self) {
        let names = self.state().names.take();
        drop(names);
    }

    /// Releases the descriptor that is kept while the file is open.
    pub(super) fn give_back(&self) {
        let given = self.state().open_handle.take();
        drop(given);
    }

    /// Returns the directory and the name of the node. The root and files without a name return `None`.
    pub(super) fn named_place(&self) -> Option<(Arc<Self>, Box<[u8]>)> {
        self.state().place.name()
    }

    /// Whether the node has a name, as far as the mirror knows.
    pub(super) fn has_name(&self) -> bool {
        matches!(self.state().place, NodePlace::Root | NodePlace::Named { .. })
    }

    /// Records that the node was found at, or moved to, this place.
    pub(super) fn moved(self: &Arc<Self>, parent: &Arc<Self>, name: &[u8]) {
        if self.is_directory() {
            self.set_adrift(parent);
        }
        let mut state = self.state();
        if matches!(state.place, NodePlace::Root) || state.place.is(parent, name) {
            return;
        }
        let place = NodePlace::Named { parent: Arc::clone(parent), name: name.into() };
        let old = std::mem::replace(&mut state.place, place);
        // A file that got a name again is found by that name.
        let named = matches!(old, NodePlace::Gone { .. }) && !self.is_directory();
        let handle = if named { state.handle.take() } else { None };
        state.pinned &= !named;
        drop(state);
        drop((old, handle));
    }

    /// Records that a lookup has found the node at this place, and whether the file has `several` names.
    pub(super) fn found(self: &Arc<Self>, parent: &Arc<Self>, name: &[u8], several: bool) {
        let mut state = self.state();
        let outdated = if !several {
            state.names.take()
        } else if state.names.is_none() && !state.place.is(parent, name) {
            state.names = Some(Box::new(UsedNames::after(
                state.place.name().map(|(parent, name)| (parent, name.into())),
            )));
            None
        } else {
            None
        };
        drop(state);
        drop(outdated);
        self.moved(parent, name);
    }

    /// Records that a thread has looked up this name, which its next requests use.
    pub(super) fn met(&self, thread: u32, parent: &Arc<Self>, name: &[u8]) {
        if let Some(names) = &mut self.state().names {
            names.found(thread, parent, name);
        }
    }

    /// Returns the name that a thread has used, if the file has several.
    pub(super) fn met_as(&self, thread: u32) -> Option<UsedName> {
        self.state().names.as_ref()?.of(thread).cloned()
    }

    /// Records that one of the names was renamed.
    pub(super) fn renamed(self: &Arc<Self>, from: (&Arc<Self>, &[u8]), to: (&Arc<Self>, &[u8])) {
        if let Some(names) = &mut self.state().names {
            names.renamed(from, to);
        }
        self.moved(to.0, to.1);
    }

    /// Corrects the place of a directory that was known to be below this node but now contains it. Nodes that
    /// hold each other would never be released.
    fn set_adrift(self: &Arc<Self>, parent: &Arc<Self>) {
        let mut below = Arc::clone(parent);
        for _ in 0..DEEPEST {
            let mut state = below.state();
            let (NodePlace::Named { parent: above, .. } | NodePlace::Gone { parent: above, .. }) =
                &state.place
            else {
                return;
            };
            if Arc::ptr_eq(above, self) {
                let outdated = std::mem::replace(&mut state.place, NodePlace::Adrift);
                drop(state);
                drop(outdated);
                return;
            }
            let above = Arc::clone(above);
            drop(state);
            below = above;
        }
    }

    /// Records that the node has lost this name. Returns whether the node was found by it. `handle` then
    /// keeps a file without another name reachable for ever.
    pub(super) fn lost(&self, parent: &Arc<Self>, name: &[u8], handle: Option<OwnedFd>) -> bool {
        let mut state = self.state();
        if let Some(names) = &mut state.names {
            names.lost(parent, name);
        }
        if let Some(handle) = handle {
            state.handle = Some(Arc::new(handle));
            state.pinned = true;
        }
        let place = std::mem::replace(&mut state.place, NodePlace::Root);
        let (place, gone) = match place {
            NodePlace::Named { parent: old, name: same } if Arc::ptr_eq(&old, parent) && *same == *name => {
                (NodePlace::Gone { parent: old, name: same }, true)
            }
            other => (other, false),
        };
        state.place = place;
        gone
    }

    /// Opens the node itself (`O_PATH`) by a name in a directory and checks that it is the same file.
    ///
    /// # Errors
    ///
    /// If the file cannot be found any more (`ESTALE`), if it is in a mount that is not a volume (`EACCES`),
    /// or if openat(2) fails.
    pub(super) fn open_in(&self, directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
        if self.elsewhere {
            return Err(Errno::ACCESS);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(directory, name, flags, Mode::empty());
        let file = match open() {
            Err(Errno::ACCESS) => with_all_rights(open),
            other => other,
        };
        let file = file.map_err(stale)?;
        let stat = attribute::of_file(&file)?;
        if FileIdentity::of(&stat) != self.identity() {
            return Err(Errno::STALE);
        }
        if attribute::leaves_mount(directory, &file, &stat)? { Err(Errno::ACCESS) } else { Ok(file) }
    }

    /// Changes the counts of opens. `handle` is kept while the file is open, unless another descriptor is.
    pub(super) fn with_opens<T>(
        &self,
        handle: Option<&Arc<OwnedFd>>,
        change: impl FnOnce(&mut Opens) -> T,
    ) -> T {
        let mut state = self.state();
        let result = change(&mut state.opens);
        let mut released = None;
        if state.opens.served + state.opens.passed == 0 {
            released = state.open_handle.take();
        } else if let (None, Some(handle)) = (&state.open_handle, handle) {
            state.open_handle = OpenHandle::keep(handle);
        }
        drop(state);
        // Closing the last descriptor of a file without a name frees its space, which takes time.
        drop(released);
        result
    }

    /// Returns the path from the root of the mirror, which begins with `/`. A node without a name shows its
    /// last name. A very long path is shortened to both ends: see [`super::path_ends`].
    pub(super) fn path(&self) -> Vec<u8> {
        let mut path = Upward::default();
        let mut place = self.state().place.clone();
        while let NodePlace::Named { parent, name } | NodePlace::Gone { parent, name } = place {
            if !path.add(name) {
                break;
            }
            place = parent.state().place.clone();
        }
        path.path()
    }

    /// Returns the path with the name that a thread has used.
    pub(super) fn path_for(&self, thread: u32) -> Vec<u8> {
        self.path_as(self.met_as(thread).as_ref())
    }

    /// Returns the path with one of the node's names, or the result of [`Self::path`].
    pub(super) fn path_as(&self, name: Option<&UsedName>) -> Vec<u8> {
        name.map_or_else(|| self.path(), |(parent, name)| parent.path_of(name))
    }

    /// Returns the path of `name` in this directory.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }
}

impl Drop for Node {
    /// Releases the directories above one after the other, without recursion. Each may be the last holder of
    /// the next, and there may be more of them than a stack has room for.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut place = std::mem::replace(&mut state.place, NodePlace::Root);
        while let NodePlace::Named { parent, .. } | NodePlace::Gone { parent, .. } = place {
            let Some(mut parent) = Arc::into_inner(parent) else { break };
            let state = parent.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            place = std::mem::replace(&mut state.place, NodePlace::Root);
        }
    }
}

/// Maps errors of a name that somebody else has removed to `ESTALE`, so that the kernel looks again.
fn stale(error: Errno) -> Errno {
    if error == Errno::NOENT || error == Errno::NOTDIR { Errno::STALE } else { error }
}
