//! Cached volumes: what is known about the files of a slow file system (the *share*) is kept, so that the share is asked
//! once and not for each request.
//!
//! Facts about names, attributes, links, listings and extended attributes are kept on the nodes ([`facts`]). A
//! [`Coherence`] says how long they stay valid, and a [`Cache`] provides the contents of files. A fact is valid for one
//! [`Stamp`]: if a file has another stamp when it is confirmed, its facts are dropped.
//!
//! Several threads that need the same answer ask once ([`flight`]). A confirmation that the share does not answer in
//! time is continued in the background, and the last known facts are served meanwhile ([`patience`]). The kernel keeps
//! names for a long time if the listing of their directory is trusted. Names that have changed are then expired one by
//! one ([`notifier`]).
//!
//! Changes through the mirror go to the share at once. Each change of a file or directory starts with
//! [`facts::Facts::begin_change`], so that no answer from before the change is kept.

pub(super) mod ask;
pub(super) mod attributes;
pub(super) mod facts;
pub(super) mod flight;
pub(super) mod listing;
pub(super) mod names;
pub(super) mod notifier;
pub(super) mod patience;
pub(super) mod permission;
mod read_ahead;
mod volume;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::Statx;
use rustix::io::Errno;

use super::attribute::FileIdentity;
use super::node::Node;
use super::sharing::Sharing;
use super::stamp::Stamp;
use super::wire::Validity;
use flight::Flights;
pub use listing::{Listed, Listing};
use notifier::Notifier;
use patience::Patience;
pub use read_ahead::Ahead;

/// How long facts stay valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coherence {
    /// For ever: the share looks as it did at the first use.
    Session,
    /// For this time. Then the file's attributes are requested again before they are used.
    CloseToOpen(Duration),
    /// Not at all. Only contents are kept, and each open requests the file's attributes.
    Strict,
}

impl Coherence {
    /// The longest time for which the kernel keeps attributes if other users may be present, and names that are not
    /// certain.
    const SHORT: Duration = Duration::from_secs(1);

    /// Returns the time for which the kernel may keep a fact that was confirmed just now, if its change is not noticed.
    pub fn short(self) -> Duration {
        match self {
            Self::Session => Self::SHORT,
            Self::CloseToOpen(time) => time.min(Self::SHORT),
            Self::Strict => Duration::ZERO,
        }
    }
}

/// The rules of a cached volume, and the contents of its files. Many threads call it.
pub trait Cache: Send + Sync {
    /// Returns how long facts stay valid.
    fn coherence(&self) -> Coherence;

    /// Whether a path of the mirror is left out: it is always requested from the share.
    fn leaves_out(&self, path: &[u8]) -> bool;

    /// Returns the content of a regular file that is opened for reading. `None` means that the original is read. The
    /// caller waits meanwhile.
    fn content(&self, file: &CachedFile<'_>) -> Option<Found>;

    /// Returns the facts that an earlier run has kept about the file with this stamp.
    fn recall(&self, stamp: &Stamp) -> Recalled;

    /// Takes a new fact, which a later run may recall.
    fn keep(&self, stamp: &Stamp, fact: KeptFact<'_>);

    /// Counts an event.
    fn count(&self, event: CacheEvent);
}

/// A file whose content is needed.
#[derive(Clone, Copy)]
pub struct CachedFile<'a> {
    /// The path in the mirror, in the bytes of the file system.
    pub path: &'a [u8],
    /// The attributes, as they were last confirmed.
    pub stat: &'a Statx,
    /// Returns the original (`O_PATH`), which can be opened through `/proc/self/fd`. This may ask the share.
    pub original: &'a dyn Fn() -> Result<Arc<OwnedFd>, Errno>,
    /// Whether the content is read ahead, before anybody has opened the file.
    pub is_ahead: bool,
}

/// The content of a file, with the attributes to which it belongs.
pub struct Found {
    /// The content.
    pub content: Arc<dyn Content>,
    /// The attributes, if they are newer than the given ones.
    pub stat: Option<Statx>,
}

/// The content of one version of a file.
pub trait Content: Send + Sync {
    /// Returns the stamp of the version.
    fn stamp(&self) -> Stamp;

    /// Returns a file with the whole content, if there is one. The kernel may read it without this process.
    fn whole(&self) -> Option<&File>;

    /// Whether it is a program or library, which nobody maps for writing while it is in use.
    fn is_program(&self) -> bool;

    /// Reads into `buffer` at `offset`, and returns the number of bytes. Fewer bytes mean the end of this version.
    ///
    /// # Errors
    ///
    /// If the content cannot be read. The original is read instead.
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Whether the kernel may read [`Self::whole`] without this process. It may not if another file with the same
    /// content uses it: [`Self::write`] must not change that one.
    fn may_pass(&self) -> bool;

    /// Prepares for [`Self::write`]: the file changes while the kernel reads this content. It is not used for any other
    /// file from here on.
    fn detach(&self);

    /// Repeats a write to the original.
    fn write(&self, data: &[u8], offset: u64);

    /// Repeats a change of the original's size.
    fn set_size(&self, size: u64);
}

/// The name and value of an extended attribute.
pub type RecalledAttribute = (Box<[u8]>, Option<Box<[u8]>>);

/// The facts about a file that an earlier run has kept.
#[derive(Clone, Debug, Default)]
pub struct Recalled {
    /// The names in the directory, without `.` and `..`.
    pub listing: Option<Arc<Listing>>,
    /// The target of the link.
    pub target: Option<Box<[u8]>>,
    /// Extended attributes by name. `None` means that the file has no such attribute.
    pub attributes: Vec<RecalledAttribute>,
}

/// A fact that a later run may use.
#[derive(Clone, Copy, Debug)]
pub enum KeptFact<'a> {
    /// The names in a directory.
    Listing(&'a Arc<Listing>),
    /// The target of a symbolic link.
    Target(&'a [u8]),
    /// An extended attribute, or `None` if the file does not have it.
    Attribute(&'a [u8], Option<&'a [u8]>),
}

/// An event that a cache counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheEvent {
    /// A request was answered without the share.
    Answered(Question),
    /// A name that does not exist was answered without the share.
    Missed,
    /// The share was asked.
    Asked(Question),
    /// A file was opened for reading, and the original is read because it is open for writing.
    OpenedWritten,
    /// A file was opened that is left out.
    OpenedLeftOut,
    /// Bytes were read from the original by this process.
    ReadOriginal(u64),
    /// A file was found changed when it was confirmed.
    Changed,
    /// Names were expired in the kernel.
    Expired(u64),
    /// The share did not answer in time, so the last known facts were served.
    Stalled,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A name in a directory.
    Name,
    /// The attributes of a file.
    Attributes,
    /// The attributes of a file that were known before.
    Confirmation,
    /// The target of a symbolic link.
    Link,
    /// The names in a directory.
    Listing,
    /// An extended attribute.
    ExtendedAttribute,
    /// A permission.
    Permission,
}

/// The state of a cached volume beyond its nodes.
pub(super) struct CachedVolume {
    pub cache: Arc<dyn Cache>,
    pub coherence: Coherence,
    pub flights: Flights,
    pub patience: Patience,
    pub notifier: Notifier,
    /// The attributes of the root, from which others take the fields that nobody uses.
    pub template: Statx,
    /// Copies that the kernel reads for earlier opens of files that have got another node since.
    left_behind: Mutex<Vec<(FileIdentity, Weak<dyn Content>)>>,
    /// Counts the changes through the mirror, of all files.
    changes: AtomicU64,
}

impl CachedVolume {
    /// Creates the state of a volume whose root has these attributes.
    pub(super) fn new(cache: Arc<dyn Cache>, template: Statx) -> Self {
        let coherence = cache.coherence();
        Self {
            cache,
            coherence,
            flights: Flights::default(),
            patience: Patience::default(),
            notifier: Notifier::default(),
            template,
            left_behind: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// Remembers a copy that the kernel reads until its opens are closed, so that later writes are repeated in it.
    pub(super) fn leave_behind(&self, file: FileIdentity, copy: &Arc<dyn Content>) {
        let mut left = self.left_behind.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|(_, copy)| copy.strong_count() > 0);
        left.push((file, Arc::downgrade(copy)));
    }

    /// Returns the copies that the kernel reads for earlier opens of a file.
    pub(super) fn left_behind(&self, file: FileIdentity) -> Vec<Arc<dyn Content>> {
        let left = self.left_behind.lock().unwrap_or_else(PoisonError::into_inner);
        left.iter().filter(|(other, _)| *other == file).filter_map(|(_, copy)| copy.upgrade()).collect()
    }

    /// Returns the number of changes through the mirror.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Counts a change through the mirror.
    pub(super) fn change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns how long the kernel may keep what it has received after a change.
    pub(super) fn validity(&self, node: &Node, sharing: &Sharing) -> Validity {
        let validity = sharing.validity();
        let is_written = node.facts().is_being_written();
        Validity { attributes: if is_written { Duration::ZERO } else { validity.attributes }, ..validity }
    }

    /// Counts an event.
    pub(super) fn count(&self, event: CacheEvent) {
        self.cache.count(event);
    }
}
