//! Counters that are cheap enough for every request.

use std::array;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::top::TopPaths;
use super::{Figures, Usage};

/// A number that is counted. The fields of [`Figures`] describe each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Count {
    /// [`Figures::opens`].
    Opens,
    /// [`Figures::files`].
    Files,
    /// `served` of [`Figures::bytes`].
    ServedBytes,
    /// `read` of [`Figures::bytes`].
    ReadBytes,
    /// `original` of [`Figures::bytes`].
    OriginalBytes,
    /// `look_ups` of [`Figures::answered`].
    LookUps,
    /// `misses` of [`Figures::answered`].
    Misses,
    /// `attributes` of [`Figures::answered`].
    Attributes,
    /// `listings` of [`Figures::answered`].
    Listings,
    /// `link_targets` of [`Figures::answered`].
    LinkTargets,
    /// `extended_attributes` of [`Figures::answered`].
    ExtendedAttributes,
    /// `look_ups` of [`Figures::asked`].
    AskedLookUps,
    /// `attributes` of [`Figures::asked`].
    AskedAttributes,
    /// `revalidations` of [`Figures::asked`].
    AskedRevalidations,
    /// `opens` of [`Figures::asked`].
    AskedOpens,
    /// `reads` of [`Figures::asked`].
    AskedReads,
    /// `listings` of [`Figures::asked`].
    AskedListings,
    /// `link_targets` of [`Figures::asked`].
    AskedLinkTargets,
    /// `extended_attributes` of [`Figures::asked`].
    AskedExtendedAttributes,
    /// `completed` of [`Figures::fills`].
    Fills,
    /// `ahead` of [`Figures::fills`].
    FillsAhead,
    /// `joined` of [`Figures::fills`].
    FillsJoined,
    /// `torn` of [`Figures::fills`].
    FillsTorn,
    /// `young` of [`Figures::fills`].
    FillsYoung,
    /// `discarded` of [`Figures::fills`].
    FillsDiscarded,
    /// `full` of [`Figures::originals`].
    OriginalFull,
    /// `failed` of [`Figures::originals`].
    OriginalFailed,
    /// `corrupt` of [`Figures::originals`].
    OriginalCorrupt,
    /// `excluded` of [`Figures::originals`].
    OriginalExcluded,
    /// `written` of [`Figures::originals`].
    OriginalWritten,
    /// `unsteady` of [`Figures::originals`].
    OriginalUnsteady,
    /// `requests` of [`Figures::waits`].
    Waits,
    /// `nanoseconds` of [`Figures::waits`].
    WaitNanoseconds,
    /// `stalls` of [`Figures::waits`].
    Stalls,
    /// [`Figures::evictions`].
    Evictions,
    /// [`Figures::invalidations`].
    Invalidations,
    /// [`Figures::notifications`].
    Notifications,
}

impl Count {
    /// The number of counters.
    pub const NUMBER: usize = Self::Notifications as usize + 1;
}

/// The number of copies of the counters. Each thread uses one of them.
const SHARDS: usize = 8;

/// The counters of some threads, apart from those of others by the size of two cache lines.
#[derive(Debug)]
#[repr(align(128))]
struct Shard([AtomicU64; Count::NUMBER]);

/// The figures of a mirror that is being served. Any thread may count at any time, without waiting for another.
#[derive(Debug)]
pub struct Counters {
    shards: [Shard; SHARDS],
    longest: AtomicU64,
    paths: TopPaths,
}

impl Default for Counters {
    fn default() -> Self {
        let shard = |_| Shard(array::from_fn(|_| AtomicU64::new(0)));
        Self { shards: array::from_fn(shard), longest: AtomicU64::new(0), paths: TopPaths::default() }
    }
}

impl Counters {
    /// Adds one.
    pub fn count(&self, count: Count) {
        self.add(count, 1);
    }

    /// Adds a number.
    pub fn add(&self, count: Count, number: u64) {
        self.shards[own_shard()].0[count as usize].fetch_add(number, Relaxed);
    }

    /// Counts an open that is served from the cache, with the size of the file. `is_first` is set for the first such
    /// open of the file in this run.
    pub fn opened(&self, path: &[u8], size: u64, is_first: bool) {
        self.count(Count::Opens);
        self.add(Count::ServedBytes, size);
        if is_first {
            self.count(Count::Files);
        }
        self.paths.add(path, 1, size);
    }

    /// Counts bytes of a file that is cached by ranges. Its open was counted with the size 0.
    pub fn served(&self, path: &[u8], bytes: u64) {
        self.add(Count::ServedBytes, bytes);
        self.paths.add(path, 0, bytes);
    }

    /// Counts the time that a request waited for the share.
    pub fn waited(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.count(Count::Waits);
        self.add(Count::WaitNanoseconds, nanoseconds);
        self.longest.fetch_max(nanoseconds, Relaxed);
    }

    /// Returns the figures so far. `usage` is the content of the cache.
    pub fn snapshot(&self, usage: Usage) -> Figures {
        let mut figures = Figures { cache: usage, ..Figures::default() };
        for (count, value) in figures.counters() {
            *value = self.sum(count);
        }
        figures.waits.longest = self.longest.load(Relaxed);
        (figures.top_by_bytes, figures.top_by_opens) = self.paths.highest();
        figures
    }

    fn sum(&self, count: Count) -> u64 {
        self.shards.iter().fold(0, |sum, shard| sum.wrapping_add(shard.0[count as usize].load(Relaxed)))
    }
}

/// The shard of this thread: threads take them in turn.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        own.get().unwrap_or_else(|| {
            let shard = NEXT.fetch_add(1, Relaxed) % SHARDS;
            own.set(Some(shard));
            shard
        })
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn counts_of_many_threads_are_complete() {
        let counters = Counters::default();
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for number in 0..1000 {
                        counters.opened(b"/lib/libz.so.1", 10, number == 0);
                        counters.count(Count::Misses);
                        counters.waited(Duration::from_nanos(number));
                    }
                });
            }
        });
        let usage = Usage { bytes: 1, limit: 2, objects: 3 };
        let figures = counters.snapshot(usage);
        assert_eq!((figures.opens, figures.files, figures.bytes.served), (16_000, 16, 160_000));
        assert_eq!((figures.answered.misses, figures.waits.requests), (16_000, 16_000));
        assert_eq!((figures.waits.longest, figures.waits.nanoseconds), (999, 16 * 999 * 500));
        assert_eq!(figures.cache, usage);
        assert_eq!((figures.top_by_opens[0].opens, figures.top_by_bytes[0].bytes), (16_000, 160_000));
    }

    #[test]
    fn ranges_count_when_they_are_requested() {
        let counters = Counters::default();
        counters.opened(b"/big", 0, true);
        counters.served(b"/big", 4096);
        let figures = counters.snapshot(Usage::default());
        assert_eq!((figures.opens, figures.bytes.served, figures.top_by_bytes[0].bytes), (1, 4096, 4096));
    }
}
