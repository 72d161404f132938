//! Attributes of a file in little memory: as `struct statx` they need 256 bytes.

use std::time::Instant;

use rustix::fs::{Statx, StatxAttributes, StatxTimestamp};

use crate::mirror::stamp::Stamp;

/// The attributes of a file, and the time at which the share confirmed them.
#[derive(Clone, Copy, Debug)]
pub(in crate::mirror) struct KnownAttributes {
    pub confirmed: Instant,
    mount: u64,
    attributes: u64,
    inode: u64,
    size: u64,
    blocks: u64,
    /// Access, birth, change and modification.
    times: [(i64, u32); 4],
    mask: u32,
    links: u32,
    user: u32,
    group: u32,
    block_size: u32,
    special_device: (u32, u32),
    device: (u32, u32),
    mode: u16,
}

impl KnownAttributes {
    /// Returns attributes that the share has confirmed at this time.
    pub(in crate::mirror) fn new(stat: &Statx, confirmed: Instant) -> Self {
        let time = |time: &StatxTimestamp| (time.tv_sec, time.tv_nsec);
        Self {
            confirmed,
            mount: stat.stx_mnt_id,
            attributes: stat.stx_attributes.bits(),
            inode: stat.stx_ino,
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            times: [
                time(&stat.stx_atime),
                time(&stat.stx_btime),
                time(&stat.stx_ctime),
                time(&stat.stx_mtime),
            ],
            mask: stat.stx_mask,
            links: stat.stx_nlink,
            user: stat.stx_uid,
            group: stat.stx_gid,
            block_size: stat.stx_blksize,
            special_device: (stat.stx_rdev_major, stat.stx_rdev_minor),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            mode: stat.stx_mode,
        }
    }

    /// Returns the attributes as the kernel has returned them. `template` has the fields that nobody uses.
    pub(in crate::mirror) fn stat(&self, template: &Statx) -> Statx {
        let mut stat = *template;
        let set = |time: &mut StatxTimestamp, (seconds, nanoseconds)| {
            (time.tv_sec, time.tv_nsec) = (seconds, nanoseconds);
        };
        stat.stx_mnt_id = self.mount;
        stat.stx_attributes = StatxAttributes::from_bits_retain(self.attributes);
        (stat.stx_ino, stat.stx_size, stat.stx_blocks) = (self.inode, self.size, self.blocks);
        let [access, birth, change, modification] = self.times;
        set(&mut stat.stx_atime, access);
        set(&mut stat.stx_btime, birth);
        set(&mut stat.stx_ctime, change);
        set(&mut stat.stx_mtime, modification);
        (stat.stx_mask, stat.stx_nlink) = (self.mask, self.links);
        (stat.stx_uid, stat.stx_gid, stat.stx_blksize) = (self.user, self.group, self.block_size);
        (stat.stx_rdev_major, stat.stx_rdev_minor) = self.special_device;
        (stat.stx_dev_major, stat.stx_dev_minor) = self.device;
        stat.stx_mode = self.mode;
        stat
    }

    /// Returns the stamp of the file.
    pub(in crate::mirror) fn stamp(&self, template: &Statx) -> Stamp {
        Stamp::of(&self.stat(template))
    }

    /// Returns the size of the file in bytes.
    pub(in crate::mirror) fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::attribute;

    #[test]
    fn attributes_are_the_same_afterwards() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "content").expect("it is ours");
        let stat = attribute::of_file(file.as_file()).expect("attributes");
        let template =
            attribute::of_file(std::fs::File::open("/proc").expect("it is there")).expect("attributes");
        let known = KnownAttributes::new(&stat, Instant::now());
        let mut mask = stat;
        // The mask of supported attributes belongs to the file system, not to the file.
        mask.stx_attributes_mask = template.stx_attributes_mask;
        assert_eq!(format!("{:?}", known.stat(&template)), format!("{mask:?}"));
        assert!(known.stamp(&template).is_same(&Stamp::of(&stat)));
        assert!(size_of::<KnownAttributes>() <= 192, "{}", size_of::<KnownAttributes>());
    }
}
