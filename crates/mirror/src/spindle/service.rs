//! The service of cached mirrors.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use rustix::process::Pid;

use super::ahead::ReadAhead;
use super::figures::{Figures, Usage};
use super::index::VolumeKey;
use super::share_cache::{ShareCache, SharedParts};
use super::{News, Warning};
use crate::enter::{End, Mounted, Ready, Service};
use crate::mirror::{Cache, Volume};
use crate::record::RecordingService;
use crate::record::served::{Hooks, ServedVolumes};

/// Serves cached volumes, and records their events if requested.
pub(super) struct CachingService<'a> {
    parts: Arc<SharedParts>,
    served: ServedVolumes,
    caches: Vec<Arc<ShareCache>>,
    volumes: Vec<(Vec<u8>, Arc<Volume>)>,
    preload: Vec<PathBuf>,
    recording: Option<RecordingService<'a>>,
    /// The stacking depth of the cache's file system.
    depth: u32,
    tell: &'a mut dyn FnMut(&News<'_>),
    pub figures: Option<Figures>,
}

impl<'a> CachingService<'a> {
    /// Creates the service.
    pub(super) fn new(
        parts: Arc<SharedParts>,
        preload: Vec<PathBuf>,
        recording: Option<RecordingService<'a>>,
        depth: u32,
        tell: &'a mut dyn FnMut(&News<'_>),
    ) -> Self {
        let served = ServedVolumes::new(parts.coherence.short(), false);
        Self {
            parts,
            served,
            caches: Vec::new(),
            volumes: Vec::new(),
            preload,
            recording,
            depth,
            tell,
            figures: None,
        }
    }

    /// Returns the number of a volume. A share that is mounted inside and outside has one number.
    fn cache_of(&mut self, volume: VolumeKey) -> Arc<ShareCache> {
        if let Some(known) = self.caches.iter().find(|cache| *cache.volume() == volume) {
            return Arc::clone(known);
        }
        let number = u32::try_from(self.caches.len()).unwrap_or(u32::MAX);
        let cache = Arc::new(ShareCache::new(Arc::clone(&self.parts), number, volume));
        self.caches.push(Arc::clone(&cache));
        cache
    }

    fn current(&self) -> Figures {
        let usage = self.parts.contents.store().map(super::store::Store::usage).unwrap_or_default();
        let cache = Usage { bytes: usage.bytes, limit: usage.limit, objects: usage.objects as u64 };
        let mut figures = self.parts.counters.snapshot(cache);
        figures.evictions = usage.evictions;
        figures.originals.corrupt += usage.corrupt;
        figures
    }

    /// Writes down what the next run may use.
    fn keep(&self) {
        let (Some(index), Some(store)) = (&self.parts.index, self.parts.contents.store()) else { return };
        let Some(directory) = store.kept() else { return };
        let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
        for cache in &self.caches {
            cache.record_contents(&mut index);
        }
        // The next run starts without facts, but with the contents.
        let _ = index.save(directory);
    }
}

/// Returns the rights with which this process reads files. Facts of a run with other rights are not used, because the
/// share might refuse now what it allowed then.
fn rights() -> Vec<u8> {
    let mut groups: Vec<u32> =
        rustix::process::getgroups().unwrap_or_default().iter().map(|group| group.as_raw()).collect();
    groups.sort_unstable();
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    format!("\0{user}:{group}:{groups:?}").into_bytes()
}

impl Service for CachingService<'_> {
    fn mounted(&mut self, mounted: Mounted) -> io::Result<()> {
        let volume = VolumeKey {
            kind: mounted.kind.clone(),
            source: [&*mounted.source, &rights()].concat(),
            root: mounted.directory.clone(),
        };
        let (place, is_inside) = (mounted.place.clone(), mounted.outside.is_none());
        let cache: Arc<dyn Cache> = self.cache_of(volume);
        let observer = self.recording.as_ref().map(|recording| recording.observer(&mounted));
        let hooks = Hooks { observer, cache: Some(cache), depth: self.depth };
        let volume = self.served.serve(mounted, hooks)?;
        if is_inside {
            self.volumes.push((place, volume));
        }
        Ok(())
    }

    fn begin(&mut self, command: u32) -> io::Result<()> {
        if let Some(recording) = &mut self.recording {
            recording.begin(command)?;
        }
        let ahead = ReadAhead::new(std::mem::take(&mut self.volumes));
        ahead.preload(&self.preload);
        let _ = self.parts.ahead.set(ahead);
        Ok(())
    }

    fn joining(&mut self, process: u32) {
        self.recording.iter_mut().for_each(|recording| recording.joining(process));
    }

    fn joined(&mut self, process: u32, rank: u32) {
        self.recording.iter_mut().for_each(|recording| recording.joined(process, rank));
    }

    fn ready(&mut self, ready: &Ready<'_>) {
        (self.tell)(&News::Ready(ready));
    }

    fn still_inside(&mut self, processes: &[Pid]) {
        let numbers: Vec<u32> = processes.iter().map(|pid| pid.as_raw_nonzero().get() as u32).collect();
        (self.tell)(&News::StillInside(&numbers));
    }

    fn ranks_missing(&mut self, came: u32, expected: u32) {
        (self.tell)(&News::RanksMissing { came, expected });
    }

    fn figures(&mut self) -> Vec<u8> {
        serde_json::to_vec(&self.current()).unwrap_or_default()
    }

    fn figures_of_run(&mut self, figures: Vec<u8>) {
        self.figures = serde_json::from_slice(&figures).ok();
        for warning in self.figures.iter().flat_map(Warning::of) {
            (self.tell)(&News::Warning(&warning));
        }
    }

    fn end(&mut self, end: End) {
        self.served.drain();
        if let Some(recording) = &mut self.recording {
            recording.end(end);
        }
        self.keep();
        if let Some(store) = self.parts.contents.store() {
            store.close();
        }
    }

    fn server_killed(&mut self) {
        self.recording.iter_mut().for_each(Service::server_killed);
    }
}
