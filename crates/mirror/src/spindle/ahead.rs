//! Files that are read ahead: those of `--preload`, and those that foresight expects. Programs overtake it: an open
//! waits only for the fill of its own file.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::foresee::Wish;
use crate::mirror::{Ahead, Volume};

/// The most paths that are remembered, so that none is read ahead twice.
const MOST: usize = 1 << 20;

/// The most volumes through which links lead.
const MOST_VOLUMES: usize = 40;

/// Reads files ahead in the background.
pub(super) struct ReadAhead {
    /// The volumes with their places, the deepest first.
    volumes: Vec<(Vec<u8>, Arc<Volume>)>,
    seen: Mutex<HashSet<Vec<u8>>>,
}

impl ReadAhead {
    /// Creates it for these volumes, with their places in the mirror.
    pub(super) fn new(mut volumes: Vec<(Vec<u8>, Arc<Volume>)>) -> Arc<Self> {
        volumes.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
        Arc::new(Self { volumes, seen: Mutex::default() })
    }

    /// Reads these paths ahead, in order.
    pub(super) fn preload(self: &Arc<Self>, paths: &[PathBuf]) {
        for path in paths {
            self.later(path.as_os_str().as_bytes().to_vec());
        }
    }

    /// Reads the wished files ahead. The directories are listed first, all at once.
    pub(super) fn wish(self: &Arc<Self>, wishes: Vec<Wish>) {
        let wishes: Vec<Wish> = wishes.into_iter().filter(|wish| self.is_new(&wish_name(wish))).collect();
        let directories: HashSet<Vec<u8>> =
            wishes.iter().flat_map(|wish| wish.directories.iter().cloned()).collect();
        for directory in directories {
            self.later(directory);
        }
        for wish in wishes {
            let Some((_, volume)) = self.volumes.first() else { return };
            let me = Arc::clone(self);
            volume.later(move || me.grant(&wish));
        }
    }

    /// Whether a path was not read ahead before.
    fn is_new(&self, path: &[u8]) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.len() < MOST && seen.insert(path.to_vec())
    }

    /// Queues a path, unless it lies outside of the shares or was read ahead before.
    fn later(self: &Arc<Self>, path: Vec<u8>) {
        let Some((volume, _)) = self.volume(&path) else { return };
        if self.is_new(&path) {
            let me = Arc::clone(self);
            volume.later(move || {
                me.read(path);
            });
        }
    }

    /// Returns the volume of a path, and the path in it.
    fn volume(&self, path: &[u8]) -> Option<(&Arc<Volume>, Vec<u8>)> {
        self.volumes.iter().find_map(|(place, volume)| {
            let rest = if place == b"/" { path } else { path.strip_prefix(&**place)? };
            let is_within = rest.is_empty() || rest.starts_with(b"/");
            is_within.then(|| (volume, rest.to_vec()))
        })
    }

    /// Reads a path ahead. Returns whether it exists in the shares.
    fn read(&self, mut path: Vec<u8>) -> bool {
        for _ in 0..MOST_VOLUMES {
            let Some((volume, within)) = self.volume(&path) else { return false };
            match volume.read_ahead(&within) {
                Ok(Ahead::Done) => return true,
                Ok(Ahead::Missing) | Err(_) => return false,
                Ok(Ahead::Elsewhere(next)) => path = next,
            }
        }
        false
    }

    /// Reads the first file ahead that the wish leads to.
    fn grant(&self, wish: &Wish) {
        for directory in wish.directories.iter() {
            let Some((volume, within)) = self.volume(directory) else {
                // The library may be there, outside of the shares.
                let path = [&**directory, b"/", &*wish.name].concat();
                if std::path::Path::new(std::ffi::OsStr::from_bytes(&path)).exists() {
                    return;
                }
                continue;
            };
            if matches!(volume.lists(&within, &wish.name), Ok(Some(false)) | Err(_)) {
                continue;
            }
            if self.read([&**directory, b"/", &*wish.name].concat()) {
                return;
            }
        }
    }
}

/// A name for the wish that no path has.
fn wish_name(wish: &Wish) -> Vec<u8> {
    let mut name = wish.name.clone();
    for directory in wish.directories.iter() {
        name.push(0);
        name.extend_from_slice(directory);
    }
    name
}
