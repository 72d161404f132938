//! The descriptors of folders, which are needed to find what is in them, and of files that lost the name they
//! were found by and have others: as many as the limit allows,
//! the ones that were not used for the longest time given up first (a clock with one hand).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use rustix::io::Errno;

use super::node::Node;

/// How many folders may lie in each other; the threads' stacks are made for it.
pub const DEEPEST: usize = 16_384;

/// How often a file is looked for that others keep moving.
const ATTEMPTS: usize = 16;

/// The nodes that hold descriptors without need, of all volumes that share the limit of a process.
#[derive(Debug)]
pub struct Holders {
    capacity: usize,
    nodes: Mutex<VecDeque<Weak<Node>>>,
}

impl Holders {
    /// Room for as many descriptors.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, nodes: Mutex::default() })
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

/// Finds the descriptors of a volume's nodes.
#[derive(Debug)]
pub struct HandleCache {
    holders: Arc<Holders>,
    /// Held for writing from before a name is moved or taken away until its node knows.
    moves: RwLock<()>,
    /// How many were moved or taken away.
    moved: AtomicU64,
}

/// A name is being moved or taken away.
#[derive(Debug)]
pub struct Moving<'a> {
    moved: &'a AtomicU64,
    /// Ends after the move was counted.
    _alone: RwLockWriteGuard<'a, ()>,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.moved.fetch_add(1, Ordering::Release);
    }
}

impl HandleCache {
    /// A cache of one volume.
    pub fn new(holders: Arc<Holders>) -> Self {
        Self { holders, moves: RwLock::default(), moved: AtomicU64::new(0) }
    }

    /// A name is being moved or taken away, until this is dropped.
    pub fn moving(&self) -> Moving<'_> {
        let alone = self.moves.write().unwrap_or_else(PoisonError::into_inner);
        Moving { moved: &self.moved, _alone: alone }
    }

    /// Looks at a name, and keeps in mind what it leads to while no name is moved. `look` may take its time,
    /// and looks again where a name was moved meanwhile: what it has seen may be older than that. `keep` must
    /// not call [`Self::open`], which may wait for a move itself.
    pub fn between_moves<T, U>(
        &self,
        look: impl Fn() -> Result<T, Errno>,
        keep: impl FnOnce(T) -> U,
    ) -> Result<U, Errno> {
        for _ in 0..ATTEMPTS {
            let moved = self.moved.load(Ordering::Acquire);
            let seen = look()?;
            let still = self.still();
            if self.moved.load(Ordering::Acquire) == moved {
                return Ok(keep(seen));
            }
            drop(still);
        }
        let _still = self.still();
        Ok(keep(look()?))
    }

    fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.moves.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the nodes know of the moves that were under way.
    fn settle(&self) {
        drop(self.still());
    }

    /// The node's `O_PATH` descriptor, opened through its parents where none is held; a folder's is kept.
    ///
    /// # Errors
    ///
    /// `ESTALE` where it is not to be found any more, and those of openat(2).
    pub fn open(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>, Errno> {
        self.open_within(node, DEEPEST)
    }

    fn open_within(&self, node: &Arc<Node>, depth: usize) -> Result<Arc<OwnedFd>, Errno> {
        // Folders that others moved about outside may seem to contain each other.
        let above = depth.checked_sub(1).ok_or(Errno::STALE)?;
        for _ in 0..ATTEMPTS {
            if let Some(handle) = node.held() {
                return Ok(handle);
            }
            let Some((parent, name)) = node.named_place() else { break };
            let folder = self.open_within(&parent, above)?;
            match node.open_in(&folder, &name) {
                Ok(file) => return Ok(self.keep(node, file)),
                Err(Errno::STALE) => self.settle(),
                Err(error) => return Err(error),
            }
        }
        // It may have lost its name a moment ago, and got a descriptor instead.
        node.held().ok_or(Errno::STALE)
    }

    /// Gives all descriptors back that are held without need, in all volumes.
    pub fn give_back(&self) {
        self.holders.give_back();
    }

    fn keep(&self, node: &Arc<Node>, file: OwnedFd) -> Arc<OwnedFd> {
        let handle = Arc::new(file);
        if node.is_folder() {
            node.hold(&handle);
            self.remember(node);
        }
        handle
    }

    /// The node has a descriptor that is wanted for a while.
    pub fn remember(&self, node: &Arc<Node>) {
        self.holders.remember(node);
    }
}
