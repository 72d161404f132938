//! The descriptors of directories, which are needed to find what is in them, and of files that lost the name they
//! were found by and have others: as many as the limit allows,
//! the ones that were not used for the longest time given up first (a clock with one hand).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::admission::Admissions;
use super::long_path::DEEPEST;
use super::node::Node;
use super::number::NodeId;

/// How often a file is looked for that others keep moving.
const ATTEMPTS: usize = 16;

/// The nodes that hold descriptors without need, of all volumes that share the limit of a process.
#[derive(Debug)]
pub struct Holders {
    capacity: usize,
    nodes: Mutex<VecDeque<Weak<Node>>>,
    /// The counts of open files of each user.
    pub(super) admissions: Arc<Admissions>,
}

impl Holders {
    /// Room for as many descriptors.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, nodes: Mutex::default(), admissions: Admissions::of_process() })
    }

    /// Gives all descriptors back that are held without need.
    fn give_back(&self) {
        let held = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        held.iter().filter_map(Weak::upgrade).for_each(|node| node.release());
    }

    fn remember(&self, node: &Arc<Node>) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.push_back(Arc::downgrade(node));
        // A second chance each: twice around ends it in any case.
        let mut steps = 2 * nodes.len();
        let mut released = Vec::new();
        while nodes.len() > self.capacity && steps > 0 {
            steps -= 1;
            let Some(oldest) = nodes.pop_front().and_then(|node| node.upgrade()) else { continue };
            if oldest.used.swap(false, Ordering::Relaxed) {
                nodes.push_back(Arc::downgrade(&oldest));
            } else {
                released.push(oldest);
            }
        }
        drop(nodes);
        released.iter().for_each(|node| node.release());
    }
}

/// For how long a name is waited for that is being moved. A user may keep a system call waiting in a directory; who looks
/// for something there is served all the same.
const PATIENCE: Duration = Duration::from_millis(100);

/// Finds the descriptors of a volume's nodes.
#[derive(Debug)]
pub(super) struct HandleCache {
    holders: Arc<Holders>,
    moves: Mutex<Moves>,
    /// A move is over.
    over: Condvar,
}

#[derive(Debug, Default)]
struct Moves {
    /// Those that are under way: when they began, and in which directories.
    under_way: Vec<(u64, Instant, [NodeId; 2])>,
    last: u64,
    /// How many are over.
    moved: u64,
}

impl Moves {
    /// When the first of those ends to be waited for that concern one of these directories.
    fn deadline(&self, directories: [NodeId; 2]) -> Option<Instant> {
        let concerned = self
            .under_way
            .iter()
            .filter(|(_, _, moved)| moved.iter().any(|directory| directories.contains(directory)));
        concerned.map(|(_, since, _)| *since + PATIENCE).filter(|end| *end > Instant::now()).max()
    }
}

/// A name is being moved or taken away.
#[derive(Debug)]
pub(super) struct Moving<'a> {
    cache: &'a HandleCache,
    number: u64,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let mut moves = self.cache.moves();
        moves.under_way.retain(|(number, ..)| *number != self.number);
        moves.moved += 1;
        drop(moves);
        self.cache.over.notify_all();
    }
}

impl HandleCache {
    /// A cache of one volume.
    pub(super) fn new(holders: Arc<Holders>) -> Self {
        Self { holders, moves: Mutex::default(), over: Condvar::new() }
    }

    fn moves(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for moves in these directories, as long as that is worth it.
    fn quiet(&self, directories: [NodeId; 2]) -> MutexGuard<'_, Moves> {
        let mut moves = self.moves();
        while let Some(end) = moves.deadline(directories) {
            let rest = end.saturating_duration_since(Instant::now());
            moves = self.over.wait_timeout(moves, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        moves
    }

    /// A name in one of these directories, by the numbers of their nodes, is being moved or taken away, until this is
    /// dropped.
    pub(super) fn moving(&self, directories: [NodeId; 2]) -> Moving<'_> {
        let mut moves = self.quiet(directories);
        moves.last += 1;
        let number = moves.last;
        moves.under_way.push((number, Instant::now(), directories));
        Moving { cache: self, number }
    }

    /// Looks at a name in a directory, and keeps in mind what it leads to while no name is moved there. `look` may take
    /// its time, and looks again where a name was moved meanwhile: what it has seen may be older than that. `keep` must
    /// not call [`Self::open`], which may wait for a move itself.
    pub(super) fn between_moves<T, U>(
        &self,
        directory: NodeId,
        look: impl Fn() -> Result<T, Errno>,
        keep: impl FnOnce(T) -> U,
    ) -> Result<U, Errno> {
        for attempt in 1..=ATTEMPTS {
            let moved = self.moves().moved;
            let seen = look()?;
            let still = self.quiet([directory; 2]);
            // Others may move names again and again; then what was seen last is as good as any.
            if still.moved == moved || attempt == ATTEMPTS {
                return Ok(keep(seen));
            }
        }
        Err(Errno::STALE)
    }

    /// Waits until the nodes know of the moves that were under way in a directory.
    fn settle(&self, directory: NodeId) {
        drop(self.quiet([directory; 2]));
    }

    /// The node's `O_PATH` descriptor, opened through its parents where none is held; a directory's is kept.
    ///
    /// # Errors
    ///
    /// `ESTALE` where it is not to be found any more, and those of openat(2).
    pub(super) fn open(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>, Errno> {
        self.open_within(node, DEEPEST)
    }

    fn open_within(&self, node: &Arc<Node>, depth: usize) -> Result<Arc<OwnedFd>, Errno> {
        // Directories that others moved about outside may seem to contain each other.
        let above = depth.checked_sub(1).ok_or(Errno::STALE)?;
        for _ in 0..ATTEMPTS {
            if let Some(handle) = node.held() {
                return Ok(handle);
            }
            let Some((parent, name)) = node.named_place() else { break };
            let directory = self.open_within(&parent, above)?;
            match node.open_in(&directory, &name) {
                Ok(file) => return Ok(self.keep(node, file)),
                Err(Errno::STALE) => self.settle(parent.number),
                Err(error) => return Err(error),
            }
        }
        // It may have lost its name a moment ago, and got a descriptor instead.
        node.held().ok_or(Errno::STALE)
    }

    /// Gives all descriptors back that are held without need, in all volumes.
    pub(super) fn give_back(&self) {
        self.holders.give_back();
    }

    fn keep(&self, node: &Arc<Node>, file: OwnedFd) -> Arc<OwnedFd> {
        let handle = Arc::new(file);
        if node.is_directory() {
            node.hold(&handle);
            self.remember(node);
        }
        handle
    }

    /// The node has a descriptor that is wanted for a while.
    pub(super) fn remember(&self, node: &Arc<Node>) {
        self.holders.remember(node);
    }
}
