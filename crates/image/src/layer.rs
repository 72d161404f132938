//! One layer, merged below the layers above it.

use std::collections::HashMap;
use std::io::Read;

use crate::content::Classifier;
use crate::entry::{self, Header, MemberKind};
use crate::error::Fault;
use crate::limit::Limits;
use crate::merge::{self, EntryPosition, Linked, Merge, New};
use crate::path::{Components, Meaning, meaning};
use crate::tree::{File, FileId};
use crate::{limit, memory};

/// The state that passes from layer to layer.
pub(super) struct LayerState {
    pub merge: Merge,
    pub wanted: Wanted,
    pub classifier: Classifier,
    pub limits: Limits,
    pub entries: u64,
    /// The total size of sparse files, which exceeds their size in the archive.
    pub filled: u64,
    layer: u32,
}

/// Targets of hard links that are missing from the tree: an upper layer hides them, or a lower layer contains
/// them.
#[derive(Default)]
pub(super) struct Wanted {
    paths: HashMap<Components, Vec<Promise>>,
    /// The memory of these entries, in bytes.
    kept: u64,
    /// Whether the layer must be read again because it may contain a target that precedes its link.
    pub again: bool,
}

/// A placeholder for the target of a hard link.
struct Promise {
    file: FileId,
    layer: u32,
    /// The link and its target, as errors show them.
    link: Box<str>,
    target: Box<str>,
}

impl LayerState {
    pub(crate) fn new(limits: Limits) -> std::io::Result<Self> {
        Ok(Self {
            merge: Merge::new(),
            wanted: Wanted::default(),
            classifier: Classifier::new()?,
            limits,
            entries: 0,
            filled: 0,
            layer: 0,
        })
    }

    /// Merges a layer, given as a plain tar archive, below the layers before it.
    pub(crate) fn apply(&mut self, layer: u32, archive: impl Read) -> Result<(), Fault> {
        self.layer = layer;
        self.merge.begin(layer);
        self.wanted.again = false;
        entry::for_each(archive, |header, content| {
            self.count(&header)?;
            self.take(header, content)
        })
    }

    /// Reads the same layer again, only for the targets of hard links.
    pub(crate) fn search(&mut self, archive: impl Read) -> Result<(), Fault> {
        self.wanted.again = false;
        entry::for_each(archive, |header, content| {
            self.count(&header)?;
            match header.kind {
                MemberKind::File if self.wanted.paths.contains_key(&header.path) => {
                    let file = self.read(&header, content)?;
                    self.keep_promises(&header.path, &file);
                }
                MemberKind::HardLink(target) => self.redirect(&header.path, &target),
                _ => {}
            }
            self.check_memory()
        })
    }

    /// Returns the first hard link without a target in any layer, and the number of its layer.
    pub(crate) fn broken_link(&self) -> Option<(u32, Fault)> {
        let promises = self.wanted.paths.values().flatten();
        let promise = promises.min_by_key(|promise| (promise.layer, &promise.link))?;
        let Promise { link, target, .. } = promise;
        let fault = format!("{link} is a hard link to {target}, which the image does not contain");
        Some((promise.layer, Fault::malformed(fault)))
    }

    fn count(&mut self, header: &Header) -> Result<(), Fault> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Fault::Limit {
                what: "the number of entries in the image",
                limit: self.limits.entries,
            });
        }
        if header.has_holes {
            self.filled = self.filled.saturating_add(header.size);
            if self.filled > self.limits.unpacked {
                return Err(Fault::Limit {
                    what: "the total size in bytes of sparse files",
                    limit: self.limits.unpacked,
                });
            }
        }
        Ok(())
    }

    fn take(&mut self, header: Header, content: &mut dyn Read) -> Result<(), Fault> {
        match meaning(&header.path) {
            _ if header.kind == MemberKind::None => {}
            Meaning::None => {}
            Meaning::Hides(path) => self.merge.hide(&path)?,
            Meaning::HidesContent(path) => self.merge.hide_content(&path)?,
            Meaning::Content => self.take_content(header, content)?,
        }
        self.check_memory()
    }

    /// The memory of the merged tree and the open hard links, in bytes.
    pub(crate) fn kept(&self) -> u64 {
        self.merge.kept() + self.wanted.kept
    }

    fn check_memory(&self) -> Result<(), Fault> {
        if self.kept() > self.limits.kept {
            let what = "the memory in bytes for the image's files";
            return Err(Fault::Limit { what, limit: self.limits.kept });
        }
        Ok(())
    }

    fn take_content(&mut self, header: Header, content: &mut dyn Read) -> Result<(), Fault> {
        let is_wanted = self.wanted.paths.contains_key(&header.path);
        let place = self.merge.locate(&header.path)?;
        let covered = place.as_ref().is_some_and(|place| self.merge.is_covered(place));
        match (header.kind.clone(), place) {
            (MemberKind::File, place) => {
                let shows = place.is_some() && !covered;
                let file = if shows || is_wanted { Some(self.read(&header, content)?) } else { None };
                if let Some(file) = file.as_ref().filter(|_| is_wanted) {
                    self.keep_promises(&header.path, file);
                }
                self.put_file(place.as_ref(), file.filter(|_| shows))
            }
            (MemberKind::HardLink(target), place) => {
                if is_wanted {
                    self.redirect(&header.path, &target);
                }
                match place {
                    Some(place) if covered => self.merge.put(&place, New::Other),
                    Some(place) => self.link(&place, &header.path, target),
                    None => Ok(()),
                }
            }
            (_, None) | (MemberKind::None, _) => Ok(()),
            (MemberKind::Directory, Some(place)) => {
                self.merge.put(&place, New::Directory(header.mode, header.owner))
            }
            (MemberKind::Link(target), Some(place)) => self.merge.put(&place, New::Link(target.into())),
            (MemberKind::Other, Some(place)) => self.merge.put(&place, New::Other),
        }
    }

    fn put_file(&mut self, place: Option<&EntryPosition>, file: Option<File>) -> Result<(), Fault> {
        match (place, file) {
            (None, _) => Ok(()),
            // The directory of an upper layer stays, but the file below it still counts.
            (Some(place), None) => self.merge.put(place, New::Other),
            (Some(place), Some(file)) => {
                let id = self.merge.add_file(file);
                self.merge.put(place, New::File(id))
            }
        }
    }

    fn read(&mut self, header: &Header, content: &mut dyn Read) -> Result<File, Fault> {
        let content = self.classifier.read(&header.path, header.size, content)?;
        Ok(File {
            mode: header.mode,
            owner: header.owner,
            size: header.size,
            capabilities: header.capabilities,
            content,
        })
    }

    fn link(&mut self, place: &EntryPosition, link: &Components, target: Components) -> Result<(), Fault> {
        if let Linked::Found(found) = self.merge.linked(&target)? {
            return self.merge.put(place, found);
        }
        let file = self.merge.promise_file();
        self.merge.put(place, New::File(file))?;
        let (link, named) = (merge::shown(link).into(), merge::shown(&target).into());
        self.wanted.add(&target, Promise { file, layer: self.layer, link, target: named });
        Ok(())
    }

    /// Fills all placeholders for a path with `file`.
    fn keep_promises(&mut self, path: &Components, file: &File) {
        for promise in self.wanted.remove(path) {
            self.merge.fill_file(promise.file, file.clone());
        }
    }

    /// Handles a wanted path that is itself a hard link.
    fn redirect(&mut self, path: &Components, target: &Components) {
        for promise in self.wanted.remove(path) {
            self.wanted.add(target, promise);
        }
    }
}

impl Wanted {
    fn add(&mut self, path: &Components, promise: Promise) {
        self.kept += promise.kept();
        match self.paths.get_mut(path) {
            Some(promises) => promises.push(promise),
            None => {
                // Copies the path without spare capacity: the path of an entry has room for more names.
                let path: Components = path.to_vec();
                self.kept += Self::kept_by(&path);
                self.paths.insert(path, vec![promise]);
            }
        }
        self.again = true;
    }

    fn remove(&mut self, path: &Components) -> Vec<Promise> {
        let Some((path, promises)) = self.paths.remove_entry(path) else { return Vec::new() };
        let kept = Self::kept_by(&path) + promises.iter().map(Promise::kept).sum::<u64>();
        self.kept = self.kept.saturating_sub(kept);
        promises
    }

    /// The memory of a path, its slot in the table, which may be half empty, and its first placeholders.
    fn kept_by(path: &Components) -> u64 {
        let place = 2 * (size_of::<(Components, Vec<Promise>)>() + 1) + 4 * size_of::<Promise>();
        memory::of_components(path) + place as u64
    }
}

impl Promise {
    /// The memory of a placeholder, in a list that may be half empty.
    fn kept(&self) -> u64 {
        let place = 2 * size_of::<Self>();
        place as u64 + memory::allocated(self.link.len()) + memory::allocated(self.target.len())
    }
}

/// The most times that a layer is read again.
pub(super) const ROUNDS: usize = limit::HARD_LINK_ROUNDS;
