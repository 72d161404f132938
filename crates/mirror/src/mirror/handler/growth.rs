//! Volumes of a single file that somebody outside makes longer. The kernel looks the names of other files up
//! again, which tells it their sizes; the root of a mount has no name, and sendfile(2) and splice(2) read as
//! far as the last size that the kernel was told.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use crate::mirror::attribute;
use crate::mirror::volume::Volume;
use crate::mirror::wire::{ROOT, write_invalidation, write_stored};

/// Tells the kernel before the root is opened, where it is longer than the kernel knows.
pub(super) fn tell(volume: &Volume, file: &File) {
    let Ok(stat) = attribute::of_file(file) else { return };
    let (size, mut last) = (stat.stx_size, [0]);
    // One thread tells each size: the kernel may have it wait for a read that others are to answer.
    let known = volume.root_size.fetch_max(size, Ordering::Relaxed);
    if size <= known || rustix::io::pread(file, &mut last, size - 1) != Ok(1) {
        return;
    }
    // What was the last page has zeros behind the old end. The size is taken from data that are said to be
    // there, so the last byte is.
    let (mut invalidation, mut stored) = (Vec::new(), Vec::new());
    write_invalidation(&mut invalidation, ROOT, known);
    write_stored(&mut stored, ROOT, size - 1, &last);
    for message in [invalidation, stored] {
        // Where the kernel does not take it, it has no such page, or has been unmounted.
        let _ = rustix::io::write(volume.device.as_fd(), &message);
    }
}
