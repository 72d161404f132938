//! The cache of one share: the rules and contents that its mirror asks for.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use globset::GlobSet;

use super::ahead::ReadAhead;
use super::contents::{ChunkTable, Contents, FileKey, Known};
use super::figures::{Count, Counters};
use super::foresee::Foresee;
use super::index::{self, Index, VolumeKey};
use crate::mirror::{
    Cache, CacheEvent, CachedFile, Coherence, Found, KeptFact, Listed, Listing, Question, Recalled, Stamp,
};

/// The parts that the caches of all shares of a run have in common.
pub(super) struct SharedParts {
    pub contents: Arc<Contents>,
    pub counters: Arc<Counters>,
    pub coherence: Coherence,
    pub exclude: Option<GlobSet>,
    /// The facts of earlier runs, if they are kept.
    pub index: Option<RwLock<Index>>,
    pub foresee: Option<Arc<dyn Foresee>>,
    pub ahead: OnceLock<Arc<ReadAhead>>,
}

/// The cache of one share.
pub(super) struct ShareCache {
    parts: Arc<SharedParts>,
    number: u32,
    volume: VolumeKey,
}

impl ShareCache {
    /// Creates the cache of a share. `number` is unique in the run.
    pub(super) fn new(parts: Arc<SharedParts>, number: u32, volume: VolumeKey) -> Self {
        Self { parts, number, volume }
    }

    /// Returns the identity of the share.
    pub(super) fn volume(&self) -> &VolumeKey {
        &self.volume
    }

    fn key(&self, stamp: &Stamp) -> FileKey {
        FileKey { volume: self.number, inode: stamp.inode }
    }

    fn find_in_index(&self, stamp: &Stamp) -> Option<index::Facts> {
        let index = self.parts.index.as_ref()?.read().unwrap_or_else(PoisonError::into_inner);
        index.find(&self.volume, stamp)
    }

    /// Lets the contents know what an earlier run has kept about a file.
    fn learn_content(&self, key: FileKey, stamp: &Stamp) {
        if self.parts.index.is_none() || self.parts.contents.knows(key) {
            return;
        }
        let known = match self.find_in_index(stamp).and_then(|facts| facts.content) {
            Some(index::Content::Whole(digest)) => Some(Known::Whole(digest)),
            Some(index::Content::Chunks { size, digests }) if size == super::contents::CHUNK => {
                ChunkTable::with(stamp.size, &digests).map(|table| Known::Chunks(Arc::new(table)))
            }
            _ => None,
        };
        if let Some(known) = known {
            self.parts.contents.learn(key, *stamp, known);
        }
    }

    /// Records the contents of this share for the next run.
    pub(super) fn record_contents(&self, index: &mut Index) {
        for (key, stamp, known) in self.parts.contents.all() {
            if key.volume != self.number || stamp.is_young(crate::mirror::Moment::now()) {
                continue;
            }
            let content = match known {
                Known::Whole(digest) => index::Content::Whole(digest),
                Known::Chunks(table) => {
                    index::Content::Chunks { size: super::contents::CHUNK, digests: table.digests() }
                }
            };
            let facts = index::Facts { content: Some(content), ..index::Facts::default() };
            index.record(&self.volume, &stamp, facts);
        }
    }
}

impl Cache for ShareCache {
    fn coherence(&self) -> Coherence {
        self.parts.coherence
    }

    fn leaves_out(&self, path: &[u8]) -> bool {
        let Some(exclude) = &self.parts.exclude else { return false };
        let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(path);
        exclude.is_match(path)
    }

    fn content(&self, file: &CachedFile<'_>) -> Option<Found> {
        let stamp = Stamp::of(file.stat);
        let key = self.key(&stamp);
        self.learn_content(key, &stamp);
        self.parts.contents.find(key, file, &|content| {
            let (Some(foresee), Some(ahead)) = (&self.parts.foresee, self.parts.ahead.get()) else { return };
            ahead.wish(foresee.after(file.path, content));
        })
    }

    fn recall(&self, stamp: &Stamp) -> Recalled {
        let Some(facts) = self.find_in_index(stamp) else { return Recalled::default() };
        let listing = facts.listing.and_then(|names| {
            let entries = names.iter().map(|entry| Listed {
                name: &entry.name,
                inode: entry.inode,
                kind: entry.kind.as_raw_mode(),
            });
            Listing::new(entries)
        });
        Recalled {
            listing: listing.map(Arc::new),
            target: facts.target.map(Into::into),
            attributes: facts
                .attributes
                .into_iter()
                .map(|attribute| (attribute.name.into(), attribute.value.map(Into::into)))
                .collect(),
        }
    }

    fn keep(&self, stamp: &Stamp, fact: KeptFact<'_>) {
        let Some(index) = &self.parts.index else { return };
        if stamp.is_young(crate::mirror::Moment::now()) {
            return;
        }
        let mut facts = index::Facts::default();
        match fact {
            KeptFact::Listing(listing) => {
                let entries = listing.entries().filter(|entry| !matches!(entry.name, b"." | b".."));
                let named = entries.map(|entry| index::ListedName {
                    name: entry.name.to_vec(),
                    inode: entry.inode,
                    kind: rustix::fs::FileType::from_raw_mode(entry.kind),
                });
                facts.listing = Some(named.collect());
            }
            KeptFact::Target(target) => facts.target = Some(target.to_vec()),
            KeptFact::Attribute(name, value) => facts
                .attributes
                .push(index::ExtendedAttribute { name: name.to_vec(), value: value.map(<[u8]>::to_vec) }),
        }
        index.write().unwrap_or_else(PoisonError::into_inner).record(&self.volume, stamp, facts);
    }

    fn count(&self, event: CacheEvent) {
        let counters = &self.parts.counters;
        match event {
            CacheEvent::Answered(question) => {
                answered(question).into_iter().for_each(|count| counters.count(count))
            }
            CacheEvent::Asked(question) => {
                asked(question).into_iter().for_each(|count| counters.count(count))
            }
            CacheEvent::Missed => counters.count(Count::Misses),
            CacheEvent::Changed => counters.count(Count::Invalidations),
            CacheEvent::Expired(names) => counters.add(Count::Notifications, names),
            CacheEvent::Stalled => counters.count(Count::Stalls),
            CacheEvent::OpenedWritten => counters.count(Count::OriginalWritten),
            CacheEvent::OpenedLeftOut => counters.count(Count::OriginalExcluded),
            CacheEvent::ReadOriginal(bytes) => {
                counters.count(Count::AskedReads);
                counters.add(Count::OriginalBytes, bytes);
            }
        }
    }
}

fn answered(question: Question) -> Option<Count> {
    Some(match question {
        Question::Name => Count::LookUps,
        Question::Attributes => Count::Attributes,
        Question::Link => Count::LinkTargets,
        Question::Listing => Count::Listings,
        Question::ExtendedAttribute => Count::ExtendedAttributes,
        Question::Confirmation | Question::Permission => return None,
    })
}

fn asked(question: Question) -> Option<Count> {
    Some(match question {
        Question::Name => Count::AskedLookUps,
        Question::Attributes => Count::AskedAttributes,
        Question::Confirmation => Count::AskedRevalidations,
        Question::Link => Count::AskedLinkTargets,
        Question::Listing => Count::AskedListings,
        Question::ExtendedAttribute => Count::AskedExtendedAttributes,
        Question::Permission => Count::AskedAttributes,
    })
}
