//! A provider of files that are read from elsewhere, for example from a copy that lies nearer.

use std::fs::File;
use std::os::fd::BorrowedFd;

use rustix::fs::Statx;

use super::observer::Caller;

/// Is asked when a regular file is opened for reading alone, from many threads.
pub trait Provider: Send + Sync {
    /// An open file whose content is read instead of the original's, or nothing, and then the original is
    /// read. The caller waits meanwhile.
    ///
    /// The content must be that of the original as its attributes tell it: those shown are the original's.
    /// It is read until the original is opened for writing or truncated in the mirror; from then on, and
    /// for all later opens as long as the kernel knows the file, the original is.
    fn provide(&self, wanted: &Wanted<'_>) -> Option<File>;
}

/// A file that is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The caller that opens the file.
    pub caller: Caller,
    /// From the root of the mirror, in bytes as the file system has it. Of a very long one both ends:
    /// [`super::path_ends`].
    pub path: &'a [u8],
    /// Which file it is, as it is now: device, number, size, times.
    pub stat: &'a Statx,
    /// The original (`O_PATH`), to be opened through `/proc/self/fd`.
    pub original: BorrowedFd<'a>,
}
