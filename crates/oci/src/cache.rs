//! The cache of pulled artifacts: `$XDG_CACHE_HOME/compat`, or else `~/.cache/compat`.
//!
//! On disk, `blobs/ALGORITHM/HEX` holds content, which is verified again when it is read. `names/HEX.json`
//! records the manifest of a tag, and `lists/HEX.json` records the referrers of a manifest. Names and lists
//! can change, so they are used offline only. Every file is written under a temporary name and renamed, so
//! any number of processes can share the directory without locks.
//!
//! A limit holds after each write: the oldest entries are removed until the rest fits. Each file counts as
//! the blocks that it occupies, at least one, so that many small files are bounded too. Each writer in
//! another process may temporarily add one file.
//!
//! A cache never causes a failure. Unreadable content is fetched again. If content cannot be written, it is
//! skipped, with one note.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::manifest::{Descriptor, Resolved, media_type_of};
use crate::limit;
use crate::observer::Observer;

const BLOBS: &str = "blobs";
const NAMES: &str = "names";
const LISTS: &str = "lists";
/// All directories that contain files.
const DIRECTORIES: [&str; 5] = ["blobs/sha256", "blobs/sha384", "blobs/sha512", NAMES, LISTS];
/// The minimum disk space of a file, as on most file systems.
const BLOCK: u64 = 4096;

/// The cache, which may be disabled.
#[derive(Clone, Debug)]
pub struct Cache {
    root: Option<PathBuf>,
    limit: Option<u64>,
    observer: Arc<dyn Observer>,
    complained: Arc<AtomicBool>,
}

#[derive(Serialize, Deserialize)]
struct NameRecord {
    reference: String,
    descriptor: Descriptor,
}

#[derive(Serialize, Deserialize)]
struct ListRecord {
    subject: String,
    referrers: Vec<Descriptor>,
}

/// One entry of the cache, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// A reference, or the digest of content.
    pub name: String,
    /// The kind of entry: `content`, `tag` or `list`.
    pub kind: &'static str,
    /// The digest that a tag points to.
    pub digest: Option<Digest>,
    /// Its size on disk.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    path: PathBuf,
}

/// The entries that a pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of entries.
    pub entries: usize,
    /// The number of bytes.
    pub bytes: u64,
}

/// Returns the directory that the environment defines, if any.
pub fn default_directory() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    caches.map(|caches| caches.join("compat"))
}

impl Cache {
    /// Creates the cache in a directory. Without a directory, nothing is cached.
    pub fn new(root: Option<PathBuf>, observer: Arc<dyn Observer>) -> Self {
        Self { root, limit: None, observer, complained: Arc::default() }
    }

    /// Returns the same cache with a size limit in bytes.
    #[must_use]
    pub fn with_limit(self, limit: Option<u64>) -> Self {
        Self { limit, ..self }
    }

    /// The directory.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    fn blob_path(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.root.as_ref()?.join(BLOBS).join(digest.algorithm()).join(digest.hex()))
    }

    fn record_path(&self, directory: &str, key: &str) -> Option<PathBuf> {
        let name = format!("{}.json", Digest::of(key.as_bytes()).hex());
        Some(self.root.as_ref()?.join(directory).join(name))
    }

    /// Returns content by its digest, verified.
    pub fn blob(&self, digest: &Digest, limit: u64) -> Option<Bytes> {
        let path = self.blob_path(digest)?;
        let bytes = read(&path, limit).or_else(|| {
            // An unreadable entry would not be replaced by the fetched content.
            discard(&path);
            None
        })?;
        if digest.same_algorithm_of(&bytes) != *digest {
            // Caused by a faulty disk or another program: the content is fetched and written again.
            let _ = fs::remove_file(&path);
            return None;
        }
        Some(bytes.into())
    }

    /// Stores content. Different content under the same digest is replaced.
    pub(crate) fn keep_blob(&self, digest: &Digest, bytes: &[u8]) {
        let Some(path) = self.blob_path(digest) else { return };
        if read(&path, bytes.len() as u64).as_deref() != Some(bytes) {
            self.write(&path, bytes);
        }
    }

    /// Returns a manifest by its digest.
    pub fn manifest(&self, digest: &Digest) -> Option<Resolved> {
        let bytes = self.blob(digest, limit::MANIFEST)?;
        let mut descriptor = Descriptor::of(media_type_of(&bytes, None), &bytes);
        descriptor.digest = digest.clone();
        Some(Resolved { descriptor, bytes })
    }

    /// Stores a manifest.
    pub(crate) fn keep_manifest(&self, resolved: &Resolved) {
        self.keep_blob(&resolved.descriptor.digest, &resolved.bytes);
    }

    /// Returns the manifest of a tag as last seen.
    pub fn tagged(&self, place: &str, tag: &str) -> Option<Resolved> {
        let key = format!("{place}:{tag}");
        let record: NameRecord = parse(&self.record_path(NAMES, &key)?)?;
        let digest = record.descriptor.digest.clone();
        let mut resolved = self.manifest(&digest).filter(|_| record.reference == key)?;
        resolved.descriptor.media_type = record.descriptor.media_type;
        Some(resolved)
    }

    /// Stores the current manifest of a tag.
    pub(crate) fn keep_tag(&self, place: &str, tag: &str, descriptor: &Descriptor) {
        let reference = format!("{place}:{tag}");
        let Some(path) = self.record_path(NAMES, &reference) else { return };
        self.write_record(&path, &NameRecord { reference, descriptor: descriptor.bare() });
    }

    /// Returns the referrers of a manifest as last seen.
    pub fn referrers(&self, place: &str, subject: &Digest) -> Option<Vec<Descriptor>> {
        let key = format!("{place}@{subject}");
        let record: ListRecord = parse(&self.record_path(LISTS, &key)?)?;
        (record.subject == key).then_some(record.referrers)
    }

    /// Stores the current referrers of a manifest.
    pub(crate) fn keep_referrers(&self, place: &str, subject: &Digest, referrers: &[Descriptor]) {
        let subject = format!("{place}@{subject}");
        let Some(path) = self.record_path(LISTS, &subject) else { return };
        self.write_record(&path, &ListRecord { subject, referrers: referrers.to_vec() });
    }

    fn write_record(&self, path: &Path, record: &impl Serialize) {
        if let Ok(bytes) = serde_json::to_vec(record) {
            self.write(path, &bytes);
        }
    }

    /// Writes a file. The first failure is noted.
    fn write(&self, path: &Path, bytes: &[u8]) {
        if self.limit.is_some_and(|limit| (bytes.len() as u64).next_multiple_of(BLOCK) > limit) {
            return;
        }
        let directory = path.parent().unwrap_or(path);
        self.heal(path);
        let outcome = fs::create_dir_all(directory).and_then(|()| {
            let mut temporary = compat_sys::Temporary::new(directory)?;
            temporary.write_all(bytes)?;
            temporary.persist(path)?;
            match self.limit {
                Some(limit) => self.shrink(limit).map(|_| ()).map_err(std::io::Error::other),
                None => Ok(()),
            }
        });
        if let Err(error) = outcome
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            let root = self.root.as_deref().unwrap_or(path).display();
            self.observer.note(&format!("continuing without the cache in {root}: {error}"));
        }
    }

    /// Removes obstacles to a file of the cache: a directory of its name, or a file in place of a directory.
    fn heal(&self, path: &Path) {
        let Some(root) = &self.root else { return };
        let above = path.ancestors().skip(1).take_while(|directory| *directory != root.as_path());
        for directory in above.filter(|directory| directory.starts_with(root)) {
            if fs::symlink_metadata(directory).is_ok_and(|found| !found.is_dir() && !found.is_symlink()) {
                let _ = fs::remove_file(directory);
            }
        }
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            discard(path);
        }
    }

    /// Returns all entries of the cache.
    ///
    /// # Errors
    ///
    /// If the directory exists but cannot be read ([`Error::Io`]).
    pub fn entries(&self) -> Result<Vec<CacheEntry>> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        for algorithm in ["sha256", "sha384", "sha512"] {
            for (path, name, size, modified) in files(&root.join(BLOBS).join(algorithm))? {
                let name = format!("{algorithm}:{name}");
                entries.push(CacheEntry { name, kind: "content", digest: None, size, modified, path });
            }
        }
        for (path, _, size, modified) in files(&root.join(NAMES))? {
            if let Some(NameRecord { reference, descriptor }) = parse(&path) {
                let digest = Some(descriptor.digest);
                entries.push(CacheEntry { name: reference, kind: "tag", digest, size, modified, path });
            }
        }
        for (path, _, size, modified) in files(&root.join(LISTS))? {
            if let Some(ListRecord { subject, .. }) = parse(&path) {
                entries.push(CacheEntry { name: subject, kind: "list", digest: None, size, modified, path });
            }
        }
        entries.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(entries)
    }

    /// Removes entries that were last written longer ago than `age`, or all entries.
    ///
    /// # Errors
    ///
    /// If the directory exists but cannot be read or changed ([`Error::Io`]).
    pub fn prune(&self, age: Option<Duration>) -> Result<Pruned> {
        let Some(root) = &self.root else { return Ok(Pruned::default()) };
        let old =
            |modified: SystemTime, age: Duration| modified.elapsed().is_ok_and(|elapsed| elapsed >= age);
        let mut pruned = Pruned::default();
        for directory in DIRECTORIES.map(|directory| root.join(directory)) {
            for (path, name, size, modified) in files_with_temporary(&directory)? {
                // A recent temporary file is still being written.
                let abandoned = old(modified, Duration::from_secs(3600));
                let wanted = age.is_none_or(|age| old(modified, age));
                if if name.starts_with('.') { !abandoned } else { !wanted } {
                    continue;
                }
                pruned.remove(&path, size)?;
            }
        }
        Ok(pruned)
    }

    /// Removes the oldest entries until the rest occupies at most `limit` bytes of disk space.
    ///
    /// # Errors
    ///
    /// If the directory exists but cannot be read or changed ([`Error::Io`]).
    pub fn shrink(&self, limit: u64) -> Result<Pruned> {
        let Some(root) = &self.root else { return Ok(Pruned::default()) };
        let mut found = Vec::new();
        for directory in DIRECTORIES.map(|directory| root.join(directory)) {
            found.extend(files_with_temporary(&directory)?);
        }
        let occupied = |size: u64| size.next_multiple_of(BLOCK).max(BLOCK);
        let mut total: u64 = found.iter().map(|(_, _, size, _)| occupied(*size)).sum();
        found.sort_by_key(|(_, _, _, modified)| *modified);
        let mut pruned = Pruned::default();
        for (path, _, size, _) in found {
            if total <= limit {
                break;
            }
            pruned.remove(&path, size)?;
            total -= occupied(size);
        }
        Ok(pruned)
    }
}

impl Pruned {
    /// Removes a file. A file that another process has already removed does not count.
    fn remove(&mut self, path: &Path, size: u64) -> Result<()> {
        match fs::remove_file(path) {
            Ok(()) => {
                self.entries += 1;
                self.bytes += size;
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io("remove", path)(error)),
        }
    }
}

type FoundFile = (PathBuf, String, u64, SystemTime);

fn files(directory: &Path) -> Result<Vec<FoundFile>> {
    let mut found = files_with_temporary(directory)?;
    found.retain(|(_, name, _, _)| !name.starts_with('.'));
    Ok(found)
}

fn files_with_temporary(directory: &Path) -> Result<Vec<FoundFile>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", directory)(error)),
    };
    // Files that another process has removed in the meantime are skipped.
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let name = entry.file_name().into_string().ok()?;
        Some((entry.path(), name, metadata.len(), metadata.modified().ok()?))
    };
    Ok(entries.filter_map(file).collect())
}

/// Removes a path that is not a file of the cache, whatever its type.
fn discard(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => drop(fs::remove_dir_all(path)),
        Ok(_) => drop(fs::remove_file(path)),
        Err(_) => {}
    }
}

fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    compat_sys::open_regular(path).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&read(path, limit::SPECIFICATION)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Silent;

    fn cache(root: &Path) -> Cache {
        Cache::new(Some(root.to_owned()), Arc::new(Silent))
    }

    #[test]
    fn content_that_was_changed_on_disk_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let digest = Digest::of(b"abc");
        cache.keep_blob(&digest, b"abc");
        assert_eq!(cache.blob(&digest, 10).unwrap(), &b"abc"[..]);
        let path = cache.blob_path(&digest).unwrap();
        fs::write(&path, "abX").unwrap();
        assert_eq!(cache.blob(&digest, 10), None);
        assert!(!path.exists());
    }

    #[test]
    fn whatever_lies_in_the_place_of_a_file_is_replaced_by_what_is_fetched() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let bytes = Bytes::from_static(br#"{"schemaVersion":2,"layers":[]}"#);
        let resolved = Resolved { descriptor: Descriptor::of("m", &bytes), bytes };
        let digest = &resolved.descriptor.digest;
        // An online check fetches the content and stores it.
        let keep = || {
            cache.keep_manifest(&resolved);
            cache.keep_tag("h/a", "1", &resolved.descriptor);
            cache.keep_referrers("h/a", digest, std::slice::from_ref(&resolved.descriptor));
        };
        let is_whole = || {
            cache.tagged("h/a", "1").is_some_and(|found| found.bytes == resolved.bytes)
                && cache.referrers("h/a", digest).is_some_and(|found| found.len() == 1)
        };
        keep();
        let paths: Vec<PathBuf> = cache.entries().unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths.len(), 3);
        for path in &paths {
            let spoils: [fn(&Path); 6] = [
                |path| fs::write(path, "").unwrap(),
                |path| fs::write(path, "{\"broken\": ").unwrap(),
                |path| fs::write(path, "{}").unwrap(),
                |path| fs::write(path, vec![b' '; 5 << 20]).unwrap(),
                |path| {
                    fs::remove_file(path).unwrap();
                    fs::create_dir_all(path.join("folder/in/it")).unwrap();
                },
                |path| {
                    let directory = path.parent().unwrap();
                    fs::remove_dir_all(directory).unwrap();
                    fs::write(directory, "a file").unwrap();
                },
            ];
            for (number, spoil) in spoils.into_iter().enumerate() {
                spoil(path);
                assert!(!is_whole(), "{number}");
                keep();
                assert!(is_whole(), "{number}: {}", path.display());
            }
        }
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_failure_and_is_noted_once() {
        #[derive(Debug, Default)]
        struct Notes(std::sync::Mutex<Vec<String>>);
        impl Observer for Notes {
            fn note(&self, text: &str) {
                self.0.lock().unwrap().push(text.into());
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let notes = Arc::new(Notes::default());
        let cache = Cache::new(Some(file), notes.clone());
        cache.keep_blob(&Digest::of(b"a"), b"a");
        cache.keep_blob(&Digest::of(b"b"), b"b");
        let notes = notes.0.lock().unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(cache.entries().is_err() || cache.entries().unwrap().is_empty());
    }

    #[test]
    fn names_and_lists_are_kept_and_pruned() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let bytes = Bytes::from_static(br#"{"schemaVersion":2,"layers":[]}"#);
        let resolved = Resolved { descriptor: Descriptor::of("m", &bytes), bytes };
        cache.keep_manifest(&resolved);
        cache.keep_tag("h/a", "1", &resolved.descriptor);
        cache.keep_referrers("h/a", &resolved.descriptor.digest, std::slice::from_ref(&resolved.descriptor));
        assert_eq!(cache.tagged("h/a", "1").unwrap().bytes, resolved.bytes);
        assert_eq!(cache.referrers("h/a", &resolved.descriptor.digest).unwrap().len(), 1);
        assert!(cache.tagged("h/a", "2").is_none());
        assert_eq!(cache.entries().unwrap().len(), 3);
        assert_eq!(cache.prune(Some(Duration::from_secs(60))).unwrap().entries, 0);
        assert_eq!(cache.prune(None).unwrap().entries, 3);
        assert!(cache.entries().unwrap().is_empty());
    }

    #[test]
    fn a_limit_holds_after_each_write_and_the_oldest_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let limit = 10 * BLOCK;
        let cache = cache(directory.path()).with_limit(Some(limit));
        let digests: Vec<Digest> = (0..40_u8).map(|number| Digest::of(&[number])).collect();
        for (number, digest) in digests.iter().enumerate() {
            cache.keep_blob(digest, &[number as u8]);
            // The order of writing is the order of times, whatever the clock of the file system.
            let file = fs::File::open(cache.blob_path(digest).unwrap()).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64)).unwrap();
            assert!(cache.entries().unwrap().len() as u64 * BLOCK <= limit);
        }
        let kept: Vec<bool> = digests.iter().map(|digest| cache.blob(digest, 10).is_some()).collect();
        assert_eq!(kept.iter().filter(|kept| **kept).count(), 10);
        assert!(kept[30..].iter().all(|kept| *kept));
        // Content larger than the limit is not stored, and removes nothing.
        let large = vec![1; limit as usize + 1];
        cache.keep_blob(&Digest::of(&large), &large);
        assert_eq!(cache.entries().unwrap().len(), 10);
        assert_eq!(cache.shrink(3 * BLOCK).unwrap().entries, 7);
    }

    #[test]
    fn many_writers_keep_to_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let (limit, path) = (8 * BLOCK, directory.path());
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                scope.spawn(move || {
                    let cache = cache(path).with_limit(Some(limit));
                    for number in 0..30_u8 {
                        cache.keep_blob(&Digest::of(&[writer, number]), &[writer, number]);
                    }
                });
            }
        });
        let left = cache(directory.path()).entries().unwrap().len() as u64;
        assert!((1..=8).contains(&left), "{left}");
    }

    #[test]
    fn many_writers_share_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"shared");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let cache = cache(directory.path());
                    for _ in 0..20 {
                        cache.keep_blob(&digest, b"shared");
                        assert_eq!(cache.blob(&digest, 10).unwrap(), &b"shared"[..]);
                        cache.keep_tag("h/a", "1", &Descriptor::of("m", b"shared"));
                    }
                });
            }
        });
        assert_eq!(cache(directory.path()).entries().unwrap().len(), 2);
    }
}
