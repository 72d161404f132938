//! Questions to the share about a node: its attributes, its listing, its link target.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Statx};
use rustix::io::Errno;

use super::facts::DirectoryListing;
use super::flight::FlightKey;
use super::listing::Listing;
use super::{CacheEvent, CachedVolume, Coherence, KeptFact, Question};
use crate::mirror::attribute::{self, FileIdentity};
use crate::mirror::node::Node;
use crate::mirror::stamp::{Moment, Stamp};
use crate::mirror::volume::Volume;

/// The largest directory in bytes that is listed before a first name in it is looked up, and the largest that is listed
/// at all. File systems show about 20 to 60 bytes for an entry.
const SMALL_DIRECTORY: u64 = 1 << 16;
const LARGE_DIRECTORY: u64 = 4 << 20;

/// The shortest time between two confirmations of all files of a directory.
const NEIGHBOURS_PACE: Duration = Duration::from_millis(100);

/// Attributes that are valid now.
#[derive(Clone, Copy)]
pub(in crate::mirror) struct Confirmed {
    pub stat: Statx,
    /// The time at which the share confirmed them.
    pub at: Instant,
}

impl Volume {
    /// Returns the attributes of a node. The share is asked if they are too old.
    ///
    /// # Errors
    ///
    /// If the share is asked and statx(2) fails.
    pub(in crate::mirror) fn confirmed(
        &self,
        cached: &CachedVolume,
        node: &Arc<Node>,
    ) -> Result<Confirmed, Errno> {
        if node.is_elsewhere() {
            return Ok(Confirmed { stat: self.stat(node)?, at: Instant::now() });
        }
        let facts = node.facts();
        if let Some(known) = facts.fresh(cached.coherence) {
            cached.count(CacheEvent::Answered(Question::Attributes));
            return Ok(Confirmed { stat: known.stat(&cached.template), at: known.confirmed });
        }
        let is_repeated = matches!(cached.coherence, Coherence::CloseToOpen(_)) && !facts.is_being_written();
        let last = if is_repeated { facts.last() } else { None };
        let (Some(last), Some(me)) = (last, self.itself()) else { return self.ask_attributes(cached, node) };
        self.confirm_neighbours(cached, node);
        let own = Arc::clone(node);
        let answer = cached.patience.ask(self.options.only_user.is_some(), move || {
            me.cached.as_ref().map(|cached| me.ask_attributes(cached, &own))
        });
        match answer {
            Some(Some(answer)) => answer,
            _ => {
                cached.count(CacheEvent::Stalled);
                Ok(Confirmed { stat: last.stat(&cached.template), at: last.confirmed })
            }
        }
    }

    /// Confirms in the background the files in the same directory that were opened before: the next requests are
    /// likely about them.
    fn confirm_neighbours(&self, cached: &CachedVolume, node: &Arc<Node>) {
        let Some((parent, _)) = node.named_place() else { return };
        let Some(me) = self.itself() else { return };
        let neighbours = {
            let mut state = parent.facts().state();
            let last = state.directory().neighbours.replace(Instant::now());
            if last.is_some_and(|last| last.elapsed() < NEIGHBOURS_PACE) {
                return;
            }
            state.children()
        };
        for number in neighbours {
            let Ok(other) = self.table.node(number) else { continue };
            let facts = other.facts();
            if Arc::ptr_eq(&other, node)
                || !facts.was_opened()
                || facts.last().is_none()
                || facts.fresh(cached.coherence).is_some()
                || !facts.begin_confirmation()
            {
                continue;
            }
            let (me, own) = (Arc::clone(&me), Arc::clone(&other));
            let is_done = cached.patience.later(self.options.only_user.is_some(), move || {
                if let Some(cached) = &me.cached
                    && own.facts().fresh(cached.coherence).is_none()
                {
                    let _ = me.ask_attributes(cached, &own);
                }
                own.facts().end_confirmation();
            });
            if !is_done {
                other.facts().end_confirmation();
            }
        }
    }

    /// Asks the share for the attributes of a node.
    fn ask_attributes(&self, cached: &CachedVolume, node: &Arc<Node>) -> Result<Confirmed, Errno> {
        let facts = node.facts();
        let mut own = None;
        let ticket = facts.ticket();
        let mut ask = || {
            let asked = Instant::now();
            let is_known = facts.last().is_some();
            let question = if is_known { Question::Confirmation } else { Question::Attributes };
            cached.count(CacheEvent::Asked(question));
            let stat = self.original_attributes(node)?;
            self.note(cached, node, &stat, asked, ticket);
            own = Some(Confirmed { stat, at: asked });
            Ok(())
        };
        if cached.coherence == Coherence::Strict {
            // The answer for another thread may be from before this request.
            ask()?;
        } else {
            cached.flights.ask(&FlightKey::Attributes(node.number, ticket), ask)?;
        }
        if let Some(own) = own {
            return Ok(own);
        }
        if let Some(known) = facts.last() {
            return Ok(Confirmed { stat: known.stat(&cached.template), at: known.confirmed });
        }
        // A change through the mirror has dropped the answer of the other thread.
        let asked = Instant::now();
        Ok(Confirmed { stat: self.original_attributes(node)?, at: asked })
    }

    /// Keeps attributes of a node that the share has confirmed. If a directory has changed, its names are looked up
    /// again.
    pub(in crate::mirror) fn note(
        &self,
        cached: &CachedVolume,
        node: &Arc<Node>,
        stat: &Statx,
        asked: Instant,
        ticket: u64,
    ) {
        if node.facts().note(stat, asked, ticket) {
            cached.count(CacheEvent::Changed);
            self.list_again(cached, node, stat);
        }
    }

    /// Asks the share by the node's descriptor, which is one request. Without one, the file is opened by its name.
    fn original_attributes(&self, node: &Arc<Node>) -> Result<Statx, Errno> {
        let handle = self.reach(node)?;
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
        let stat = attribute::query(&*handle, b"", flags)?;
        self.hold(node, &handle);
        if FileIdentity::of(&stat) == node.identity() { Ok(stat) } else { Err(Errno::STALE) }
    }

    /// Keeps a descriptor of a node for later requests.
    pub(in crate::mirror) fn hold(&self, node: &Arc<Node>, handle: &Arc<OwnedFd>) {
        if !node.is_elsewhere() && node.held().is_none() {
            node.hold(handle);
            self.handles.remember(node);
        }
    }

    /// Drops the names of a directory that has changed, and lets the kernel look them up again.
    fn list_again(&self, cached: &CachedVolume, node: &Arc<Node>, stat: &Statx) {
        if !node.is_directory() {
            return;
        }
        let was_listed = {
            let mut state = node.facts().state();
            let listing = std::mem::take(&mut state.directory().listing);
            matches!(listing, DirectoryListing::Known(_))
        };
        if was_listed {
            self.list(cached, node, stat);
        }
        let children = node.facts().state().children();
        let known = children.into_iter().filter_map(|number| self.table.node(number).ok());
        let inodes = known.map(|node| (node.number, node.identity().inode())).collect();
        let outdated = node.facts().state().directory().outdated(&inodes);
        if !outdated.is_empty() {
            cached.count(CacheEvent::Expired(outdated.len() as u64));
            cached.notifier.expire(&self.device, node.number, outdated);
        }
    }

    /// Returns the names in a directory with these attributes, if all of them are known or can be. `is_needed` means
    /// that one name would be requested from the share otherwise.
    pub(in crate::mirror) fn listing(
        &self,
        cached: &CachedVolume,
        node: &Arc<Node>,
        stat: &Statx,
        is_needed: bool,
    ) -> Option<Arc<Listing>> {
        let lookups = {
            let mut state = node.facts().state();
            match state.listing() {
                DirectoryListing::Known(listing) => return Some(listing),
                DirectoryListing::Impossible => return None,
                DirectoryListing::Unknown => state.directory().lookups,
            }
        };
        let is_worth_it = match stat.stx_size {
            LARGE_DIRECTORY.. => false,
            SMALL_DIRECTORY.. => lookups > 0 || !is_needed,
            _ => true,
        };
        if is_worth_it { self.list(cached, node, stat) } else { None }
    }

    /// Lists a directory, unless it changed so recently that the listing could not be trusted.
    fn list(&self, cached: &CachedVolume, node: &Arc<Node>, stat: &Statx) -> Option<Arc<Listing>> {
        let (facts, stamp) = (node.facts(), Stamp::of(stat));
        if cached.coherence != Coherence::Session && stamp.is_young(Moment::now()) {
            return None;
        }
        self.recall(cached, node, &stamp);
        if let DirectoryListing::Known(listing) = facts.state().listing() {
            return Some(listing);
        }
        let ticket = facts.ticket();
        let asked = cached.flights.ask(&FlightKey::Listing(node.number, ticket), || {
            cached.count(CacheEvent::Asked(Question::Listing));
            let listing = self.read_listing(node)?;
            let mut state = facts.state();
            if facts.is_unchanged(ticket) {
                if let Some(listing) = &listing {
                    cached.cache.keep(&stamp, KeptFact::Listing(listing));
                }
                state.directory().listing =
                    listing.map_or(DirectoryListing::Impossible, DirectoryListing::Known);
            }
            Ok(())
        });
        if matches!(asked, Err(Errno::ACCESS | Errno::PERM)) {
            // It may only be searched.
            facts.state().directory().listing = DirectoryListing::Impossible;
        }
        match facts.state().listing() {
            DirectoryListing::Known(listing) => Some(listing),
            _ => None,
        }
    }

    fn read_listing(&self, node: &Arc<Node>) -> Result<Option<Arc<Listing>>, Errno> {
        let handle = self.reach(node)?;
        self.hold(node, &handle);
        let directory = self.reopen(&handle, (libc::O_RDONLY | libc::O_DIRECTORY) as u32)?;
        Ok(Listing::read(&directory)?.map(Arc::new))
    }

    /// Takes over the facts of an earlier run about the file with this stamp.
    pub(in crate::mirror) fn recall(&self, cached: &CachedVolume, node: &Node, stamp: &Stamp) {
        let facts = node.facts();
        let ticket = facts.ticket();
        if std::mem::replace(&mut facts.state().is_recalled, true) {
            return;
        }
        let recalled = cached.cache.recall(stamp);
        let parent = node.named_place().map_or(stamp.inode, |(parent, _)| parent.identity().inode());
        let mut state = facts.state();
        if !facts.is_unchanged(ticket) {
            return;
        }
        if let Some(listing) = recalled.listing
            && node.is_directory()
            && let Some(listing) = listing.with_dots(stamp.inode, parent)
        {
            state.directory().listing = DirectoryListing::Known(Arc::new(listing));
        }
        state.target = recalled.target;
        state.attributes =
            recalled.attributes.into_iter().map(|(name, value)| (name, value.ok_or(Errno::NODATA))).collect();
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    ///
    /// If the share is asked and readlinkat(2) fails.
    pub(in crate::mirror) fn link_target(
        &self,
        cached: &CachedVolume,
        node: &Arc<Node>,
    ) -> Result<Box<[u8]>, Errno> {
        let stat = self.confirmed(cached, node)?.stat;
        let (facts, stamp) = (node.facts(), Stamp::of(&stat));
        let is_kept = cached.coherence != Coherence::Strict;
        if is_kept {
            self.recall(cached, node, &stamp);
            if let Some(target) = facts.state().target.clone() {
                cached.count(CacheEvent::Answered(Question::Link));
                return Ok(target);
            }
        }
        let ticket = facts.ticket();
        cached.count(CacheEvent::Asked(Question::Link));
        let handle = self.reach(node)?;
        let target = rustix::fs::readlinkat(&*handle, c"", Vec::new())?.into_bytes().into_boxed_slice();
        let mut state = facts.state();
        if is_kept && facts.is_unchanged(ticket) {
            // A link never gets another target: a new link is another file.
            state.target = Some(target.clone());
            cached.cache.keep(&stamp, KeptFact::Target(&target));
        }
        Ok(target)
    }
}
