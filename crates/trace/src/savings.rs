//! The requests and reads that a cache on the node would save, from recordings.
//!
//! The cache reads a file once as a whole, lists a directory once, asks once for the attributes of each name and once
//! for the target of each link, and answers the names that a listing lacks. The recorded requests are compared with
//! these. They are the requests that reached the recorder: the kernel kept each name that exists for up to a second.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use super::activity::sum;
use super::asking::directory;
use super::document::{Event, EventKind};
use super::name::Name;
use super::read::{Ending, ReadError, Reader};

/// The bits of the flags of an open that contain the access mode. 0 is `O_RDONLY`.
const ACCESS_MODE: u32 = 3;
/// The number of files in [`ShareSavings::top`].
const TOP: usize = 10;

/// The requests of one or several runs, by path.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    paths: HashMap<Name, PathRequests>,
    recordings: Vec<String>,
}

/// The requests for one path.
#[derive(Clone, Debug, Default)]
struct PathRequests {
    found: u64,
    missed: u64,
    link_targets: u64,
    opened: u64,
    listed: u64,
    read: Option<u64>,
    /// It was created, written, truncated, renamed or removed, so that a cache would not keep its content.
    changed: bool,
}

/// The savings of a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Savings {
    /// The names of the recordings.
    pub recordings: Vec<String>,
    /// The shares, in the given order.
    pub shares: Vec<ShareSavings>,
    /// Recorded requests for paths outside of the shares, and for excluded paths.
    pub outside: u64,
}

/// The savings for one share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShareSavings {
    /// The directory of the share.
    pub share: Name,
    /// Recorded look-ups of names that exist.
    pub look_ups: u64,
    /// Recorded look-ups of names that do not exist.
    pub misses: u64,
    /// Recorded reads of link targets.
    pub link_targets: u64,
    /// Recorded opens of directories.
    pub listings: u64,
    /// Recorded opens of files for reading, without files that the runs changed.
    pub opens: u64,
    /// Different files among these opens. Each would be read once.
    pub files: u64,
    /// Opens of files that the runs changed. They would read and write the original.
    pub opens_of_changed: u64,
    /// Look-ups that the share would see: one for each name that exists.
    pub look_ups_asked: u64,
    /// Listings that the share would see: one for each directory that was listed or in which a name was looked up.
    pub listings_asked: u64,
    /// Reads of link targets that the share would see: one for each link.
    pub link_targets_asked: u64,
    /// Look-ups that would be answered without the share.
    pub look_ups_saved: u64,
    /// All requests that the share would not see: look-ups, link targets, listings and opens.
    pub requests_saved: u64,
    /// Bytes that the runs read of files with a known size: as recorded, or the size for each open.
    pub bytes: u64,
    /// Bytes that would be read of these files once.
    pub bytes_once: u64,
    /// The difference. It is 0 if the runs read less than the whole files.
    pub bytes_saved: u64,
    /// Sources of the sizes.
    pub sizes: SizeSources,
    /// The files for which most bytes would be saved, in descending order.
    pub top: Vec<FileSavings>,
}

/// The number of files by the source of their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SizeSources {
    /// The file system has the file now.
    pub file_system: u64,
    /// Only the recording has a number of bytes. The mean of the opens counts as the size.
    pub recording: u64,
    /// Neither has. These files are not in the numbers of bytes.
    pub unknown: u64,
}

/// The savings for one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSavings {
    /// The path.
    pub path: Name,
    /// Recorded opens for reading.
    pub opens: u64,
    /// Bytes that the runs read: as recorded, or the size for each open.
    pub bytes: u64,
    /// Bytes that would be read once.
    pub bytes_once: u64,
}

impl Requests {
    /// Reads a recording to its end, adds its requests, and returns its ending and the number of events of unknown
    /// kinds.
    ///
    /// # Errors
    ///
    /// If the recording cannot be read.
    pub fn add(&mut self, mut reader: Reader<'_>) -> Result<(Ending, u64), ReadError> {
        self.recordings.push(reader.file().to_owned());
        let mut open = HashMap::new();
        while let Some(event) = reader.read_event()? {
            self.event(event, &mut open);
        }
        Ok((reader.ending().cloned().unwrap_or(Ending::Cut), reader.unknown()))
    }

    /// Adds one event. `open` has the path of each open that is not closed.
    fn event(&mut self, event: Event, open: &mut HashMap<u64, Name>) {
        let mut path = self.paths.entry(event.path.clone()).or_default();
        match (&event.error, event.event) {
            (Some(error), EventKind::Lookup) if error == "ENOENT" => path.missed += 1,
            (Some(_), _) | (None, EventKind::CloseDirectory | EventKind::FirstRead) => {}
            (None, EventKind::Lookup) => path.found += 1,
            (None, EventKind::ReadLink) => path.link_targets += 1,
            (None, EventKind::OpenDirectory) => path.listed += 1,
            (None, EventKind::Open) => {
                path.opened += 1;
                path.changed |= event.flags.unwrap_or(0) & ACCESS_MODE != 0;
                open.extend(event.open.map(|number| (number, event.path)));
            }
            (None, EventKind::Close) => {
                let opened = event.open.and_then(|number| open.remove(&number));
                if let Some(opened) = opened.filter(|opened| *opened != event.path) {
                    path = self.paths.entry(opened).or_default();
                }
                path.read = sum(path.read, event.read);
                path.changed |= event.written.is_some_and(|written| written > 0);
            }
            (None, _) => {
                path.changed = true;
                if let Some(other) = event.other.filter(|_| event.event == EventKind::Rename) {
                    self.paths.entry(other).or_default().changed = true;
                }
            }
        }
    }
}

/// Returns the savings of a cache for the directories `shares`. A path belongs to the innermost share. `takes` returns
/// whether a path is not excluded, and `size` the present size of a file if it is known.
pub fn savings(
    requests: &Requests,
    shares: &[Name],
    takes: impl Fn(&Name) -> bool,
    size: impl Fn(&Name) -> Option<u64>,
) -> Savings {
    let mut adding: Vec<Adding> = shares.iter().map(Adding::new).collect();
    let mut outside = 0;
    for (path, used) in &requests.paths {
        let innermost = shares.iter().enumerate().filter(|(_, share)| lies_in(path, share));
        match innermost.max_by_key(|(_, share)| share.0.len()).filter(|_| takes(path)) {
            Some((place, _)) => adding[place].add(path, used, &size),
            None => outside += used.total(),
        }
    }
    let shares = adding.into_iter().map(Adding::finish).collect();
    Savings { recordings: requests.recordings.clone(), shares, outside }
}

impl PathRequests {
    fn total(&self) -> u64 {
        self.found + self.missed + self.link_targets + self.opened + self.listed
    }
}

/// Whether a path is the directory of a share or inside it.
fn lies_in(path: &Name, share: &Name) -> bool {
    let share = share.0.strip_suffix(b"/").unwrap_or(&share.0);
    path.0.strip_prefix(share).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// A share whose requests are being added.
struct Adding<'a> {
    share: ShareSavings,
    directories: BTreeSet<&'a [u8]>,
}

impl<'a> Adding<'a> {
    fn new(share: &Name) -> Self {
        let share = ShareSavings { share: share.clone(), ..ShareSavings::default() };
        Self { share, directories: BTreeSet::new() }
    }

    fn add(&mut self, path: &'a Name, used: &PathRequests, size: &impl Fn(&Name) -> Option<u64>) {
        let share = &mut self.share;
        share.look_ups += used.found;
        share.misses += used.missed;
        share.link_targets += used.link_targets;
        share.listings += used.listed;
        share.look_ups_asked += u64::from(used.found > 0);
        share.link_targets_asked += u64::from(used.link_targets > 0);
        if used.found + used.missed > 0 && *path != share.share {
            self.directories.insert(directory(&path.0));
        }
        if used.listed > 0 {
            self.directories.insert(&path.0);
        }
        if used.changed {
            share.opens_of_changed += used.opened;
        } else if used.opened > 0 {
            share.opens += used.opened;
            share.files += 1;
            self.add_file(path, used, size(path));
        }
    }

    fn add_file(&mut self, path: &Name, used: &PathRequests, size: Option<u64>) {
        let sizes = &mut self.share.sizes;
        let mean = used.read.map(|read| read.div_ceil(used.opened));
        *match (size, mean) {
            (Some(_), _) => &mut sizes.file_system,
            (None, Some(_)) => &mut sizes.recording,
            (None, None) => &mut sizes.unknown,
        } += 1;
        let Some(bytes_once) = size.or(mean) else { return };
        let bytes = used.read.unwrap_or_else(|| bytes_once.saturating_mul(used.opened));
        self.share.bytes = self.share.bytes.saturating_add(bytes);
        self.share.bytes_once = self.share.bytes_once.saturating_add(bytes_once);
        self.share.top.push(FileSavings { path: path.clone(), opens: used.opened, bytes, bytes_once });
    }

    fn finish(self) -> ShareSavings {
        let mut share = self.share;
        share.listings_asked = self.directories.len() as u64;
        share.look_ups_saved = share.look_ups - share.look_ups_asked + share.misses;
        share.bytes_saved = share.bytes.saturating_sub(share.bytes_once);
        let asked = share.look_ups_asked + share.listings_asked + share.link_targets_asked + share.files;
        let recorded = share.look_ups + share.misses + share.listings + share.link_targets + share.opens;
        share.requests_saved = recorded.saturating_sub(asked);
        let saved = |file: &FileSavings| file.bytes.saturating_sub(file.bytes_once);
        share.top.retain(|file| saved(file) > 0);
        share.top.sort_by(|one, other| {
            (Reverse(saved(one)), &one.path).cmp(&(Reverse(saved(other)), &other.path))
        });
        share.top.truncate(TOP);
        share
    }
}

#[cfg(test)]
mod tests;
