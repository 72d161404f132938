//! Files that are read ahead: looked up and filled before a program asks for them.

use std::collections::VecDeque;
use std::sync::Arc;

use rustix::io::Errno;

use super::names::Answer;
use super::{CachedFile, CachedVolume};
use crate::mirror::node::Node;
use crate::mirror::volume::Volume;
use crate::mirror::wire::ROOT;

/// The most links on a path (`MAXSYMLINKS`, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The result of reading a path ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The file, directory or link is known, and a regular file's content is in the cache or cannot be.
    Done,
    /// There is no such file.
    Missing,
    /// The path continues at this path of the mirror.
    Elsewhere(Vec<u8>),
}

impl Volume {
    /// Looks up a path of this volume, which begins with `/`, and puts the content of a regular file into the cache.
    /// Links are followed. It does nothing for a volume that is not cached.
    ///
    /// # Errors
    ///
    /// If the share is asked and refuses.
    pub fn read_ahead(&self, path: &[u8]) -> Result<Ahead, Errno> {
        let Some(cached) = &self.cached else { return Ok(Ahead::Done) };
        let mut walk = Walk { volume: self, cached, counted: Vec::new(), links: 0 };
        let result = walk.follow(path);
        // No kernel has received these nodes.
        walk.counted.iter().for_each(|node| self.table.forget(node.number, 1));
        result
    }

    /// Whether a directory of this volume contains a name, as far as its listing shows. `None` if it cannot be listed.
    ///
    /// # Errors
    ///
    /// As for [`Self::read_ahead`].
    pub fn lists(&self, directory: &[u8], name: &[u8]) -> Result<Option<bool>, Errno> {
        let Some(cached) = &self.cached else { return Ok(None) };
        let mut walk = Walk { volume: self, cached, counted: Vec::new(), links: 0 };
        let found = walk.node(directory);
        let listed = found.and_then(|found| {
            let Step::Node(node) = found else { return Ok(Some(false)) };
            if !node.is_directory() {
                return Ok(Some(false));
            }
            let confirmed = self.confirmed(cached, &node)?;
            let listing = self.listing(cached, &node, &confirmed.stat, false);
            Ok(listing.map(|listing| listing.find(name).is_some()))
        });
        walk.counted.iter().for_each(|node| self.table.forget(node.number, 1));
        listed
    }

    /// Puts the content of a node into the cache.
    fn fill_ahead(&self, cached: &CachedVolume, node: &Arc<Node>) -> Result<(), Errno> {
        if node.kind != libc::S_IFREG || node.facts().is_being_written() || node.facts().is_left_out() {
            return Ok(());
        }
        let ticket = node.facts().ticket();
        let confirmed = self.confirmed(cached, node)?;
        let path = self.placed(node.path());
        let original = || self.reach(node);
        let file = CachedFile { path: &path, stat: &confirmed.stat, original: &original, is_ahead: true };
        let asked = std::time::Instant::now();
        if let Some(found) = cached.cache.content(&file) {
            node.facts().opened();
            if let Some(stat) = found.stat {
                self.note(cached, node, &stat, asked, ticket);
            }
        }
        Ok(())
    }
}

/// The walk along one path.
struct Walk<'a> {
    volume: &'a Volume,
    cached: &'a CachedVolume,
    /// The nodes with a counted lookup.
    counted: Vec<Arc<Node>>,
    links: usize,
}

/// The result of a walk along a path.
enum Step {
    Node(Arc<Node>),
    Missing,
    Elsewhere(Vec<u8>),
}

impl Walk<'_> {
    fn follow(&mut self, path: &[u8]) -> Result<Ahead, Errno> {
        Ok(match self.node(path)? {
            Step::Missing => Ahead::Missing,
            Step::Elsewhere(path) => Ahead::Elsewhere(path),
            Step::Node(node) if node.is_elsewhere() => Ahead::Done,
            Step::Node(node) if node.is_directory() => {
                let confirmed = self.volume.confirmed(self.cached, &node)?;
                self.volume.listing(self.cached, &node, &confirmed.stat, false);
                Ahead::Done
            }
            Step::Node(node) => {
                self.volume.fill_ahead(self.cached, &node)?;
                Ahead::Done
            }
        })
    }

    /// Returns the node of a path.
    fn node(&mut self, path: &[u8]) -> Result<Step, Errno> {
        let mut rest: VecDeque<Vec<u8>> = names(path).collect();
        let mut node = self.volume.table.node(ROOT)?;
        while let Some(name) = rest.pop_front() {
            match &*name {
                b"." => continue,
                b".." => {
                    match node.named_place() {
                        Some((parent, _)) => node = parent,
                        // The path leaves the volume.
                        None => return Ok(Step::Missing),
                    }
                    continue;
                }
                _ => {}
            }
            let child = match self.volume.resolve(self.cached, &node, &name)?.answer {
                Answer::Missing => return Ok(Step::Missing),
                Answer::Node { node, is_counted, .. } => {
                    if is_counted {
                        self.counted.push(Arc::clone(&node));
                    }
                    node
                }
            };
            if !child.is_link() || child.is_elsewhere() {
                node = child;
                continue;
            }
            self.links += 1;
            if self.links > MOST_LINKS {
                return Err(Errno::LOOP);
            }
            let target = self.volume.link_target(self.cached, &child)?;
            if target.first() == Some(&b'/') {
                let mut path = target.into_vec();
                rest.iter().for_each(|name| path.extend([b"/", &**name].concat()));
                return Ok(Step::Elsewhere(path));
            }
            names(&target).rev().for_each(|name| rest.push_front(name));
        }
        Ok(Step::Node(node))
    }
}

/// Returns the names in a path.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}
