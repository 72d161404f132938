//! The nodes that the kernel knows, by number and by identity, each with its lookup count. A reply with a
//! node adds one, and a forget request subtracts the given number. The last forgotten nodes are kept for a
//! while. Programs may have handles of them (name_to_handle_at(2)), which the kernel resolves by the number.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::Statx;
use rustix::io::Errno;

use super::attribute::{self, FileIdentity};
use super::node::Node;
use super::number::NodeId;
use super::wire::ROOT;

/// All nodes of one session.
#[derive(Debug)]
pub(super) struct NodeTable {
    inner: Mutex<KnownNodes>,
    /// The node that is never forgotten.
    pub root: Arc<Node>,
}

#[derive(Debug, Default)]
struct KnownNodes {
    by_number: HashMap<NodeId, KnownNode>,
    by_identity: HashMap<FileIdentity, NodeId>,
    last: u64,
    /// The forgotten nodes, the latest last. Some of them may be known again.
    forgotten: VecDeque<NodeId>,
    /// Whether forgotten nodes keep facts. Then more of them are kept, even those that could be mistaken for a later
    /// file with the same inode number: their facts have the stamp of the file.
    keeps_facts: bool,
}

/// The number of forgotten nodes that are kept, and the number if they have facts.
const KEPT: usize = 16_384;
const KEPT_WITH_FACTS: usize = 524_288;

#[derive(Debug)]
struct KnownNode {
    node: Arc<Node>,
    lookups: u64,
}

impl NodeTable {
    /// Creates a table that contains only the root.
    pub(super) fn new(root: Arc<Node>) -> Self {
        let mut inner = KnownNodes { last: ROOT.0, ..KnownNodes::default() };
        inner.by_identity.insert(root.identity(), ROOT);
        inner.by_number.insert(ROOT, KnownNode { node: Arc::clone(&root), lookups: 1 });
        Self { inner: Mutex::new(inner), root }
    }

    /// Keeps forgotten nodes for their facts.
    pub(super) fn keep_facts(&self) {
        self.inner().keeps_facts = true;
    }

    /// Returns all nodes.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        self.inner().by_number.values().map(|known| Arc::clone(&known.node)).collect()
    }

    /// Gives the node's file another node when it is found again.
    pub(super) fn retire(&self, node: &Node) {
        let mut inner = self.inner();
        if node.number != ROOT && inner.by_identity.get(&node.identity()) == Some(&node.number) {
            inner.by_identity.remove(&node.identity());
        }
    }

    fn inner(&self) -> MutexGuard<'_, KnownNodes> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the node of a number.
    ///
    /// # Errors
    ///
    /// If the node was forgotten (`ESTALE`).
    pub(super) fn node(&self, number: NodeId) -> Result<Arc<Node>, Errno> {
        if number == ROOT {
            return Ok(Arc::clone(&self.root));
        }
        self.inner().by_number.get(&number).map(|known| Arc::clone(&known.node)).ok_or(Errno::STALE)
    }

    /// Returns the node of a file, if the kernel knows it.
    pub(super) fn known(&self, stat: &Statx) -> Option<Arc<Node>> {
        let inner = self.inner();
        let number = inner.by_identity.get(&FileIdentity::of(stat))?;
        let known = inner.by_number.get(number).filter(|known| known.lookups > 0);
        known.map(|known| Arc::clone(&known.node))
    }

    /// Counts one lookup of the file called `name` in `parent`, and returns its node.
    pub(super) fn found(&self, stat: &Statx, parent: &Arc<Node>, name: &[u8]) -> Arc<Node> {
        let node = self.counted(stat, |number| Node::named(number, stat, parent, name));
        node.found(parent, name, attribute::has_several_names(stat));
        node
    }

    /// Counts one lookup of a node that was not found by a name.
    pub(super) fn found_again(&self, node: &Arc<Node>) {
        let mut inner = self.inner();
        if let Some(known) = inner.by_number.get_mut(&node.number) {
            known.lookups += 1;
            return;
        }
        inner.by_identity.entry(node.identity()).or_insert(node.number);
        inner.by_number.insert(node.number, KnownNode { node: Arc::clone(node), lookups: 1 });
    }

    /// Counts one lookup of a file without a name.
    pub(super) fn made_unnamed(&self, stat: &Statx, make: impl FnOnce(NodeId) -> Arc<Node>) -> Arc<Node> {
        self.counted(stat, make)
    }

    fn counted(&self, stat: &Statx, make: impl FnOnce(NodeId) -> Arc<Node>) -> Arc<Node> {
        let identity = FileIdentity::of(stat);
        let mut inner = self.inner();
        if let Some(number) = inner.by_identity.get(&identity).copied()
            && let Some(known) = inner.by_number.get_mut(&number)
            // This guards against a reused inode number if the birth time is not known.
            && known.node.kind == attribute::kind(stat)
        {
            known.lookups += 1;
            return Arc::clone(&known.node);
        }
        inner.last += 1;
        let number = NodeId(inner.last);
        let node = make(number);
        inner.by_identity.insert(identity, number);
        inner.by_number.insert(number, KnownNode { node: Arc::clone(&node), lookups: 1 });
        node
    }

    /// Gives the node the identity in these attributes.
    pub(super) fn became(&self, node: &Node, stat: &Statx) {
        let identity = FileIdentity::of(stat);
        let mut inner = self.inner();
        let old = node.identity();
        if inner.by_identity.get(&old) == Some(&node.number) {
            inner.by_identity.remove(&old);
        }
        if inner.by_number.contains_key(&node.number) {
            inner.by_identity.entry(identity).or_insert(node.number);
        }
        node.became(identity);
    }

    /// Subtracts `count` from a node's lookup count.
    pub(super) fn forget(&self, number: NodeId, count: u64) {
        let mut inner = self.inner();
        let Some(known) = inner.by_number.get_mut(&number) else { return };
        known.lookups = known.lookups.saturating_sub(count);
        if known.lookups > 0 || number == ROOT {
            return;
        }
        let node = Arc::clone(&known.node);
        // A node that cannot be distinguished from a later file with the same inode number is not kept.
        let is_certain = inner.keeps_facts || node.identity().has_birth();
        let keeps_descriptor = inner.keeps_facts && node.has_name();
        let removed = if node.has_name() && is_certain { inner.keep(number) } else { inner.remove(number) };
        drop(inner);
        // This closes descriptors and releases parents, which needs no lock.
        drop(removed);
        node.forgotten();
        if !keeps_descriptor {
            node.release();
        }
    }
}

impl KnownNodes {
    /// Keeps a forgotten node and drops the one that was forgotten first.
    fn keep(&mut self, number: NodeId) -> Option<KnownNode> {
        self.forgotten.push_back(number);
        let most = if self.keeps_facts { KEPT_WITH_FACTS } else { KEPT };
        if self.forgotten.len() <= most {
            return None;
        }
        let first = self.forgotten.pop_front()?;
        let is_unknown = self.by_number.get(&first).is_some_and(|known| known.lookups == 0);
        if is_unknown { self.remove(first) } else { None }
    }

    fn remove(&mut self, number: NodeId) -> Option<KnownNode> {
        let removed = self.by_number.remove(&number)?;
        if self.by_identity.get(&removed.node.identity()) == Some(&number) {
            self.by_identity.remove(&removed.node.identity());
        }
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(directory: &std::path::Path) -> NodeTable {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, rustix::fs::Mode::empty()).expect("the directory");
        let stat = attribute::of_file(&root).expect("its attributes");
        NodeTable::new(Node::root(ROOT, root, &stat))
    }

    fn stat(directory: &std::path::Path, name: &str) -> Statx {
        rustix::fs::statx(
            rustix::fs::CWD,
            directory.join(name),
            rustix::fs::AtFlags::empty(),
            attribute::WANTED,
        )
        .expect("its attributes")
    }

    #[test]
    fn a_file_is_one_node_until_all_its_lookups_are_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), "").expect("a file");
        std::fs::hard_link(directory.path().join("a"), directory.path().join("b")).expect("a link");
        let table = table(directory.path());
        let found = stat(directory.path(), "a");
        let one = table.found(&found, &table.root, b"a");
        let two = table.found(&stat(directory.path(), "b"), &table.root, b"b");
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(one.path(), b"/b", "the name that was used last");
        assert_eq!(
            one.path_for(1),
            b"/a",
            "a thread without a lookup used the name that the kernel remembers"
        );
        one.met(1, &table.root, b"b");
        assert_eq!((one.path_for(1), one.path_for(2)), (b"/b".to_vec(), b"/a".to_vec()));
        one.renamed((&table.root, b"a"), (&table.root, b"c"));
        assert_eq!((one.path_for(1), one.path_for(2)), (b"/b".to_vec(), b"/c".to_vec()));
        one.lost(&table.root, b"b", None);
        assert_eq!(one.path_for(1), b"/c");
        table.forget(one.number, 1);
        assert!(table.node(one.number).is_ok());
        table.forget(one.number, 1);
        assert!(table.node(one.number).is_ok(), "a program may have a handle of it");
        assert!(one.met_as(1).is_none(), "a forgotten node has no name for a thread");
        let again = table.found(&found, &table.root, b"a");
        assert!(Arc::ptr_eq(&again, &one), "the handle and the name lead to the same file");
        one.lost(&table.root, b"a", None);
        table.forget(one.number, 1);
        assert_eq!(table.node(one.number).map(|node| node.number), Err(Errno::STALE));
        assert_ne!(table.found(&found, &table.root, b"a").number, one.number, "no number is used twice");
        table.forget(ROOT, 99);
        assert!(table.node(ROOT).is_ok());
    }

    #[test]
    fn of_those_that_were_forgotten_the_last_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), "").expect("a file");
        let table = table(directory.path());
        let found = stat(directory.path(), "a");
        let first = table.found(&found, &table.root, b"a").number;
        table.forget(first, 1);
        let mut other = found;
        for number in 0..KEPT as u64 {
            // As many other files as are kept.
            other.stx_ino = found.stx_ino + 1 + number;
            table.forget(table.found(&other, &table.root, b"b").number, 1);
        }
        assert!(table.node(first).is_err());
        assert_eq!(table.inner().by_number.len(), KEPT + 1);
        assert_eq!(table.inner().by_identity.len(), KEPT + 1);
    }

    #[test]
    fn a_file_that_gets_a_name_again_needs_no_descriptor() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), "").expect("a file");
        let table = table(directory.path());
        let found = stat(directory.path(), "a");
        let node = table.found(&found, &table.root, b"a");
        let file = std::fs::File::open(directory.path().join("a")).expect("a file");
        assert!(node.lost(&table.root, b"a", Some(file.into())));
        node.release();
        assert!(node.held().is_some(), "nothing else leads to it");
        table.found(&found, &table.root, b"b");
        assert!(node.held().is_none());
    }

    #[test]
    fn an_open_file_has_a_descriptor_until_its_last_close() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), "").expect("a file");
        let table = table(directory.path());
        let node = table.found(&stat(directory.path(), "a"), &table.root, b"a");
        let file = std::fs::File::open(directory.path().join("a")).expect("a file");
        let handle = Arc::new(file.into());
        for _ in 0..2 {
            node.with_opens(Some(&handle), |opens| opens.served += 1);
        }
        for _ in 0..2 {
            assert!(node.held().is_some_and(|held| Arc::ptr_eq(&held, &handle)));
            node.with_opens(None, |opens| opens.served -= 1);
        }
        assert!(node.held().is_none());
        assert_eq!(Arc::strong_count(&handle), 1);
    }

    #[test]
    fn a_path_follows_the_directories_that_are_moved() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(directory.path().join("a/b")).expect("directories");
        let table = table(directory.path());
        let outer = table.found(&stat(directory.path(), "a"), &table.root, b"a");
        let inner = table.found(&stat(directory.path(), "a/b"), &outer, b"b");
        outer.moved(&table.root, b"c d");
        assert_eq!((inner.path(), inner.path_of(b"x")), (b"/c d/b".to_vec(), b"/c d/b/x".to_vec()));
        inner.lost(&outer, b"b", None);
        assert_eq!(inner.path(), b"/c d/b", "the last name is shown");
        assert!(inner.named_place().is_none());
    }

    #[test]
    fn directories_that_others_have_put_into_each_other_are_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(directory.path().join("a/b")).expect("directories");
        let table = table(directory.path());
        let (of_a, of_b) = (stat(directory.path(), "a"), stat(directory.path(), "a/b"));
        let a = table.found(&of_a, &table.root, b"a");
        let b = table.found(&of_b, &a, b"b");
        // Another process runs `mv a/b b; mv a b/a` outside the mirror.
        table.found(&of_a, &b, b"a");
        assert_eq!((a.path(), b.named_place().is_none()), (b"/a".to_vec(), true));
        let (weak_a, weak_b) = (Arc::downgrade(&a), Arc::downgrade(&b));
        table.forget(a.number, 2);
        table.forget(b.number, 1);
        drop((a, b, table));
        assert!(weak_a.upgrade().is_none() && weak_b.upgrade().is_none());
    }
}
