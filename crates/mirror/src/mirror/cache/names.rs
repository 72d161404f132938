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

/// The answer for a name.
pub(in crate::mirror) enum Answer {
    /// The name leads to this node.
    Node {
        /// The node. Its lookup is counted if `is_counted`.
        node: Arc<Node>,
        confirmed: Confirmed,
        is_counted: bool,
    },
    /// There is no such name. It was confirmed at this time.
    Missing(Instant),
}

/// How the answer was found.
pub(in crate::mirror) struct Resolved {
    pub answer: Answer,
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
        let plain = |answer| Resolved { answer, is_listed: false };
        if cached.coherence == Coherence::Strict || parent.facts().is_left_out() {
            return self.ask_name(cached, parent, name).map(plain);
        }
        let directory = self.confirmed(cached, parent)?;
        if let Some(answer) = self.known_name(cached, parent, name)? {
            return Ok(answer);
        }
        if let Some(listing) = self.listing(cached, parent, &directory.stat, true) {
            return self.listed_name(cached, parent, name, &listing);
        }
        self.ask_name(cached, parent, name).map(plain)
    }

    /// Returns the answer from the facts of the directory.
    fn known_name(
        &self,
        cached: &CachedVolume,
        parent: &Arc<Node>,
        name: &[u8],
    ) -> Result<Option<Resolved>, Errno> {
        let (listing, child) = {
            let state = parent.facts().state();
            (state.listing(), state.child(name))
        };
        if let DirectoryListing::Known(listing) = listing {
            return self.listed_name(cached, parent, name, &listing).map(Some);
        }
        let Some(child) = child.filter(|child| is_fresh(cached.coherence, child.confirmed)) else {
            return Ok(None);
        };
        let answer = match child.node {
            None => {
                cached.count(CacheEvent::Missed);
                Answer::Missing(child.confirmed)
            }
            Some(number) => {
                let Some(node) = self.current_node(number) else { return Ok(None) };
                cached.count(CacheEvent::Answered(Question::Name));
                let confirmed = self.confirmed(cached, &node)?;
                Answer::Node { node, confirmed, is_counted: false }
            }
        };
        Ok(Some(Resolved { answer, is_listed: false }))
    }

    /// Returns the answer of a directory whose names are all known.
    fn listed_name(
        &self,
        cached: &CachedVolume,
        parent: &Arc<Node>,
        name: &[u8],
        listing: &Listing,
    ) -> Result<Resolved, Errno> {
        let listed = |answer| Resolved { answer, is_listed: true };
        let Some(entry) = listing.find(name) else {
            cached.count(CacheEvent::Missed);
            return Ok(listed(Answer::Missing(Instant::now())));
        };
        let child = parent.facts().state().child(name).and_then(|child| child.node);
        if let Some(node) = child.and_then(|number| self.current_node(number))
            && (node.identity().inode() == entry.inode || node.is_elsewhere())
        {
            cached.count(CacheEvent::Answered(Question::Name));
            let confirmed = self.confirmed(cached, &node)?;
            return Ok(listed(Answer::Node { node, confirmed, is_counted: false }));
        }
        self.ask_name(cached, parent, name).map(listed)
    }

    fn current_node(&self, number: crate::mirror::number::NodeId) -> Option<Arc<Node>> {
        self.table.node(number).ok().filter(|node| !node.facts().is_retired())
    }

    /// Asks the share for a name.
    fn ask_name(&self, cached: &CachedVolume, parent: &Arc<Node>, name: &[u8]) -> Result<Answer, Errno> {
        let ticket = parent.facts().ticket();
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
        let answer = child.and_then(|child| match child.node {
            None => Some(Answer::Missing(child.confirmed)),
            Some(number) => {
                let node = self.current_node(number)?;
                let known = node.facts().last()?;
                let confirmed = Confirmed { stat: known.stat(&cached.template), at: known.confirmed };
                Some(Answer::Node { node, confirmed, is_counted: false })
            }
        });
        answer.map_or_else(|| self.look_up(cached, parent, name, ticket), Ok)
    }

    /// Looks a name up in the original directory and keeps the answer. A descriptor of the file is kept for the next
    /// requests, which then need no name.
    fn look_up(
        &self,
        cached: &CachedVolume,
        parent: &Arc<Node>,
        name: &[u8],
        ticket: u64,
    ) -> Result<Answer, Errno> {
        let (asked, changes) = (Instant::now(), cached.changes());
        let directory = self.reach(parent)?;
        self.hold(parent, &directory);
        let look = || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = self.with_room(|| rustix::fs::openat(&*directory, name, flags, Mode::empty()))?;
            // The lookup has brought the attributes along, so the share is not asked again.
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
            Ok((rustix::fs::statx(&file, c"", flags, attribute::WANTED)?, file))
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
            return Ok(Answer::Missing(asked));
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
        Ok(Answer::Node { node, confirmed: Confirmed { stat, at: asked }, is_counted: true })
    }

    /// Records that the kernel keeps the answer for a name for a long time. Returns whether there was room.
    pub(in crate::mirror) fn keeps_long(&self, parent: &Node, name: &[u8], answer: &Answer) -> bool {
        let (node, confirmed) = match answer {
            Answer::Node { node, confirmed, .. } => (Some(node.number), confirmed.at),
            Answer::Missing(at) => (None, *at),
        };
        parent.facts().state().directory().keep(name, Child { node, confirmed, is_long: true })
    }
}

/// Returns the rest of the time for which a fact that was confirmed at `at` is valid.
pub(in crate::mirror) fn rest(time: Duration, at: Instant) -> Duration {
    time.saturating_sub(at.elapsed())
}
