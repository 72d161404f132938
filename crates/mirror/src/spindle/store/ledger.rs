//! The accounts of the store: its objects, their use, and the bytes on the disk. No I/O.
//!
//! Every byte is counted from before it is written until after it is freed:
//! - *used*: all bytes, including reservations and files that have lost their name;
//! - *idle*: the bytes of objects that nobody holds. They can be evicted;
//! - *leaving*: the bytes of evicted objects that the file system has not freed yet.

use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use rustix::fs::Statx;

use super::Usage;
use super::digest::Digest;

/// The attributes of a file of the cache. A change of its content changes them, unless it comes within the same step of
/// the kernel's clock as the change before: at most 10 ms, and since Linux 6.13 never after they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileMark {
    inode: u64,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

impl FileMark {
    pub(super) fn of(stat: &Statx) -> Self {
        Self {
            inode: stat.stx_ino,
            size: stat.stx_size,
            mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            ctime: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        }
    }
}

/// One object that can be found by its digest. `T` is its handle.
#[derive(Debug)]
struct Entry<T> {
    /// The size of the content.
    size: u64,
    /// The attributes of its file when the content was last known to be right. `None` if an earlier run wrote it.
    mark: Option<FileMark>,
    holding: Holding<T>,
}

#[derive(Debug)]
enum Holding<T> {
    /// Nobody holds the object. Its place in the order of eviction.
    Idle(u64),
    /// The handle with this number is in use, or is just being dropped.
    Held(u64, Weak<T>),
}

/// The outcome of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reservation {
    /// The bytes are reserved.
    Made,
    /// This object must be removed first. It is not in the ledger any more.
    AfterEvicting(Digest, u64),
    /// Another thread is freeing the bytes.
    AfterOthers,
    /// The objects that are in use leave too little.
    Refused,
}

#[derive(Debug)]
pub(super) struct Ledger<T> {
    limit: u64,
    /// The block size of the file system, a power of 2.
    block: u64,
    used: u64,
    idle: u64,
    leaving: u64,
    entries: HashMap<Digest, Entry<T>>,
    /// The idle objects, the least recently used first.
    order: BTreeMap<u64, Digest>,
    /// Numbers handles and places in the order.
    count: u64,
    evictions: u64,
    corrupt: u64,
    closed: bool,
}

impl<T> Ledger<T> {
    pub(super) fn new(limit: u64, block: u64) -> Self {
        Self {
            limit,
            block: block.max(1).next_power_of_two(),
            used: 0,
            idle: 0,
            leaving: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            count: 0,
            evictions: 0,
            corrupt: 0,
            closed: false,
        }
    }

    /// The space that a file of this size takes on the disk.
    fn space(&self, size: u64) -> u64 {
        size.checked_next_multiple_of(self.block).unwrap_or(u64::MAX)
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Reserves space for a file, or returns the condition.
    pub(super) fn reserve(&mut self, size: u64) -> Reservation {
        let space = self.space(size);
        let room = |used: u64| used.checked_add(space).is_some_and(|total| total <= self.limit);
        if self.closed || !room(self.used - self.idle - self.leaving) {
            return Reservation::Refused;
        }
        if room(self.used) {
            self.used += space;
            return Reservation::Made;
        }
        if !room(self.used - self.leaving)
            && let Some((digest, size)) = self.evict()
        {
            return Reservation::AfterEvicting(digest, size);
        }
        Reservation::AfterOthers
    }

    /// Removes the least recently used object. Its bytes are leaving.
    fn evict(&mut self) -> Option<(Digest, u64)> {
        let (_, digest) = self.order.pop_first()?;
        let size = self.entries.remove(&digest).map_or(0, |entry| entry.size);
        self.idle -= self.space(size);
        self.leaving += self.space(size);
        self.evictions += 1;
        Some((digest, size))
    }

    /// Returns the least recently used object if the objects exceed the limit, and removes it.
    pub(super) fn evict_above_limit(&mut self) -> Option<(Digest, u64)> {
        if self.used - self.leaving > self.limit { self.evict() } else { None }
    }

    /// Notes that the file system has freed an evicted object.
    pub(super) fn evicted(&mut self, size: u64) {
        self.leaving -= self.space(size);
        self.free(size);
    }

    /// Takes back an eviction, because the file could not be removed.
    pub(super) fn not_evicted(&mut self, digest: Digest, size: u64) {
        self.leaving -= self.space(size);
        self.evictions -= 1;
        // The file is still complete, but a newer one may have replaced it meanwhile.
        self.used -= self.space(size);
        self.take_over(digest, size);
    }

    /// Frees the space of a file without a name.
    pub(super) fn free(&mut self, size: u64) {
        self.used -= self.space(size);
    }

    /// Gives back the part of a reservation that is not needed.
    pub(super) fn shrink(&mut self, from: u64, to: u64) {
        self.used -= self.space(from) - self.space(to);
    }

    /// Adds an idle object that an earlier run left. It becomes the most recently used one. Returns whether it is
    /// counted now: no sum of sizes may overflow.
    pub(super) fn take_over(&mut self, digest: Digest, size: u64) -> bool {
        let (number, space) = (self.next(), self.space(size));
        if space > self.limit || self.used.checked_add(space).is_none() {
            return false;
        }
        if let Place::Vacant(place) = self.entries.entry(digest) {
            place.insert(Entry { size, mark: None, holding: Holding::Idle(number) });
            self.order.insert(number, digest);
            self.idle += space;
            self.used += space;
        }
        true
    }

    /// Whether an object has this digest.
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.entries.contains_key(digest)
    }

    /// Adds a new object of reserved size. Its handle is made with a number.
    pub(super) fn add(
        &mut self,
        digest: Digest,
        size: u64,
        mark: Option<FileMark>,
        handle: impl FnOnce(u64) -> Arc<T>,
    ) -> Arc<T> {
        let number = self.next();
        let handle = handle(number);
        let holding = Holding::Held(number, Arc::downgrade(&handle));
        self.entries.insert(digest, Entry { size, mark, holding });
        handle
    }

    /// Finds an object and holds it.
    pub(super) fn hold(
        &mut self,
        digest: &Digest,
        handle: impl FnOnce(u64, u64) -> Arc<T>,
    ) -> Option<Arc<T>> {
        if self.closed {
            return None;
        }
        self.count += 1;
        let (number, block) = (self.count, self.block);
        let entry = self.entries.get_mut(digest)?;
        match &entry.holding {
            Holding::Held(_, weak) => {
                if let Some(held) = weak.upgrade() {
                    return Some(held);
                }
            }
            Holding::Idle(place) => {
                self.order.remove(place);
                self.idle -= entry.size.next_multiple_of(block);
            }
        }
        let handle = handle(number, entry.size);
        entry.holding = Holding::Held(number, Arc::downgrade(&handle));
        Some(handle)
    }

    /// Notes that a handle was dropped. Its object becomes idle, unless it has another handle already.
    pub(super) fn release(&mut self, digest: &Digest, number: u64) {
        let place = self.next();
        let Some(entry) = self.entries.get_mut(digest) else { return };
        if matches!(entry.holding, Holding::Held(current, _) if current == number) {
            entry.holding = Holding::Idle(place);
            self.order.insert(place, *digest);
            self.idle += entry.size.next_multiple_of(self.block);
        }
    }

    /// Forgets an object that is held under this number. Its bytes count until [`Ledger::free`]. Returns whether it
    /// was known.
    pub(super) fn forget(&mut self, digest: &Digest, number: u64) -> bool {
        let Place::Occupied(entry) = self.entries.entry(*digest) else { return false };
        let is_own = matches!(entry.get().holding, Holding::Held(current, _) if current == number);
        if is_own {
            entry.remove();
        }
        is_own
    }

    /// The attributes of an object's file when its content was last known to be right.
    pub(super) fn mark(&self, digest: &Digest) -> Option<FileMark> {
        self.entries.get(digest)?.mark
    }

    /// Sets those attributes.
    pub(super) fn set_mark(&mut self, digest: &Digest, mark: FileMark) {
        if let Some(entry) = self.entries.get_mut(digest) {
            entry.mark = Some(mark);
        }
    }

    /// Counts a damaged object.
    pub(super) fn count_corrupt(&mut self) {
        self.corrupt += 1;
    }

    /// Refuses everything from now on. The objects are not found any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            bytes: self.used,
            limit: self.limit,
            objects: self.entries.len(),
            evictions: self.evictions,
            corrupt: self.corrupt,
        }
    }
}
