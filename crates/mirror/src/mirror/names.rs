//! By which of its names a file with several (hard links, link(2)) was met. The kernel opens a file by its number,
//! so the name has to be known from before: the thread has just had it looked up, or the kernel remembers the name.
//! The kernel remembers only a name that was answered while the file had no other ([`super::volume`]), so there is
//! one such name at the most.
//!
//! What it does not do: a file is found by the name that was used last (`node`), whatever is kept here. A thread that
//! looks at one name, and within a second opens the file by another that the kernel still remembers, is taken to have
//! opened the first.

use std::collections::VecDeque;
use std::sync::Arc;

/// A directory, and a name in it, which is kept once for all threads that have used it.
pub(super) type UsedName<D> = (Arc<D>, Arc<[u8]>);

/// How many look-ups are kept of one file: as many threads may be between a look-up and what they do with it.
const KEPT: usize = 16;

/// The names of one file by which it may be met next.
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
    /// The names of a file that had this one alone so far.
    pub(super) fn after(remembered: Option<UsedName<D>>) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// A thread has looked up this name.
    pub(super) fn found(&mut self, thread: u32, parent: &Arc<D>, name: &[u8]) {
        let mut known = self.found.iter().map(|(_, found)| found).chain(&self.remembered);
        let same = known.find(|known| is(known, parent, name)).cloned();
        self.found.retain(|(other, _)| *other != thread);
        if self.found.len() == KEPT {
            self.found.pop_front();
        }
        self.found.push_back((thread, same.unwrap_or_else(|| (Arc::clone(parent), name.into()))));
    }

    /// The name by which a thread has met the file.
    pub(super) fn of(&self, thread: u32) -> Option<&UsedName<D>> {
        let found = self.found.iter().find(|(other, _)| *other == thread).map(|(_, name)| name);
        found.or(self.remembered.as_ref())
    }

    /// This name is gone.
    pub(super) fn lost(&mut self, parent: &Arc<D>, name: &[u8]) {
        self.found.retain(|(_, found)| !is(found, parent, name));
        self.remembered.take_if(|remembered| is(remembered, parent, name));
    }

    /// This name has become another.
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
        assert!(names.of(0).is_none(), "the first has given way");
        let kept = |thread| Arc::clone(&names.of(thread).expect("it is kept").1);
        assert!(Arc::ptr_eq(&kept(1), &kept(KEPT as u32)));
    }
}
