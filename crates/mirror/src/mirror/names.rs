//! The names of a file with several names (hard links, link(2)), to determine which one a program used. The
//! kernel opens a file by its node number, so the name must be known from before: either the thread has just
//! looked it up, or the kernel remembers it. The kernel remembers only a name that was in a reply while the
//! file had no other name ([`super::volume`]). So it remembers at most one such name.
//!
//! The module does not affect how a file is found: that is always the name that was used last (`node`). There
//! is one imprecise case. A thread looks up one name, and within a second opens the file by another name that
//! the kernel still remembers. The open is then attributed to the first name.

use std::collections::VecDeque;
use std::sync::Arc;

/// A directory and a name in it, stored once for all threads that used it.
pub(super) type UsedName<D> = (Arc<D>, Arc<[u8]>);

/// The number of lookups stored for one file. As many threads may be between a lookup and the action that
/// follows.
const KEPT: usize = 16;

/// The names of one file that the next requests may have used.
#[derive(Debug)]
pub(super) struct UsedNames<D> {
    remembered: Option<UsedName<D>>,
    /// The names that threads looked up, the latest last.
    found: VecDeque<(u32, UsedName<D>)>,
}

impl<D> Default for UsedNames<D> {
    fn default() -> Self {
        Self { remembered: None, found: VecDeque::new() }
    }
}

impl<D> UsedNames<D> {
    /// Returns the names of a file that had only this name so far.
    pub(super) fn after(remembered: Option<UsedName<D>>) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// Records that a thread has looked up this name.
    pub(super) fn found(&mut self, thread: u32, parent: &Arc<D>, name: &[u8]) {
        let mut known = self.found.iter().map(|(_, found)| found).chain(&self.remembered);
        let same = known.find(|known| is(known, parent, name)).cloned();
        self.found.retain(|(other, _)| *other != thread);
        if self.found.len() == KEPT {
            self.found.pop_front();
        }
        self.found.push_back((thread, same.unwrap_or_else(|| (Arc::clone(parent), name.into()))));
    }

    /// Returns the name that a thread has used for the file.
    pub(super) fn of(&self, thread: u32) -> Option<&UsedName<D>> {
        let found = self.found.iter().find(|(other, _)| *other == thread).map(|(_, name)| name);
        found.or(self.remembered.as_ref())
    }

    /// Removes a name that no longer exists.
    pub(super) fn lost(&mut self, parent: &Arc<D>, name: &[u8]) {
        self.found.retain(|(_, found)| !is(found, parent, name));
        self.remembered.take_if(|remembered| is(remembered, parent, name));
    }

    /// Records that a name was renamed.
    pub(super) fn renamed(&mut self, (parent, name): (&Arc<D>, &[u8]), to: (&Arc<D>, &[u8])) {
        let found = self.found.iter_mut().map(|(_, found)| found).chain(&mut self.remembered);
        for known in found.filter(|known| is(known, parent, name)) {
            *known = (Arc::clone(to.0), to.1.into());
        }
    }
}

fn is<D>(known: &UsedName<D>, parent: &Arc<D>, name: &[u8]) -> bool {
    Arc::ptr_eq(&known.0, parent) && *known.1 == *name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::attribute;
    use crate::mirror::node::Node;
    use crate::mirror::number::NodeId;

    #[test]
    fn a_name_is_kept_once_for_all_threads() {
        let directory =
            rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).expect("the root");
        let stat = attribute::of_file(&directory).expect("its attributes");
        let root = Node::root(NodeId(1), directory, &stat);
        let mut names = UsedNames::default();
        for thread in 0..KEPT as u32 + 1 {
            names.found(thread, &root, b"a");
        }
        assert!(names.of(0).is_none(), "the oldest name was dropped");
        let kept = |thread| Arc::clone(&names.of(thread).expect("the name is stored").1);
        assert!(Arc::ptr_eq(&kept(1), &kept(KEPT as u32)));
    }
}
