//! The descriptors of folders, which are needed to find what is in them: as many as the limit allows,
//! the ones that were not used for the longest time given up first (a clock with one hand).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::io::Errno;

use super::node::Node;

/// How many folders may lie in each other; the threads' stacks are made for it.
pub const DEEPEST: usize = 16_384;

/// Bounds the descriptors that nodes hold without need.
#[derive(Debug)]
pub struct HandleCache {
    capacity: usize,
    holders: Mutex<VecDeque<Weak<Node>>>,
}

impl HandleCache {
    /// A cache for as many descriptors.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, holders: Mutex::default() }
    }

    /// The node's `O_PATH` descriptor, opened through its parents where none is held; a folder's is kept.
    ///
    /// # Errors
    ///
    /// Those of [`Node::open_path`].
    pub fn open(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>, Errno> {
        self.open_within(node, DEEPEST)
    }

    fn open_within(&self, node: &Arc<Node>, depth: usize) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(handle) = node.held() {
            return Ok(handle);
        }
        // Folders that others moved about outside may seem to contain each other.
        let above = depth.checked_sub(1).ok_or(Errno::STALE)?;
        let handle = Arc::new(node.open_path(|parent| self.open_within(parent, above))?);
        if node.is_folder() {
            node.hold(&handle);
            self.remember(node);
        }
        Ok(handle)
    }

    fn remember(&self, node: &Arc<Node>) {
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
