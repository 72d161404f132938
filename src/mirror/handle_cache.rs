//! The descriptors of folders, which are needed to find what is in them, and of files that lost the name they
//! were found by and have others: as many as the limit allows,
//! the ones that were not used for the longest time given up first (a clock with one hand).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use rustix::io::Errno;

use super::node::Node;

/// How many folders may lie in each other; the threads' stacks are made for it.
pub const DEEPEST: usize = 16_384;

/// How often a file is looked for that others keep moving.
const ATTEMPTS: usize = 16;

/// Bounds the descriptors that nodes hold without need.
#[derive(Debug)]
pub struct HandleCache {
    capacity: usize,
    holders: Mutex<VecDeque<Weak<Node>>>,
    /// Held for writing from before a name is moved or taken away until its node knows.
    moves: RwLock<()>,
}

impl HandleCache {
    /// A cache for as many descriptors.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, holders: Mutex::default(), moves: RwLock::default() }
    }

    /// A name is being moved or taken away, until this is dropped.
    pub fn moving(&self) -> RwLockWriteGuard<'_, ()> {
        self.moves.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// No name is moved or taken away until this is dropped, and the nodes know of all moves before. The
    /// thread must not call [`Self::open`] meanwhile, which may wait for a move itself.
    pub fn still(&self) -> RwLockReadGuard<'_, ()> {
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

    /// Gives all descriptors back that are held without need.
    pub fn give_back(&self) {
        let held = std::mem::take(&mut *self.holders.lock().unwrap_or_else(PoisonError::into_inner));
        held.iter().filter_map(Weak::upgrade).for_each(|node| node.release());
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
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.push_back(Arc::downgrade(node));
        // A second chance each: twice around ends it in any case.
        let mut steps = 2 * holders.len();
        let mut released = Vec::new();
        while holders.len() > self.capacity && steps > 0 {
            steps -= 1;
            let Some(oldest) = holders.pop_front().and_then(|holder| holder.upgrade()) else { continue };
            if oldest.used.swap(false, Ordering::Relaxed) {
                holders.push_back(Arc::downgrade(&oldest));
            } else {
                released.push(oldest);
            }
        }
        drop(holders);
        released.iter().for_each(|node| node.release());
    }
}
