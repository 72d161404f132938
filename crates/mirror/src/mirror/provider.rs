//! A provider of files that are read from another place, for example from a nearer copy.

use std::fs::File;
use std::os::fd::BorrowedFd;

use rustix::fs::Statx;

use super::observer::Caller;

/// Is called when a regular file is opened only for reading, from many threads.
pub trait Provider: Send + Sync {
    /// Returns an open file to read instead of the original. `None` means that the original is read. The
    /// caller waits meanwhile.
    ///
    /// The content must match the original as its attributes describe it, because the original's attributes
    /// are shown. The mirror reads the provided file until the original is opened for writing or truncated in
    /// the mirror. From then on it reads the original, for later opens too, as long as the kernel knows the
    /// file.
    fn provide(&self, wanted: &Wanted<'_>) -> Option<File>;
}

/// A file that is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The caller that opens the file.
    pub caller: Caller,
    /// The path from the root of the mirror, in the bytes of the file system. A very long path is shortened
    /// to both ends: see [`super::path_ends`].
    pub path: &'a [u8],
    /// The current attributes of the file: device, number, size, times.
    pub stat: &'a Statx,
    /// The original (`O_PATH`). Open it through `/proc/self/fd`.
    pub original: BorrowedFd<'a>,
}
