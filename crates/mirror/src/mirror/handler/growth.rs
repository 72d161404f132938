//! Volumes of a single file that somebody outside makes longer. The kernel learns the sizes of other files
//! when it looks their names up again. The root of a mount has no name, and sendfile(2) and splice(2) read
//! only up to the last size that the kernel knows.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use crate::mirror::attribute;
use crate::mirror::volume::Volume;
use crate::mirror::wire::{ROOT, write_invalidation, write_stored};

/// Notifies the kernel before the root is opened, if the file is longer than the kernel knows.
pub(super) fn tell(volume: &Volume, file: &File) {
    let Ok(stat) = attribute::of_file(file) else { return };
    let (size, mut last) = (stat.stx_size, [0]);
    // Only one thread notifies the kernel of each size, because the notification may wait for a read that
    // other threads are to answer.
    let known = volume.root_size.fetch_max(size, Ordering::Relaxed);
    if size <= known || rustix::io::pread(file, &mut last, size - 1) != Ok(1) {
        return;
    }
    // The former last page has zeros behind the old end. The kernel takes the size from stored data, so the
    // last byte is stored.
    let (mut invalidation, mut stored) = (Vec::new(), Vec::new());
    write_invalidation(&mut invalidation, ROOT, known);
    write_stored(&mut stored, ROOT, size - 1, &last);
    for message in [invalidation, stored] {
        // A failure means that the kernel has no such page or has unmounted the volume.
        let _ = rustix::io::write(volume.device.as_fd(), &message);
    }
}
