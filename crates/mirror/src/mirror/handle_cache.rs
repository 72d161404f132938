//! The descriptors of nodes. Directories need one so that files in them can be found. Files need one if they
//! lost the name by which they were found but have other names. The cache holds as many as the limit allows
//! and first releases those that were not used for the longest time (a clock with one hand).

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

/// The number of attempts to find a file that others keep moving.
const ATTEMPTS: usize = 16;

/// The nodes that hold a descriptor only for speed, of all volumes that share the limit of a process.
#[derive(Debug)]
pub struct Holders {
    capacity: usize,
    nodes: Mutex<VecDeque<Weak<Node>>>,
    /// The counts of open files of each user.
    pub(super) admissions: Arc<Admissions>,
}

impl Holders {
    /// Creates a cache for `capacity` descriptors.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, nodes: Mutex::default(), admissions: Admissions::of_process() })
    }

    /// Releases all descriptors that are held only for speed.
    fn give_back(&self) {
        let held = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        held.iter().filter_map(Weak::upgrade).for_each(|node| node.release());
    }

    fn remember(&self, node: &Arc<Node>) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.push_back(Arc::downgrade(node));
        // Each node gets a second chance, so two rounds are enough.
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

/// The longest wait for a name that is being moved. A user may keep a system call waiting in a directory. A
/// lookup in that directory is then served nevertheless.
const PATIENCE: Duration = Duration::from_millis(100);

/// Finds the descriptors of a volume's nodes.
#[derive(Debug)]
pub(super) struct HandleCache {
    holders: Arc<Holders>,
    moves: Mutex<Moves>,
    /// Signalled when a move is over.
    over: Condvar,
}

#[derive(Debug, Default)]
struct Moves {
    /// The moves under way: number, start, and directories.
    under_way: Vec<(u64, Instant, [NodeId; 2])>,
    last: u64,
    /// The number of moves that are over.
    moved: u64,
}

impl Moves {
    /// Returns the time until which a caller waits for the moves that concern one of these directories.
    fn deadline(&self, directories: [NodeId; 2]) -> Option<Instant> {
        let concerned = self
            .under_way
            .iter()
            .filter(|(_, _, moved)| moved.iter().any(|directory| directories.contains(directory)));
        concerned.map(|(_, since, _)| *since + PATIENCE).filter(|end| *end > Instant::now()).max()
    }
}

/// A name that is being moved or removed.
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
    /// Creates the cache of one volume.
    pub(super) fn new(holders: Arc<Holders>) -> Self {
        Self { holders, moves: Mutex::default(), over: Condvar::new() }
    }

    fn moves(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for moves in these directories, but not longer than the limit.
    fn quiet(&self, directories: [NodeId; 2]) -> MutexGuard<'_, Moves> {
        let mut moves = self.moves();
        while let Some(end) = moves.deadline(directories) {
            let rest = end.saturating_duration_since(Instant::now());
            moves = self.over.wait_timeout(moves, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        moves
    }

    /// Marks a name in one of these directories, given by their node numbers, as being moved or removed until
    /// the value is dropped.
    pub(super) fn moving(&self, directories: [NodeId; 2]) -> Moving<'_> {
        let mut moves = self.quiet(directories);
        moves.last += 1;
        let number = moves.last;
        moves.under_way.push((number, Instant::now(), directories));
        Moving { cache: self, number }
    }

    /// Looks up a name in a directory and stores the result while no name is moved there. `look` may take
    /// long. It is called again if a name was moved meanwhile, because its result may be older than the move.
    /// `keep` must not call [`Self::open`], which may wait for a move itself.
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
            // Others may move names again and again. Then the last result is as good as any.
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

    /// Returns the node's `O_PATH` descriptor and opens it through its parents if necessary. Descriptors of
    /// directories are kept.
    ///
    /// # Errors
    ///
    /// If the node cannot be found any more (`ESTALE`), or if openat(2) fails.
    pub(super) fn open(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>, Errno> {
        self.open_within(node, DEEPEST)
    }

    fn open_within(&self, node: &Arc<Node>, depth: usize) -> Result<Arc<OwnedFd>, Errno> {
        // Directories that others move outside the mirror may seem to contain each other.
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
        // The node may have lost its name a moment ago and got a descriptor instead.
        node.held().ok_or(Errno::STALE)
    }

    /// Releases all descriptors that are held only for speed, in all volumes.
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

    /// Records that the node holds a descriptor for a while.
    pub(super) fn remember(&self, node: &Arc<Node>) {
        self.holders.remember(node);
    }
}
