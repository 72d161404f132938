//! The figures of a run: the document that reports what the cache has served and what it has asked of the share.
//!
//! [`Counters`] collects them while the mirror serves, and [`Counters::snapshot`] makes the document. A server passes
//! it as JSON to its supervisor and to the clients of a session.

mod counter;
mod top;

use std::time::Duration;

use compat_trace::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use counter::{Count, Counters};

/// The number of paths in each list of a [`Figures`].
pub const TOP: usize = 10;

/// The figures of a run or a session. Numbers count from the start of its mirror. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Figures {
    /// Opens for reading that were served from the cache.
    pub opens: u64,
    /// Different files among them.
    pub files: u64,
    /// Bytes by source.
    pub bytes: Bytes,
    /// Requests that were answered without asking the share.
    pub answered: Answered,
    /// Questions that were asked of the share.
    pub asked: Asked,
    /// Files and ranges that were read from the share into the cache.
    pub fills: Fills,
    /// Opens for which the original was read, by reason.
    pub originals: Originals,
    /// The time that requests waited for the share.
    pub waits: Waits,
    /// Objects that were removed from the cache to make room.
    pub evictions: u64,
    /// Files and directories whose facts were dropped because they had changed.
    pub invalidations: u64,
    /// Notifications to the kernel about dropped names and attributes.
    pub notifications: u64,
    /// The content of the cache at the end.
    pub cache: Usage,
    /// The paths with the most bytes served, in descending order.
    pub top_by_bytes: Vec<PathFigures>,
    /// The paths with the most opens served, in descending order.
    pub top_by_opens: Vec<PathFigures>,
}

/// Bytes by source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Bytes {
    /// Served from the cache. An open of a file that is cached as a whole counts with the size of the file, because the
    /// kernel reads the content without asking the mirror. Files that are cached by ranges count with the bytes that
    /// were requested.
    pub served: u64,
    /// Read from the share into the cache.
    pub read: u64,
    /// Read from originals on behalf of a program, without the cache.
    pub original: u64,
}

/// Requests that were answered without asking the share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Answered {
    /// Look-ups of names that exist.
    pub look_ups: u64,
    /// Look-ups of names that do not exist.
    pub misses: u64,
    /// Requests for the attributes of a file.
    pub attributes: u64,
    /// Listings of directories.
    pub listings: u64,
    /// Targets of symbolic links.
    pub link_targets: u64,
    /// Extended attributes, also those that a file does not have.
    pub extended_attributes: u64,
}

/// Questions that were asked of the share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Asked {
    /// Look-ups of single names.
    pub look_ups: u64,
    /// Attributes of files that were not known.
    pub attributes: u64,
    /// Attributes that were confirmed again after the revalidation time or at an open.
    pub revalidations: u64,
    /// Opens of files, for fills and of originals.
    pub opens: u64,
    /// Reads of files, for fills and of originals.
    pub reads: u64,
    /// Listings of directories.
    pub listings: u64,
    /// Targets of symbolic links.
    pub link_targets: u64,
    /// Extended attributes.
    pub extended_attributes: u64,
}

/// Files and ranges that were read from the share into the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Fills {
    /// Complete fills: whole files, and ranges of large files.
    pub completed: u64,
    /// Fills that were not caused by an open: preloaded files and those of foresight. They are also in `completed`.
    pub ahead: u64,
    /// Requests that waited for a fill that another request had started.
    pub joined: u64,
    /// Fills that were repeated because the file changed meanwhile.
    pub torn: u64,
    /// Copies that were not kept because the file had changed just before.
    pub young: u64,
    /// Fills that were discarded because the file was written through the mirror.
    pub discarded: u64,
}

/// Opens for which the original was read, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Originals {
    /// The cache had no room.
    pub full: u64,
    /// The cache could not be read or written.
    pub failed: u64,
    /// The object in the cache did not have its digest.
    pub corrupt: u64,
    /// The path is excluded.
    pub excluded: u64,
    /// The file is open for writing.
    pub written: u64,
    /// The file changed during every attempt to read it.
    pub unsteady: u64,
}

/// The time that requests waited for the share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Waits {
    /// The number of requests that waited.
    pub requests: u64,
    /// Their sum, in nanoseconds.
    pub nanoseconds: u64,
    /// The longest, in nanoseconds.
    pub longest: u64,
    /// Revalidations that the share did not answer in time, so that the last known facts were served.
    pub stalls: u64,
}

/// The content of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Its size, including objects that are removed but still open.
    pub bytes: u64,
    /// The limit of its size.
    pub limit: u64,
    /// The number of objects.
    pub objects: u64,
}

/// The figures of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathFigures {
    /// The path.
    pub path: Name,
    /// Opens that were served. If the run touched thousands of files, this is a lower bound.
    pub opens: u64,
    /// Bytes that were served, with the same restriction.
    pub bytes: u64,
}

impl Figures {
    /// Returns the bytes that programs received from the cache without a read of the share.
    pub fn bytes_saved(&self) -> u64 {
        self.bytes.served.saturating_sub(self.bytes.read)
    }

    /// Returns the look-ups that the share did not see: of names that exist, and of names that do not.
    pub fn look_ups_saved(&self) -> u64 {
        self.answered.look_ups.saturating_add(self.answered.misses)
    }

    /// Returns the sum of the times that requests waited for the share.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waits.nanoseconds)
    }

    /// Returns each counter with its value.
    pub fn values(&self) -> Vec<(Count, u64)> {
        self.clone().counters().into_iter().map(|(count, value)| (count, *value)).collect()
    }

    /// Adds the figures of another run. Its cache counts as a further one.
    pub fn add(&mut self, other: &Self) {
        for ((_, own), (_, value)) in self.counters().into_iter().zip(other.values()) {
            *own = own.saturating_add(value);
        }
        self.waits.longest = self.waits.longest.max(other.waits.longest);
        self.cache.bytes = self.cache.bytes.saturating_add(other.cache.bytes);
        self.cache.limit = self.cache.limit.saturating_add(other.cache.limit);
        self.cache.objects = self.cache.objects.saturating_add(other.cache.objects);
        let own = [std::mem::take(&mut self.top_by_bytes), std::mem::take(&mut self.top_by_opens)].concat();
        let others = [other.top_by_bytes.clone(), other.top_by_opens.clone()].concat();
        let all = top::sum(top::once(own).into_iter().chain(top::once(others)));
        (self.top_by_bytes, self.top_by_opens) = top::highest(all);
    }

    /// The values that are sums of the counts of [`Counters`].
    fn counters(&mut self) -> Vec<(Count, &mut u64)> {
        let Self { opens, files, bytes, answered, asked, fills, originals, waits, .. } = self;
        let mut all = vec![
            (Count::Opens, opens),
            (Count::Files, files),
            (Count::ServedBytes, &mut bytes.served),
            (Count::ReadBytes, &mut bytes.read),
            (Count::OriginalBytes, &mut bytes.original),
            (Count::Waits, &mut waits.requests),
            (Count::WaitNanoseconds, &mut waits.nanoseconds),
            (Count::Stalls, &mut waits.stalls),
            (Count::Evictions, &mut self.evictions),
            (Count::Invalidations, &mut self.invalidations),
            (Count::Notifications, &mut self.notifications),
        ];
        all.extend(answered.counters());
        all.extend(asked.counters());
        all.extend(fills.counters());
        all.extend(originals.counters());
        all
    }
}

impl Answered {
    fn counters(&mut self) -> [(Count, &mut u64); 6] {
        [
            (Count::LookUps, &mut self.look_ups),
            (Count::Misses, &mut self.misses),
            (Count::Attributes, &mut self.attributes),
            (Count::Listings, &mut self.listings),
            (Count::LinkTargets, &mut self.link_targets),
            (Count::ExtendedAttributes, &mut self.extended_attributes),
        ]
    }
}

impl Asked {
    /// Returns the number of questions of all kinds.
    pub fn total(&self) -> u64 {
        let mut copy = *self;
        copy.counters().iter().fold(0, |sum, (_, value)| sum.saturating_add(**value))
    }

    fn counters(&mut self) -> [(Count, &mut u64); 8] {
        [
            (Count::AskedLookUps, &mut self.look_ups),
            (Count::AskedAttributes, &mut self.attributes),
            (Count::AskedRevalidations, &mut self.revalidations),
            (Count::AskedOpens, &mut self.opens),
            (Count::AskedReads, &mut self.reads),
            (Count::AskedListings, &mut self.listings),
            (Count::AskedLinkTargets, &mut self.link_targets),
            (Count::AskedExtendedAttributes, &mut self.extended_attributes),
        ]
    }
}

impl Fills {
    fn counters(&mut self) -> [(Count, &mut u64); 6] {
        [
            (Count::Fills, &mut self.completed),
            (Count::FillsAhead, &mut self.ahead),
            (Count::FillsJoined, &mut self.joined),
            (Count::FillsTorn, &mut self.torn),
            (Count::FillsYoung, &mut self.young),
            (Count::FillsDiscarded, &mut self.discarded),
        ]
    }
}

impl Originals {
    /// Returns the number of opens for all reasons.
    pub fn total(&self) -> u64 {
        let mut copy = *self;
        copy.counters().iter().fold(0, |sum, (_, value)| sum.saturating_add(**value))
    }

    fn counters(&mut self) -> [(Count, &mut u64); 6] {
        [
            (Count::OriginalFull, &mut self.full),
            (Count::OriginalFailed, &mut self.failed),
            (Count::OriginalCorrupt, &mut self.corrupt),
            (Count::OriginalExcluded, &mut self.excluded),
            (Count::OriginalWritten, &mut self.written),
            (Count::OriginalUnsteady, &mut self.unsteady),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn path(path: &str, opens: u64, bytes: u64) -> PathFigures {
        PathFigures { path: Name::from(path.as_bytes()), opens, bytes }
    }

    #[test]
    fn every_counter_has_one_place_in_the_document() {
        let mut figures = Figures::default();
        let counts: Vec<Count> = figures.counters().into_iter().map(|(count, _)| count).collect();
        assert_eq!(counts.iter().collect::<HashSet<_>>().len(), counts.len(), "{counts:?}");
        assert_eq!(counts.len(), Count::NUMBER);
        for (number, (_, value)) in figures.counters().into_iter().enumerate() {
            *value = number as u64 + 1;
        }
        let json = serde_json::to_value(&figures).expect("a document");
        assert_eq!(serde_json::from_value::<Figures>(json).expect("the same document"), figures);
    }

    #[test]
    fn a_document_of_another_version_is_read_as_far_as_it_is_known() {
        let figures: Figures =
            serde_json::from_str(r#"{"opens":3,"new":{"x":1},"bytes":{"served":9}}"#).expect("figures");
        assert_eq!((figures.opens, figures.bytes.served, figures.bytes.read), (3, 9, 0));
    }

    #[test]
    fn figures_of_several_runs_are_added() {
        let mut one = Figures { opens: 2, top_by_bytes: vec![path("/a", 2, 20)], ..Figures::default() };
        one.top_by_opens = one.top_by_bytes.clone();
        one.bytes = Bytes { served: 20, read: 10, original: 0 };
        one.waits.longest = 5;
        let mut other = Figures { opens: 5, ..Figures::default() };
        other.top_by_bytes = vec![path("/b", 1, 70), path("/a", 4, 30)];
        other.top_by_opens = vec![path("/a", 4, 30)];
        other.bytes = Bytes { served: 100, read: 40, original: 7 };
        other.waits.longest = 3;
        other.cache.limit = 8;
        one.add(&other);
        assert_eq!((one.opens, one.bytes_saved(), one.bytes.original), (7, 70, 7));
        assert_eq!((one.waits.longest, one.cache.limit), (5, 8));
        assert_eq!(one.top_by_bytes, [path("/b", 1, 70), path("/a", 6, 50)]);
        assert_eq!(one.top_by_opens, [path("/a", 6, 50), path("/b", 1, 70)]);
    }

    #[test]
    fn a_cache_that_was_filled_in_vain_saves_nothing() {
        let bytes = Bytes { served: 10, read: 100, original: 0 };
        assert_eq!(Figures { bytes, ..Figures::default() }.bytes_saved(), 0);
    }
}
