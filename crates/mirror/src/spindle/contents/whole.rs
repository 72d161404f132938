//! The whole content of one version of a file.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Advice, Mode, OFlags, fadvise};
use rustix::io::Errno;

use crate::mirror::{Content, Stamp};
use crate::spindle::store::Object;

/// The first bytes of a program or library (`ELFMAG`, elf(5)).
const ELF: &[u8] = b"\x7fELF";

/// The smallest read in bytes after which the pages of the cache's file are dropped: the kernel has them in the pages
/// of the mirror's file.
const WORTH_DROPPING: usize = 64 << 10;

/// An object that is read instead of a file.
pub(in crate::spindle) struct Whole {
    object: Arc<Object>,
    file: File,
    stamp: Stamp,
    is_program: bool,
    /// Whether the object follows the changes of this file.
    follows: AtomicBool,
    /// The same file, open for writing.
    for_writing: OnceLock<Option<File>>,
}

impl Whole {
    /// Opens an object as the content of the version with this stamp. Returns `None` if it was damaged.
    pub(super) fn new(object: Arc<Object>, stamp: Stamp) -> Option<Self> {
        let file = object.file().ok()?;
        let mut head = [0; 4];
        let is_program = file.read_exact_at(&mut head, 0).is_ok() && head == *ELF;
        Some(Self {
            object,
            file,
            stamp,
            is_program,
            follows: AtomicBool::new(false),
            for_writing: OnceLock::new(),
        })
    }

    /// Whether nobody has changed the object since it was verified.
    pub(super) fn is_intact(&self) -> bool {
        self.object.is_intact(&self.file)
    }

    fn for_writing(&self) -> Option<&File> {
        let open = || {
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).ok().map(File::from)
        };
        self.for_writing.get_or_init(open).as_ref()
    }
}

impl Content for Whole {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn whole(&self) -> Option<&File> {
        Some(&self.file)
    }

    fn is_program(&self) -> bool {
        self.is_program
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let change = self.object.change();
        if *change && !self.follows.load(Ordering::Acquire) {
            // The object follows the changes of another file that had the same content.
            return Err(Errno::STALE);
        }
        let count = rustix::io::pread(&self.file, &mut *buffer, offset)?;
        drop(change);
        if count >= WORTH_DROPPING {
            let _ = fadvise(&self.file, offset, std::num::NonZero::new(count as u64), Advice::DontNeed);
        }
        Ok(count)
    }

    fn may_pass(&self) -> bool {
        // All opens of one file share this content, so another holder belongs to another file.
        Arc::strong_count(&self.object) == 1
    }

    fn detach(&self) {
        self.follows.store(true, Ordering::Release);
        self.object.detach();
    }

    fn write(&self, data: &[u8], offset: u64) {
        if let Some(file) = self.for_writing() {
            let _ = file.write_all_at(data, offset);
        }
    }

    fn set_size(&self, size: u64) {
        if let Some(file) = self.for_writing() {
            let _ = file.set_len(size);
        }
    }
}
