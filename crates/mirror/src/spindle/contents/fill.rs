//! Reads a file from its share into the store.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, AtFlags, Statx, fadvise, statx};

use super::{Contents, open, reason};
use crate::mirror::{CachedFile, Moment, Stamp, WANTED_ATTRIBUTES};
use crate::spindle::figures::{Count, Counters};
use crate::spindle::store::{NewObject, Object, Store};

/// The least number of times that a file is read if it changes meanwhile, and the time for which it is tried again.
const ATTEMPTS: usize = 3;
const PATIENCE: Duration = Duration::from_millis(500);

/// The age in which a change may still be under way: a file system sets the time first, and then the content.
const SETTLED: Duration = Duration::from_millis(20);

/// The bytes that are read at once.
const PIECE: usize = 1 << 20;

/// The result of a fill.
pub(super) enum Filled {
    /// The content is in the store, and these are the attributes of its version.
    Kept(Arc<Object>, Statx),
    /// The file is so young that its next change might not be noticed. The copy serves only those who wait for it.
    Private(Arc<Object>, Statx),
    /// The original must be read, for this reason.
    Refused(Count),
}

/// Reads a file with these attributes.
pub(super) fn fill(contents: &Contents, store: &Store, cached: &CachedFile<'_>) -> Filled {
    let counters = &contents.counters;
    let (mut before, begun) = (*cached.stat, Instant::now());
    let (mut attempts, mut last) = (0, None);
    while attempts < ATTEMPTS || begun.elapsed() < PATIENCE {
        attempts += 1;
        counters.count(Count::AskedOpens);
        // A network file system makes sure at each open that its pages are those of the file. A file that was removed
        // meanwhile can still be read. One that was removed before is looked up again.
        let Some(file) = open(cached).ok().or(last.take()) else {
            return Filled::Refused(Count::OriginalUnsteady);
        };
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        if let Some(age) = Stamp::of(&before).age_below(Moment::now(), SETTLED) {
            std::thread::sleep(SETTLED - age);
            counters.count(Count::AskedAttributes);
            let Ok(settled) = attributes(&file) else { return Filled::Refused(Count::OriginalFailed) };
            if !Stamp::of(&settled).is_same(&Stamp::of(&before)) {
                (before, last) = (settled, Some(file));
                continue;
            }
        }
        if before.stx_size > Contents::largest_whole(store) {
            return Filled::Refused(Count::OriginalUnsteady);
        }
        let new = match store.begin(before.stx_size) {
            Ok(new) => new,
            Err(refusal) => return Filled::Refused(reason(&refusal)),
        };
        let copied = copy(&file, new, before.stx_size, counters);
        counters.count(Count::AskedAttributes);
        let Ok(after) = attributes(&file) else { return Filled::Refused(Count::OriginalFailed) };
        match copied {
            Err(CopyError::Store) => return Filled::Refused(Count::OriginalFailed),
            // A file that becomes shorter meanwhile has changed.
            Ok(new) if Stamp::of(&after).is_same(&Stamp::of(&before)) => {
                let _ = fadvise(&file, 0, None, Advice::DontNeed);
                return finish(contents, new, after);
            }
            Ok(_) | Err(CopyError::Original) => {}
        }
        counters.count(Count::FillsTorn);
        (before, last) = (after, Some(file));
    }
    Filled::Refused(Count::OriginalUnsteady)
}

fn finish(contents: &Contents, new: NewObject, stat: Statx) -> Filled {
    if !contents.is_settled(&Stamp::of(&stat)) {
        return Filled::Private(new.into_unnamed(), stat);
    }
    match new.commit() {
        Ok(object) => Filled::Kept(object, stat),
        Err(_) => Filled::Refused(Count::OriginalFailed),
    }
}

/// The side on which a copy failed.
enum CopyError {
    Original,
    Store,
}

/// Copies `size` bytes.
fn copy(file: &File, mut new: NewObject, size: u64, counters: &Counters) -> Result<NewObject, CopyError> {
    // The share is asked for all parts at once.
    let _ = fadvise(file, 0, std::num::NonZero::new(size), Advice::WillNeed);
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(PIECE)];
    let mut position = 0;
    while position < size {
        let wanted = usize::try_from(size - position).unwrap_or(usize::MAX).min(buffer.len());
        let count = match file.read_at(&mut buffer[..wanted], position) {
            Ok(0) => return Err(CopyError::Original),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(CopyError::Original),
        };
        counters.count(Count::AskedReads);
        counters.add(Count::ReadBytes, count as u64);
        new.write_all(&buffer[..count]).map_err(|_| CopyError::Store)?;
        position += count as u64;
    }
    Ok(new)
}

/// Asks the share for the attributes of an open file.
pub(super) fn attributes(file: &File) -> Result<Statx, rustix::io::Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    statx(file, c"", flags, WANTED_ATTRIBUTES)
}
