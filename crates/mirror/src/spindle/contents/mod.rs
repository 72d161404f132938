//! The contents of files: each file is read from its share once, whatever the number of programs that open it.
//!
//! A file is *filled*: read into an object of the store. Its attributes are read again afterwards. If they differ, the
//! copy may mix two versions, and the file is read once more. Files above [`Contents::largest_whole`] are filled in
//! chunks when the chunks are read.
//!
//! If a fill is not possible, the original is read. Nothing here ends a run.

mod chunked;
mod fill;
mod flight;
mod whole;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::figures::{Count, Counters};
use super::store::{Digest, Refusal, Store};
use crate::mirror::{CachedFile, Coherence, Content as _, Found, Moment, Stamp};
use chunked::Chunked;
pub(super) use chunked::{CHUNK, ChunkTable};
use fill::{Filled, fill};
use flight::{FillFlights, FillResult};
use whole::Whole;

/// The largest file in bytes that is read as a whole, if the limit of the cache allows it.
const LARGEST_WHOLE: u64 = 64 << 20;

/// A file that fills this part of the cache is read in chunks.
const SHARE_OF_LIMIT: u64 = 16;

/// A file, by the number of its volume and its inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    pub volume: u32,
    pub inode: u64,
}

/// The contents that are known.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// The whole content.
    Whole(Digest),
    /// Parts of the content.
    Chunks(Arc<ChunkTable>),
}

/// A version of a file with its content.
#[derive(Clone)]
struct Version {
    stamp: Stamp,
    known: Known,
    /// The whole content, while it is open. All opens share one descriptor.
    open: Weak<Whole>,
    /// Whether it was examined for the files that are needed next.
    was_examined: bool,
}

impl Version {
    fn new(stamp: Stamp, known: Known) -> Self {
        Self { stamp, known, open: Weak::new(), was_examined: false }
    }
}

/// The contents of all volumes of a run.
pub(super) struct Contents {
    store: Option<Store>,
    coherence: Coherence,
    versions: Mutex<HashMap<FileKey, Version>>,
    /// The files that programs have opened.
    opened: Mutex<HashSet<FileKey>>,
    flights: FillFlights,
    pub counters: Arc<Counters>,
}

impl Contents {
    /// Creates contents in a store. Without a store, all originals are read.
    pub(super) fn new(store: Option<Store>, coherence: Coherence, counters: Arc<Counters>) -> Arc<Self> {
        let (versions, opened, flights) = (Mutex::default(), Mutex::default(), FillFlights::default());
        Arc::new(Self { store, coherence, versions, opened, flights, counters })
    }

    fn versions(&self) -> MutexGuard<'_, HashMap<FileKey, Version>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store, if there is one.
    pub(super) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Takes over what an earlier run knows about a file with this stamp.
    pub(super) fn learn(&self, key: FileKey, stamp: Stamp, known: Known) {
        self.versions().entry(key).or_insert(Version::new(stamp, known));
    }

    /// Whether the content of a file was known in this run.
    pub(super) fn knows(&self, key: FileKey) -> bool {
        self.versions().contains_key(&key)
    }

    /// Returns all known contents, for the next run.
    pub(super) fn all(&self) -> Vec<(FileKey, Stamp, Known)> {
        let versions = self.versions();
        versions.iter().map(|(key, version)| (*key, version.stamp, version.known.clone())).collect()
    }

    /// The largest file that is read as a whole, in bytes.
    fn largest_whole(store: &Store) -> u64 {
        LARGEST_WHOLE.min(store.usage().limit / SHARE_OF_LIMIT)
    }

    /// Returns the content of a file. `examine` is called with the whole content of each version once.
    pub(super) fn find(
        self: &Arc<Self>,
        key: FileKey,
        file: &CachedFile<'_>,
        examine: &dyn Fn(&File),
    ) -> Option<Found> {
        let store = self.store.as_ref()?;
        let stamp = Stamp::of(file.stat);
        let known = self.known(store, key, &stamp, file);
        let found = known.or_else(|| {
            if stamp.size > Self::largest_whole(store) {
                self.begin_chunks(key, &stamp, file)
            } else {
                self.fill_once(store, key, file)
            }
        })?;
        self.count_open(key, file, &found);
        if let Some(content) = found.content.whole()
            && self.is_first_look(key)
        {
            examine(content);
        }
        Some(found)
    }

    /// Whether this version is examined for the first time. Versions that are not kept are not examined.
    fn is_first_look(&self, key: FileKey) -> bool {
        let mut versions = self.versions();
        versions.get_mut(&key).is_some_and(|version| !std::mem::replace(&mut version.was_examined, true))
    }

    fn count_open(&self, key: FileKey, file: &CachedFile<'_>, found: &Found) {
        if file.is_ahead {
            return;
        }
        let is_first = self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        let size = if found.content.whole().is_some() { found.content.stamp().size } else { 0 };
        self.counters.opened(file.path, size, is_first);
    }

    /// Returns the content of this version, if it is in the store.
    fn known(
        self: &Arc<Self>,
        store: &Store,
        key: FileKey,
        stamp: &Stamp,
        file: &CachedFile<'_>,
    ) -> Option<Found> {
        let version = self.versions().get(&key).filter(|version| version.stamp.is_same(stamp)).cloned()?;
        match version.known.clone() {
            Known::Whole(digest) => self.known_whole(store, key, &version, &digest).map(|whole| found(whole)),
            Known::Chunks(table) => {
                let chunked = Chunked::new(self, table, *stamp, file)?;
                Some(found(Arc::new(chunked)))
            }
        }
    }

    fn known_whole(
        &self,
        store: &Store,
        key: FileKey,
        version: &Version,
        digest: &Digest,
    ) -> Option<Arc<Whole>> {
        if let Some(open) = version.open.upgrade().filter(|open| open.is_intact()) {
            return Some(open);
        }
        let Some(object) = store.get(digest) else {
            // It was evicted or damaged, so the file is filled again.
            self.versions().remove(&key);
            return None;
        };
        Some(self.opened_whole(key, Whole::new(object, version.stamp)?))
    }

    /// Lets later opens of this version share the descriptor.
    fn opened_whole(&self, key: FileKey, whole: Whole) -> Arc<Whole> {
        let whole = Arc::new(whole);
        if let Some(version) = self.versions().get_mut(&key)
            && version.stamp.is_same(&whole.stamp())
        {
            version.open = Arc::downgrade(&whole);
        }
        whole
    }

    /// Returns the whole content if another thread has filled it since this thread looked.
    fn filled_since(&self, store: &Store, key: FileKey, stamp: &Stamp) -> Option<Arc<Whole>> {
        let version = self.versions().get(&key).filter(|version| version.stamp.is_same(stamp)).cloned()?;
        match version.known {
            Known::Whole(digest) => self.known_whole(store, key, &version, &digest),
            Known::Chunks(_) => None,
        }
    }

    fn begin_chunks(self: &Arc<Self>, key: FileKey, stamp: &Stamp, file: &CachedFile<'_>) -> Option<Found> {
        if file.is_ahead {
            return None;
        }
        if !self.is_settled(stamp) {
            self.counters.count(Count::FillsYoung);
            return None;
        }
        let table = Arc::new(ChunkTable::new(stamp.size));
        let version = Version::new(*stamp, Known::Chunks(Arc::clone(&table)));
        let table = match self.versions().entry(key) {
            // Another thread has begun it.
            std::collections::hash_map::Entry::Occupied(entry) if entry.get().stamp.is_same(stamp) => {
                match &entry.get().known {
                    Known::Chunks(known) => Arc::clone(known),
                    Known::Whole(_) => table,
                }
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                entry.insert(version);
                table
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(version);
                table
            }
        };
        Some(found(Arc::new(Chunked::new(self, table, *stamp, file)?)))
    }

    /// Fills a file, or waits for the thread that is filling it.
    fn fill_once(self: &Arc<Self>, store: &Store, key: FileKey, file: &CachedFile<'_>) -> Option<Found> {
        let (begun, stamp) = (Instant::now(), Stamp::of(file.stat));
        let mut is_read = false;
        let (whole, stat) = loop {
            let waited = Instant::now();
            let (result, joined) = self.flights.fill(key, || {
                if let Some(whole) = self.filled_since(store, key, &stamp) {
                    return Some((whole, None));
                }
                is_read = true;
                let result = fill(self, store, file);
                self.keep(key, result)
            });
            self.counters.add(Count::FillsJoined, u64::from(joined.is_some()));
            if !file.is_ahead {
                self.counters.waited(waited.elapsed());
            }
            match (result?, joined) {
                // A thread that began before the file got these attributes may have read an earlier version.
                ((whole, _), Some(other)) if other < begun => {
                    if whole.stamp().is_same(&stamp) {
                        break (whole, None);
                    }
                }
                (result, _) => break result,
            }
        };
        if is_read {
            self.counters.add(Count::FillsAhead, u64::from(file.is_ahead));
        }
        Some(Found { content: whole, stat })
    }

    /// Keeps what was filled, unless it is too young to be recognised again.
    fn keep(&self, key: FileKey, result: Filled) -> FillResult {
        match result {
            Filled::Kept(object, stat) => {
                let stamp = Stamp::of(&stat);
                let known = Known::Whole(object.digest());
                self.versions().insert(key, Version::new(stamp, known));
                self.counters.count(Count::Fills);
                Some((self.opened_whole(key, Whole::new(object, stamp)?), Some(stat)))
            }
            Filled::Private(object, stat) => {
                self.counters.count(Count::FillsYoung);
                Some((Arc::new(Whole::new(object, Stamp::of(&stat))?), Some(stat)))
            }
            Filled::Refused(reason) => {
                self.counters.count(reason);
                None
            }
        }
    }

    /// Whether a later change of the file will be noticed. If nothing is ever confirmed, that does not matter.
    fn is_settled(&self, stamp: &Stamp) -> bool {
        self.coherence == Coherence::Session || !stamp.is_young(Moment::now())
    }
}

fn found(content: Arc<dyn crate::mirror::Content>) -> Found {
    Found { content, stat: None }
}

/// Returns the counter for a refusal of the store.
fn reason(refusal: &Refusal) -> Count {
    match refusal {
        Refusal::Full => Count::OriginalFull,
        Refusal::Failed(_) => Count::OriginalFailed,
    }
}

/// Opens the original for reading.
fn open(file: &CachedFile<'_>) -> std::io::Result<File> {
    reopen(&*(file.original)()?)
}

/// Opens the file behind an `O_PATH` descriptor for reading.
fn reopen(original: &std::os::fd::OwnedFd) -> std::io::Result<File> {
    use std::os::fd::AsRawFd as _;
    File::open(format!("/proc/self/fd/{}", original.as_raw_fd()))
}
