//! Large files, which are filled in chunks. A program that reads the head of such a file does not wait for the rest.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::io::Errno;

use super::fill::attributes;
use super::{Contents, reason, reopen};
use crate::mirror::{CachedFile, Content, Stamp};
use crate::spindle::figures::Count;
use crate::spindle::store::{Digest, Object};

/// The size of a chunk in bytes. The last chunk of a file may be shorter.
pub(in crate::spindle) const CHUNK: u32 = 4 << 20;

/// The chunks of one version of a file.
#[derive(Debug)]
pub(in crate::spindle) struct ChunkTable {
    size: u64,
    /// The lock of a chunk is held while it is filled, so that the share is read once.
    chunks: Vec<Mutex<Option<Digest>>>,
}

impl ChunkTable {
    /// Creates the table of a file of `size` bytes, of which nothing is known.
    pub(in crate::spindle) fn new(size: u64) -> Self {
        let count = usize::try_from(size.div_ceil(u64::from(CHUNK))).unwrap_or(0);
        Self { size, chunks: (0..count).map(|_| Mutex::new(None)).collect() }
    }

    /// Creates a table with known chunks. Returns `None` if their number does not fit the size.
    pub(in crate::spindle) fn with(size: u64, digests: &[Option<Digest>]) -> Option<Self> {
        let table = Self::new(size);
        if table.chunks.len() != digests.len() {
            return None;
        }
        let chunks = digests.iter().map(|digest| Mutex::new(*digest)).collect();
        Some(Self { chunks, ..table })
    }

    /// Returns the digests of the chunks that are known.
    pub(in crate::spindle) fn digests(&self) -> Vec<Option<Digest>> {
        self.chunks.iter().map(|chunk| *lock(chunk)).collect()
    }

    fn length(&self, number: usize) -> usize {
        let start = number as u64 * u64::from(CHUNK);
        usize::try_from(self.size.saturating_sub(start).min(u64::from(CHUNK))).unwrap_or(0)
    }
}

/// A large file that is read chunk by chunk.
pub(super) struct Chunked {
    contents: Arc<Contents>,
    table: Arc<ChunkTable>,
    stamp: Stamp,
    original: Arc<OwnedFd>,
    file: OnceLock<File>,
    path: Vec<u8>,
}

impl Chunked {
    /// Creates the content. Returns `None` if no descriptor is left.
    pub(super) fn new(
        contents: &Arc<Contents>,
        table: Arc<ChunkTable>,
        stamp: Stamp,
        file: &CachedFile<'_>,
    ) -> Option<Self> {
        let original = (file.original)().ok()?;
        let (contents, path) = (Arc::clone(contents), file.path.to_vec());
        Some(Self { contents, table, stamp, original, file: OnceLock::new(), path })
    }

    fn original(&self) -> Result<&File, Errno> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        self.contents.counters.count(Count::AskedOpens);
        let file = reopen(&self.original);
        let file = file.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(self.file.get_or_init(|| file))
    }

    /// Returns a chunk from the store, and fills it if it is not there.
    fn chunk(&self, number: usize) -> Result<Arc<Object>, Errno> {
        let store = self.contents.store().ok_or(Errno::IO)?;
        let mut digest = self.table.chunks.get(number).map(lock).ok_or(Errno::IO)?;
        if let Some(object) = digest.as_ref().and_then(|digest| store.get(digest)) {
            return Ok(object);
        }
        let counters = &self.contents.counters;
        let refused = |count| {
            counters.count(count);
            Errno::IO
        };
        let length = self.table.length(number);
        let mut new = store.begin(length as u64).map_err(|refusal| refused(reason(&refusal)))?;
        let (file, mut buffer) = (self.original()?, vec![0; length]);
        let begun = std::time::Instant::now();
        let offset = number as u64 * u64::from(CHUNK);
        let advise =
            |advice| rustix::fs::fadvise(file, offset, std::num::NonZero::new(length as u64), advice);
        let _ = advise(rustix::fs::Advice::WillNeed);
        file.read_exact_at(&mut buffer, offset).map_err(|_| refused(Count::FillsTorn))?;
        // The pages are in memory once: those of the cache.
        let _ = advise(rustix::fs::Advice::DontNeed);
        counters.count(Count::AskedReads);
        counters.add(Count::ReadBytes, length as u64);
        counters.count(Count::AskedAttributes);
        let after = attributes(file)?;
        counters.waited(begun.elapsed());
        if !Stamp::of(&after).is_same(&self.stamp) {
            return Err(refused(Count::FillsTorn));
        }
        new.write_all(&buffer).map_err(|_| refused(Count::OriginalFailed))?;
        let object = new.commit().map_err(|_| refused(Count::OriginalFailed))?;
        counters.count(Count::Fills);
        *digest = Some(object.digest());
        Ok(object)
    }
}

impl Content for Chunked {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn whole(&self) -> Option<&File> {
        None
    }

    fn is_program(&self) -> bool {
        false
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buffer.len() {
            let position = offset + done as u64;
            if position >= self.table.size {
                break;
            }
            let number = usize::try_from(position / u64::from(CHUNK)).map_err(|_| Errno::OVERFLOW)?;
            let within = position % u64::from(CHUNK);
            let object = self.chunk(number)?;
            let file = object.file().map_err(|_| Errno::IO)?;
            let wanted = (self.table.length(number) - within as usize).min(buffer.len() - done);
            let count = rustix::io::pread(&file, &mut buffer[done..done + wanted], within)?;
            if count == 0 {
                return Err(Errno::IO);
            }
            done += count;
        }
        self.contents.counters.served(&self.path, done as u64);
        Ok(done)
    }

    fn may_pass(&self) -> bool {
        false
    }

    fn detach(&self) {}

    fn write(&self, _data: &[u8], _offset: u64) {}

    fn set_size(&self, _size: u64) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
