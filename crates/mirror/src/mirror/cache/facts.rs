//! The facts about one node of a cached volume.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::Statx;
use rustix::io::Errno;

use super::attributes::KnownAttributes;
use super::listing::Listing;
use super::{Coherence, Content};
use crate::mirror::number::NodeId;
use crate::mirror::stamp::Stamp;

/// The time after a change through the mirror in which the original is read.
const JUST_NOW: Duration = Duration::from_secs(2);

/// The most missing names that are kept for one directory.
const MOST_MISSING: usize = 16_384;

/// An extended attribute that is known, or the error of the request for it.
pub(in crate::mirror) type ExtendedAttribute = (Box<[u8]>, Result<Box<[u8]>, Errno>);

/// The facts about one node.
#[derive(Default)]
pub(in crate::mirror) struct Facts {
    state: Mutex<FactsState>,
    /// Counts the changes through the mirror. Answers of the share are kept only if it is the same as before the
    /// question.
    changes: AtomicU64,
    /// The opens for writing. While there are any, the share is asked each time.
    writers: AtomicU32,
    /// Whether the node was replaced: the file has another node for opens from now on.
    retired: AtomicBool,
    /// Whether the file is left out of the cache.
    left_out: AtomicBool,
    /// Whether the content was needed.
    opened: AtomicBool,
    /// Whether the attributes are being confirmed in the background.
    confirming: AtomicBool,
}

/// The facts that are valid for one stamp.
#[derive(Default)]
pub(in crate::mirror) struct FactsState {
    known: Option<KnownAttributes>,
    /// The last change through the mirror.
    changed: Option<Instant>,
    /// Whether a change through the mirror has dropped attributes: another change meanwhile would not be noticed.
    is_unsure: bool,
    /// The version of the last copy that was opened.
    pub pages: Option<Box<Stamp>>,
    /// Whether all pages that the kernel keeps are of that version. The kernel drops older ones when it receives the
    /// reply to the open, so this is certain after the first read.
    pub has_pages: bool,
    /// The last copy that was opened, for as long as it is open, and the ticket of that open.
    pub opened: Option<(Weak<dyn Content>, u64)>,
    /// The copy that is registered for passthrough, or was last.
    pub registered: Option<Arc<dyn Content>>,
    pub target: Option<Box<[u8]>>,
    pub attributes: Vec<ExtendedAttribute>,
    /// The names of all extended attributes, each with a zero byte.
    pub attribute_names: Option<Box<[u8]>>,
    pub grants: Vec<Grant>,
    /// Whether facts of an earlier run were looked for.
    pub is_recalled: bool,
    /// Whether this process's user may write to the file. Only asked for files of other users.
    pub may_write: Option<bool>,
    directory: Option<Box<DirectoryFacts>>,
}

/// A decision about a caller's access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mirror) struct Grant {
    pub user: u32,
    pub group: u32,
    pub groups: Box<[u32]>,
    /// The capabilities for files.
    pub capabilities: u64,
    /// The bits of access(2).
    pub mask: u32,
    pub result: Result<(), Errno>,
    pub confirmed: Instant,
}

/// The facts about a directory beyond its attributes.
#[derive(Debug, Default)]
pub(in crate::mirror) struct DirectoryFacts {
    pub listing: DirectoryListing,
    /// The names that were looked up.
    pub children: HashMap<Box<[u8]>, Child>,
    /// The number of missing names in `children`.
    missing: usize,
    /// How often names were requested from the share.
    pub lookups: u32,
    /// The last time at which the files in it were confirmed together.
    pub neighbours: Option<Instant>,
}

/// The listing of a directory.
#[derive(Clone, Debug, Default)]
pub(in crate::mirror) enum DirectoryListing {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// All names, as of the directory's stamp.
    Known(Arc<Listing>),
    /// The directory cannot be listed, or it is too large.
    Impossible,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mirror) struct Child {
    /// The node, or `None` if there is no such name.
    pub node: Option<NodeId>,
    /// The time at which the share confirmed it.
    pub confirmed: Instant,
    /// Whether the kernel keeps the answer for a long time.
    pub is_long: bool,
}

/// The names that the kernel keeps and that may have changed.
pub(in crate::mirror) type Outdated = Vec<Box<[u8]>>;

impl std::fmt::Debug for Facts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Facts").field("changes", &self.changes).finish_non_exhaustive()
    }
}

impl Facts {
    pub(in crate::mirror) fn state(&self) -> MutexGuard<'_, FactsState> {
        // A thread that panicked held the lock only for assignments, and each of them is complete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of changes through the mirror, for [`Self::is_unchanged`].
    pub(in crate::mirror) fn ticket(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether nothing was changed through the mirror since the ticket.
    pub(in crate::mirror) fn is_unchanged(&self, ticket: u64) -> bool {
        self.ticket() == ticket
    }

    /// Drops all facts, because a change through the mirror begins or has just ended.
    pub(in crate::mirror) fn change(&self) {
        let mut state = self.state();
        self.changes.fetch_add(1, Ordering::AcqRel);
        let listing = state.directory.as_mut().map(|directory| std::mem::take(&mut directory.listing));
        let known = std::mem::take(&mut state.attributes);
        state.is_unsure |= state.known.is_some();
        state.changed = Some(Instant::now());
        (state.known, state.target, state.attribute_names, state.may_write) = (None, None, None, None);
        state.grants = Vec::new();
        // The facts of an earlier run describe the file before the change.
        state.is_recalled = true;
        drop(state);
        drop((listing, known));
    }

    /// Whether the file was changed through the mirror a moment ago. A copy of it could not be kept yet.
    pub(in crate::mirror) fn was_changed_just_now(&self) -> bool {
        self.state().changed.is_some_and(|changed| changed.elapsed() < JUST_NOW)
    }

    /// Drops all facts about a directory in which this name has changed through the mirror.
    pub(in crate::mirror) fn change_name(&self, name: &[u8]) {
        self.change();
        self.state().directory().drop_name(name);
    }

    /// Counts an open for writing. Facts are not kept until all of them are closed.
    pub(in crate::mirror) fn begin_writing(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
        self.change();
    }

    /// Counts the close of an open for writing.
    pub(in crate::mirror) fn end_writing(&self) {
        self.change();
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether the file is open for writing.
    pub(in crate::mirror) fn is_being_written(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    /// Marks the node as replaced by another one.
    pub(in crate::mirror) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether the node was replaced.
    pub(in crate::mirror) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Returns the attributes if they are still valid.
    pub(in crate::mirror) fn fresh(&self, coherence: Coherence) -> Option<KnownAttributes> {
        if self.is_being_written() {
            return None;
        }
        self.state().known.filter(|known| is_fresh(coherence, known.confirmed))
    }

    /// Records that the kernel may read from the original, whatever its version.
    pub(in crate::mirror) fn read_original(&self) {
        let mut state = self.state();
        state.has_pages = false;
        state.pages = None;
    }

    /// Records that the kernel has read from a copy of this version. Returns the size of the file in bytes, as far as it
    /// is known.
    pub(in crate::mirror) fn read_copy(&self, stamp: &Stamp) -> u64 {
        let mut state = self.state();
        state.has_pages |= state.pages.as_ref().is_some_and(|pages| pages.is_same(stamp));
        state.known.map_or(0, |known| known.size())
    }

    /// Returns the attributes that were confirmed last, however long ago.
    pub(in crate::mirror) fn last(&self) -> Option<KnownAttributes> {
        self.state().known
    }

    /// Keeps attributes that the share has confirmed. If the stamp differs from the last one, all facts are dropped.
    /// Returns whether they were.
    pub(in crate::mirror) fn note(&self, stat: &Statx, asked: Instant, ticket: u64) -> bool {
        let new = KnownAttributes::new(stat, asked);
        let stamp = Stamp::of(stat);
        let mut state = self.state();
        if !self.is_unchanged(ticket) {
            return false;
        }
        let before = state.known.replace(new);
        let was_unsure = std::mem::take(&mut state.is_unsure);
        let differs = before.map_or(was_unsure, |before| !before.stamp(stat).is_same(&stamp));
        if differs && !was_unsure {
            (state.target, state.attribute_names, state.may_write) = (None, None, None);
            state.grants = Vec::new();
            state.attributes = Vec::new();
            // A later run cannot have kept facts about the new file, but an earlier one may.
            state.is_recalled = false;
        }
        differs
    }

    /// Leaves the file out of the cache.
    pub(in crate::mirror) fn leave_out(&self) {
        self.left_out.store(true, Ordering::Release);
    }

    /// Whether the file is left out of the cache.
    pub(in crate::mirror) fn is_left_out(&self) -> bool {
        self.left_out.load(Ordering::Acquire)
    }

    /// Records that the content was needed.
    pub(in crate::mirror) fn opened(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }

    /// Whether the content was needed.
    pub(in crate::mirror) fn was_opened(&self) -> bool {
        self.opened.load(Ordering::Relaxed)
    }

    /// Begins a confirmation in the background. Returns false if there is one already.
    pub(in crate::mirror) fn begin_confirmation(&self) -> bool {
        !self.confirming.swap(true, Ordering::AcqRel)
    }

    /// Ends a confirmation in the background.
    pub(in crate::mirror) fn end_confirmation(&self) {
        self.confirming.store(false, Ordering::Release);
    }
}

impl FactsState {
    /// Returns the facts about the names in the directory.
    pub(in crate::mirror) fn directory(&mut self) -> &mut DirectoryFacts {
        self.directory.get_or_insert_default()
    }

    /// Returns the listing of the directory.
    pub(in crate::mirror) fn listing(&self) -> DirectoryListing {
        self.directory.as_ref().map(|directory| directory.listing.clone()).unwrap_or_default()
    }

    /// Returns a name of the directory that was looked up.
    pub(in crate::mirror) fn child(&self, name: &[u8]) -> Option<Child> {
        self.directory.as_ref()?.children.get(name).copied()
    }

    /// Returns all nodes of names that were looked up.
    pub(in crate::mirror) fn children(&self) -> Vec<NodeId> {
        let children = self.directory.iter().flat_map(|directory| directory.children.values());
        children.filter_map(|child| child.node).collect()
    }
}

impl DirectoryFacts {
    /// Keeps the answer for a name. Returns whether there was room.
    pub(in crate::mirror) fn keep(&mut self, name: &[u8], child: Child) -> bool {
        if let Some(before) = self.children.get_mut(name) {
            self.missing += usize::from(child.node.is_none());
            self.missing -= usize::from(before.node.is_none());
            // The kernel may still keep an earlier answer.
            *before = Child { is_long: child.is_long || before.is_long, ..child };
            return true;
        }
        if child.node.is_none() {
            if self.missing >= MOST_MISSING {
                return false;
            }
            self.missing += 1;
        }
        self.children.insert(name.into(), child);
        true
    }

    /// Drops the answer for a name.
    fn drop_name(&mut self, name: &[u8]) {
        if let Some(before) = self.children.remove(name) {
            self.missing -= usize::from(before.node.is_none());
        }
    }

    /// Drops the answers that no longer hold, after the directory has changed. `inodes` are the inode numbers of the
    /// children's nodes. Returns the names that the kernel keeps for a long time.
    pub(in crate::mirror) fn outdated(&mut self, inodes: &HashMap<NodeId, u64>) -> Outdated {
        let listing = match &self.listing {
            DirectoryListing::Known(listing) => Some(Arc::clone(listing)),
            DirectoryListing::Unknown | DirectoryListing::Impossible => None,
        };
        let holds = |name: &[u8], child: &Child| {
            let Some(listing) = &listing else { return false };
            match (listing.find(name), child.node) {
                (None, None) => true,
                (Some(listed), Some(node)) => inodes.get(&node) == Some(&listed.inode),
                _ => false,
            }
        };
        let mut outdated = Vec::new();
        self.children.retain(|name, child| {
            let holds = holds(name, child);
            if !holds && child.is_long {
                outdated.push(name.clone());
            }
            holds
        });
        self.missing = self.children.values().filter(|child| child.node.is_none()).count();
        outdated
    }

    /// Returns the names that the kernel keeps for a long time, and marks them as expired.
    pub(in crate::mirror) fn long_names(&mut self) -> Outdated {
        let long = self.children.iter_mut().filter(|(_, child)| child.is_long);
        long.map(|(name, child)| {
            child.is_long = false;
            name.clone()
        })
        .collect()
    }
}

/// Whether a fact that was confirmed at this time is still valid.
pub(in crate::mirror) fn is_fresh(coherence: Coherence, confirmed: Instant) -> bool {
    match coherence {
        Coherence::Session => true,
        Coherence::CloseToOpen(time) => confirmed.elapsed() < time,
        Coherence::Strict => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::attribute;
    use crate::mirror::cache::Listed;

    fn stat(directory: &std::path::Path, name: &str) -> Statx {
        let file = std::fs::File::open(directory.join(name)).expect("it is there");
        attribute::of_file(&file).expect("attributes")
    }

    fn child(node: Option<u64>) -> Child {
        Child { node: node.map(NodeId), confirmed: Instant::now(), is_long: true }
    }

    #[test]
    fn facts_last_as_long_as_the_coherence_says() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), "a").expect("a file");
        let (facts, now) = (Facts::default(), Instant::now());
        assert!(facts.fresh(Coherence::Session).is_none());
        let stat = stat(directory.path(), "a");
        assert!(!facts.note(&stat, now, facts.ticket()));
        assert!(facts.fresh(Coherence::Session).is_some() && facts.fresh(Coherence::Strict).is_none());
        assert!(facts.fresh(Coherence::CloseToOpen(Duration::from_secs(60))).is_some());
        assert!(facts.fresh(Coherence::CloseToOpen(Duration::ZERO)).is_none());
        facts.begin_writing();
        assert!(facts.fresh(Coherence::Session).is_none() && facts.last().is_none());
        facts.note(&stat, now, facts.ticket());
        assert!(facts.fresh(Coherence::Session).is_none(), "it is being written");
        facts.end_writing();
        assert!(facts.fresh(Coherence::Session).is_none());
    }

    #[test]
    fn an_answer_from_before_a_change_is_not_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), "a").expect("a file");
        let (facts, ticket) = (Facts::default(), Facts::default().ticket());
        facts.change();
        facts.note(&stat(directory.path(), "a"), Instant::now(), ticket);
        assert!(facts.last().is_none());
    }

    #[test]
    fn another_stamp_drops_the_facts() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a", "b"] {
            std::fs::write(directory.path().join(name), "a").expect("a file");
        }
        let facts = Facts::default();
        let note = |name: &str| facts.note(&stat(directory.path(), name), Instant::now(), facts.ticket());
        note("a");
        facts.state().target = Some(b"target".as_slice().into());
        assert!(!note("a") && facts.state().target.is_some());
        assert!(note("b") && facts.state().target.is_none());
    }

    #[test]
    fn only_names_that_changed_are_outdated() {
        let mut facts = DirectoryFacts::default();
        for (name, node) in
            [("same", Some(1)), ("other", Some(2)), ("gone", Some(3)), ("new", None), ("none", None)]
        {
            assert!(facts.keep(name.as_bytes(), child(node)));
        }
        let listed = [("same", 11), ("other", 99), ("new", 4)].map(|(name, inode)| Listed {
            name: name.as_bytes(),
            inode,
            kind: libc::S_IFREG,
        });
        let listing = Listing::new(listed).expect("it is small");
        facts.listing = DirectoryListing::Known(Arc::new(listing));
        let inodes = (1..=3).map(|node| (NodeId(node), node + 10)).collect();
        let mut outdated = facts.outdated(&inodes);
        outdated.sort();
        assert_eq!(outdated, [b"gone".as_slice(), b"new", b"other"].map(Into::into));
        assert_eq!((facts.children.len(), facts.missing), (2, 1));
        facts.listing = DirectoryListing::Unknown;
        assert_eq!(facts.outdated(&HashMap::new()).len(), 2, "without a listing, nothing is certain");
        assert_eq!((facts.children.len(), facts.missing), (0, 0));
    }

    #[test]
    fn missing_names_are_bounded() {
        let mut facts = DirectoryFacts::default();
        for number in 0..MOST_MISSING {
            assert!(facts.keep(number.to_string().as_bytes(), child(None)));
        }
        assert!(!facts.keep(b"one more", child(None)) && facts.keep(b"0", child(None)));
        assert!(facts.keep(b"0", child(Some(1))) && facts.keep(b"one more", child(None)));
        facts.drop_name(b"one more");
        facts.drop_name(b"one more");
        assert_eq!(facts.missing, MOST_MISSING - 1);
    }
}
