//! Names in the directories of a cached volume.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, Statx};
use rustix::io::Errno;

use super::ask::Confirmed;
use super::facts::{Child, DirectoryListing, is_fresh};
use super::flight::FlightKey;
use super::listing::Listing;
use super::{CacheEvent, CachedVolume, Coherence, Question};
use crate::mirror::attribute;
use crate::mirror::node::Node;
use crate::mirror::volume::Volume;

/// The longest name in bytes that every file system allows (`NAME_MAX`, limits.h).
const LONGEST_NAME: usize = 255;

/// The answer for a name.
pub(in crate::mirror) enum Answer {
    /// The name leads to this node.
    Node {
        /// The node. Its lookup is counted if `is_counted`.
        node: Arc<Node>,
        confirmed: Box<Confirmed>,
        is_counted: bool,
    },
    /// There is no such name.
    Missing,
}

/// How the answer was found.
pub(in crate::mirror) struct Resolved {
    pub answer: Answer,
    /// The time at which the share confirmed that the name leads there.
    pub at: Instant,
    /// Whether the listing of the directory is known. A change of the name is then noticed with the directory's
    /// attributes.
    pub is_listed: bool,
}

impl Volume {
    /// Finds a name in a directory. The share is asked only if the answer is not known.
    ///
    /// # Errors
    ///
    /// If the share is asked and its answer is another error than that the name does not exist.
    pub(in crate::mirror) fn resolve(
        &self,
        cached: &CachedVolume,
        parent: &Arc<Node>,
        name: &[u8],
    ) -> Result<Resolved, Errno> {
        // A longer name than the share allows has another error than a missing one.
        let is_long = name.len() > LONGEST_NAME;
        if cached.coherence == Coherence::Strict || parent.facts().is_left_out() || is_long {
            return self.ask_name(cached, parent, name);
        }
        let directory = self.confirmed(cached, parent)?;
        let (listing, child) = {
            let state = parent.facts().state();
            (state.listing(), state.child(name))
        };
        if let DirectoryListing::Known(listing) = listing {
            return self.listed_name(cached, parent, name, &listing, directory.at);
        }
        if let Some(child) = child.filter(|child| is_fresh(cached.coherence, child.confirmed))
            && let Some(known) = self.known_name(cached, child)?
        {
            return Ok(known);
        }
        if let Some(listing) = self.listing(cached, parent, &directory.stat, true) {
            return self.listed_name(cached, parent, name, &listing, directory.at);
        }
        match child {
            Some(child) => self.ask_again(cached, parent, name, child),
            None => self.ask_name(cached, parent, name),
        }
    }

    /// Returns the answer that the share has given for a name before.
    fn known_name(&self, cached: &CachedVolume, child: Child) -> Result<Option<Resolved>, Errno> {
        let known = |answer| Some(Resolved { answer, at: child.confirmed, is_listed: false });
        let Some(number) = child.node else {
            cached.count(CacheEvent::Missed);
            return Ok(known(Answer::Missing));
        };
        let Some(node) = self.current_node(number) else { return Ok(None) };
        cached.count(CacheEvent::Answered(Question::Name));
        let confirmed = self.confirmed(cached, &node)?.into();
        Ok(known(Answer::Node { node, confirmed, is_counted: false }))
    }

    /// Asks the share again for a name. If it does not answer in time, the last answer is used.
    fn ask_again(
        &self,
        cached: &CachedVolume,
        parent: &Arc<Node>,
        name: &[u8],
        child: Child,
    ) -> Result<Resolved, Errno> {
        let Some(me) = self.itself() else { return self.ask_name(cached, parent, name) };
        let (directory, own): (_, Box<[u8]>) = (Arc::clone(parent), name.into());
        let answer = cached.patience.ask(self.options.only_user.is_some(), move || {
            me.cached.as_ref().map(|cached| me.ask_name(cached, &directory, &own))
        });
        if let Some(Some(answer)) = answer {
            return answer;
        }
        cached.count(CacheEvent::Stalled);
        self.known_name(cached, child)?.ok_or(Errno::STALE)
    }

    /// Returns the answer of a directory whose names are all known. `at` is the time at which its attributes were
    /// confirmed.
    fn listed_name(
        &self,
        cached: &CachedVolume,
        parent: &Arc<Node>,
        name: &[u8],
        listing: &Listing,
        at: Instant,
    ) -> Result<Resolved, Errno> {
        let Some(entry) = listing.find(name) else {
            cached.count(CacheEvent::Missed);
            return Ok(Resolved { answer: Answer::Missing, at, is_listed: true });
        };
        let child = parent.facts().state().child(name);
        let known = child.and_then(|child| child.node).and_then(|number| self.current_node(number));
        if let Some(node) = known
            && (node.identity().inode() == entry.inode || node.is_elsewhere())
        {
            cached.count(CacheEvent::Answered(Question::Name));
            let confirmed = self.confirmed(cached, &node)?.into();
            return Ok(Resolved {
                answer: Answer::Node { node, confirmed, is_counted: false },
                at,
                is_listed: true,
            });
        }
        // The file system may show other numbers in listings than elsewhere. Then a change would not be noticed.
        let resolved = self.ask_name(cached, parent, name)?;
        let is_listed = match &resolved.answer {
            Answer::Node { node, .. } => node.identity().inode() == entry.inode,
            Answer::Missing => false,
        };
        Ok(Resolved { is_listed, ..resolved })
    }

    fn current_node(&self, number: crate::mirror::number::NodeId) -> Option<Arc<Node>> {
        self.table.node(number).ok().filter(|node| !node.facts().is_retired())
    }

    /// Asks the share for a name.
    fn ask_name(&self, cached: &CachedVolume, parent: &Arc<Node>, name: &[u8]) -> Result<Resolved, Errno> {
        let ticket = parent.facts().ticket();
        if cached.coherence == Coherence::Strict {
            // The answer for another thread may be from before this request.
            cached.count(CacheEvent::Asked(Question::Name));
            return self.look_up(cached, parent, name, ticket);
        }
        let mut own = None;
        let asked = cached.flights.ask(&FlightKey::Name(parent.number, ticket, name.into()), || {
            cached.count(CacheEvent::Asked(Question::Name));
            own = Some(self.look_up(cached, parent, name, ticket)?);
            Ok(())
        });
        if let Some(own) = own {
            return Ok(own);
        }
        asked?;
        // The answer is that of another thread, which has kept it.
        let child = parent.facts().state().child(name);
        let known = child.map(|child| self.known_name(cached, child)).transpose()?.flatten();
        known.map_or_else(|| self.look_up(cached, parent, name, ticket), Ok)
    }

    /// Looks a name up in the original directory and keeps the answer. A descriptor of the file is kept for the next
    /// requests, which then need no name.
    fn look_up(
        &self,
        cached: &CachedVolume,
        parent: &Arc<Node>,
        name: &[u8],
        ticket: u64,
    ) -> Result<Resolved, Errno> {
        let (asked, changes) = (Instant::now(), cached.changes());
        let directory = self.reach(parent)?;
        self.hold(parent, &directory);
        let look = || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = self.with_room(|| rustix::fs::openat(&*directory, name, flags, Mode::empty()))?;
            // The lookup has brought the attributes along, so the share is not asked again.
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
            Ok((attribute::query(&file, b"", flags)?, file))
        };
        let keep = |(stat, file): (Statx, _)| (self.table.found(&stat, parent, name), stat, file);
        let found = match self.handles.between_moves(parent.number, look, keep) {
            Err(Errno::NOENT) => None,
            found => Some(found?),
        };
        let child = |node| Child { node, confirmed: asked, is_long: false };
        let facts = parent.facts();
        let Some((node, stat, file)) = found else {
            let mut state = facts.state();
            if facts.is_unchanged(ticket) {
                state.directory().keep(name, child(None));
            }
            return Ok(Resolved { answer: Answer::Missing, at: asked, is_listed: false });
        };
        if cached.cache.leaves_out(&self.placed(parent.path_of(name))) {
            node.facts().leave_out();
        }
        if cached.changes() == changes && !node.is_elsewhere() {
            let ticket = node.facts().ticket();
            self.note(cached, &node, &stat, asked, ticket);
        }
        self.hold(&node, &Arc::new(file));
        let mut state = facts.state();
        state.directory().lookups = state.directory().lookups.saturating_add(1);
        if facts.is_unchanged(ticket) {
            state.directory().keep(name, child(Some(node.number)));
        }
        drop(state);
        let mut stat = stat;
        if node.is_elsewhere() {
            attribute::closed(&mut stat);
        }
        let answer = Answer::Node { node, confirmed: Confirmed { stat, at: asked }.into(), is_counted: true };
        Ok(Resolved { answer, at: asked, is_listed: false })
    }

    /// Records that the kernel keeps the answer for a name for a long time. Returns whether there was room.
    pub(in crate::mirror) fn keeps_long(&self, parent: &Node, name: &[u8], resolved: &Resolved) -> bool {
        let node = match &resolved.answer {
            Answer::Node { node, .. } => Some(node.number),
            Answer::Missing => None,
        };
        parent.facts().state().directory().keep(name, Child { node, confirmed: resolved.at, is_long: true })
    }
}

/// Returns the rest of the time for which a fact that was confirmed at `at` is valid.
pub(in crate::mirror) fn rest(time: Duration, at: Instant) -> Duration {
    time.saturating_sub(at.elapsed())
}
