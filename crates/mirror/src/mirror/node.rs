//! A node: a file that the kernel knows by a number. It is found again by its name in its parent's
//! directory, so that a node costs memory and no descriptor; the identity tells when somebody else has put
//! another file there. Files that are open, and those that lost their last name, keep a descriptor.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags, Statx, StatxAttributes};
use rustix::io::Errno;

use super::attribute::{self, FileIdentity};
use super::identity::with_all_rights;
use super::long_path::{DEEPEST, Upward};
use super::names::{self, UsedNames};
use super::number::NodeId;
use super::open_handle::OpenHandle;

/// What stands for the name of a file that never had one (`O_TMPFILE`): the same in each run.
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
    /// Whether it lies in a mount that is no volume: it is seen and never reached. What is mounted in the
    /// mirror lies over it.
    elsewhere: bool,
    /// Whether the descriptor was used since the cache looked last.
    pub used: AtomicBool,
    /// Whether it was opened for writing or truncated since the kernel knows it.
    pub written: AtomicBool,
    /// Whether the kernel may have some of its content in the page cache: an open was served.
    pub cached: AtomicBool,
    state: Mutex<NodeState>,
}

#[derive(Debug)]
struct NodeState {
    /// Which file it is.
    identity: FileIdentity,
    place: NodePlace,
    /// Of a file with several names, those by which it may be met next.
    names: Option<Box<UsedNames<Node>>>,
    /// An `O_PATH` descriptor: kept by the cache for directories, for good where `pinned`.
    handle: Option<Arc<OwnedFd>>,
    pinned: bool,
    opens: Opens,
    /// A descriptor for as long as it is open.
    open_handle: Option<OpenHandle>,
    /// What the kernel was told last, and decides with.
    told: Option<AccessAttributes>,
}

/// The attributes that decide about permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccessAttributes {
    pub mode: u16,
    pub user: u32,
    pub group: u32,
    /// Whether it may only be appended to (`chattr +a`).
    pub appends: bool,
}

impl AccessAttributes {
    /// Whether a write keeps the set-group-id bit if the writer is in the file's group, and takes it away otherwise
    /// (`setattr_should_drop_sgid`).
    pub(super) fn depends_on_groups(self) -> bool {
        u32::from(self.mode) & (libc::S_ISGID | libc::S_IXGRP) == libc::S_ISGID
    }

    /// Those of a file.
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
    /// No name is left; the last one is kept for those who ask.
    Gone { parent: Arc<Node>, name: Box<[u8]> },
    /// It was below a directory that lies below it now: others have moved it, and where to is not known.
    Adrift,
}

impl NodePlace {
    /// Whether it is this one.
    fn is(&self, parent: &Arc<Node>, name: &[u8]) -> bool {
        matches!(self, Self::Named { parent: own, name: same } if Arc::ptr_eq(own, parent) && **same == *name)
    }

    /// The directory and the name, where it has one.
    fn name(&self) -> Option<(Arc<Node>, Box<[u8]>)> {
        match self {
            Self::Named { parent, name } => Some((Arc::clone(parent), name.clone())),
            Self::Root | Self::Gone { .. } | Self::Adrift => None,
        }
    }
}

/// How the file is open now. The kernel wants all opens of a file to be of one sort, and those by
/// passthrough to share one registration.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opens {
    /// Opens that are served by reads and writes.
    pub served: u32,
    /// Opens by passthrough.
    pub passed: u32,
    /// The number of the registration, while `passed` is not 0.
    pub backing: u32,
    /// In whose name it is registered.
    pub registrar: Registrar,
    /// Those of both sorts that are for an execution: they last as long as the program runs.
    pub executed: u32,
    /// Those of both sorts that are for reading and writing, so that memory can be mapped which is stored to.
    pub mappable: u32,
    /// Whether an open has waited in vain for others to be closed: somebody has the file open, and no close is
    /// under way.
    pub held: bool,
}

/// In whose name a file is registered for passthrough: with whose limits it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Registrar {
    /// Root with all rights, which knows no limits.
    #[default]
    Root,
    /// The owner of the file, without capabilities.
    Owner { user: u32, group: u32 },
}

impl Node {
    /// The root of a mirror, which keeps its descriptor.
    pub(super) fn root(number: NodeId, handle: OwnedFd, stat: &Statx) -> Arc<Self> {
        Self::new(number, stat, NodePlace::Root, Some(Arc::new(handle)), false)
    }

    /// What is called `name` in `parent`.
    pub(super) fn named(number: NodeId, stat: &Statx, parent: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        let elsewhere = !FileIdentity::of(stat).has_mount_of(&parent.identity());
        let place = NodePlace::Named { parent: Arc::clone(parent), name: name.into() };
        Self::new(number, stat, place, None, elsewhere)
    }

    /// A file without a name, held by its descriptor; `parent` is the directory it was made in.
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
            written: AtomicBool::new(false),
            cached: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, NodeState> {
        // A thread that panicked held this for a few assignments, each of which is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which file it is.
    pub(super) fn identity(&self) -> FileIdentity {
        self.state().identity
    }

    /// An overlay has copied it, which makes it another file below.
    pub(super) fn became(&self, identity: FileIdentity) {
        self.state().identity = identity;
    }

    /// The kernel is told these attributes.
    pub(super) fn tell(&self, stat: &Statx) {
        self.tell_access(AccessAttributes::of(stat));
    }

    /// The kernel is told these attributes, or is going to be.
    pub(super) fn tell_access(&self, access: AccessAttributes) {
        self.state().told = Some(access);
    }

    /// The attributes that the kernel was given last.
    pub(super) fn told(&self) -> Option<AccessAttributes> {
        self.state().told
    }

    /// Whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.kind == libc::S_IFDIR
    }

    /// Whether it is a symbolic link.
    pub(super) fn is_link(&self) -> bool {
        self.kind == libc::S_IFLNK
    }

    /// Whether it lies in a mount that is no volume.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// The descriptor, where there is one now.
    pub(super) fn held(&self) -> Option<Arc<OwnedFd>> {
        self.used.store(true, Ordering::Relaxed);
        let state = self.state();
        state.handle.clone().or_else(|| state.open_handle.as_ref().map(|handle| Arc::clone(handle.file())))
    }

    /// Gives a descriptor for a while to the node, unless it has one.
    pub(super) fn hold(&self, handle: &Arc<OwnedFd>) {
        self.state().handle.get_or_insert_with(|| Arc::clone(handle));
    }

    /// Takes that descriptor away; what is pinned stays.
    pub(super) fn release(&self) {
        let mut state = self.state();
        let released = if state.pinned { None } else { state.handle.take() };
        drop(state);
        drop(released);
    }

    /// The kernel has forgotten it, and with it by which names it may be met.
    pub(super) fn forgotten(&self) {
        let names = self.state().names.take();
        drop(names);
        self.release();
    }

    /// Gives the descriptor back that is kept while it is open.
    pub(super) fn give_back(&self) {
        let given = self.state().open_handle.take();
        drop(given);
    }

    /// The directory and the name of the node. The root and files without a name have neither.
    pub(super) fn named_place(&self) -> Option<(Arc<Self>, Box<[u8]>)> {
        self.state().place.name()
    }

    /// Whether it has a name, as far as is known here.
    pub(super) fn has_name(&self) -> bool {
        matches!(self.state().place, NodePlace::Root | NodePlace::Named { .. })
    }

    /// It has been found or put at this place.
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
        // A file that got a name again is found by it.
        let named = matches!(old, NodePlace::Gone { .. }) && !self.is_directory();
        let handle = if named { state.handle.take() } else { None };
        state.pinned &= !named;
        drop(state);
        drop((old, handle));
    }

    /// A look-up has found it at this place; whether it has `several` names then.
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

    /// A thread has looked up this name, by which it goes on.
    pub(super) fn met(&self, thread: u32, parent: &Arc<Self>, name: &[u8]) {
        if let Some(names) = &mut self.state().names {
            names.found(thread, parent, name);
        }
    }

    /// The name by which a thread has met it, if it has several.
    pub(super) fn met_as(&self, thread: u32) -> Option<UsedName> {
        self.state().names.as_ref()?.of(thread).cloned()
    }

    /// One of its names has become another.
    pub(super) fn renamed(self: &Arc<Self>, from: (&Arc<Self>, &[u8]), to: (&Arc<Self>, &[u8])) {
        if let Some(names) = &mut self.state().names {
            names.renamed(from, to);
        }
        self.moved(to.0, to.1);
    }

    /// If a directory is known to lie below this one, and this one is found in it, it is not where it was: nodes that hold
    /// each other would never be forgotten.
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

    /// It has lost this name; tells whether it was the one that it is found by. `handle` keeps it reachable
    /// for good, where it must be.
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

    /// Opens the node itself (`O_PATH`) by a name in a directory, checked to be the same file.
    ///
    /// # Errors
    ///
    /// `ESTALE` where it is not to be found any more, `EACCES` where it lies in a mount that is no volume, and
    /// those of openat(2).
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

    /// Changes how it is counted as open. `handle` is kept while it is, where none is kept yet.
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
        // The last descriptor of a file without a name gives its space back, which takes its time.
        drop(released);
        result
    }

    /// Its path from the root of the mirror, begun with `/`; what has no name shows the last one it had. Of a very
    /// long one both ends, as [`super::path_ends`] takes them apart.
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

    /// Its path by the name with which a thread has met it.
    pub(super) fn path_for(&self, thread: u32) -> Vec<u8> {
        self.path_as(self.met_as(thread).as_ref())
    }

    /// Its path by one of its names, or as [`Self::path`] has it.
    pub(super) fn path_as(&self, name: Option<&UsedName>) -> Vec<u8> {
        name.map_or_else(|| self.path(), |(parent, name)| parent.path_of(name))
    }

    /// The path of `name` in this directory.
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
    /// Lets go of the directories above one after the other: each may be the last to hold the next, and there may be
    /// more of them than a stack has room for.
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

/// Somebody else has taken the name away: the kernel is to look again.
fn stale(error: Errno) -> Errno {
    if error == Errno::NOENT || error == Errno::NOTDIR { Errno::STALE } else { error }
}
