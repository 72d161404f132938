//! Attributes in the kernel's structs (`struct fuse_attr`, `fuse_entry_out`, `fuse_statx`, `fuse_kstatfs`).

use std::time::Duration;

use rustix::fs::{StatVfs, Statx, StatxTimestamp};

use super::ReplyExt;
use crate::mirror::number::NodeId;

/// The times for which the kernel may use cached replies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    /// The time for which the name leads to this node.
    pub entry: Duration,
    /// The time for which the node's attributes are valid.
    pub attributes: Duration,
}

/// Writes the reply to any request that finds or creates a node.
pub(crate) fn write_entry(out: &mut Vec<u8>, node: NodeId, stat: &Statx, validity: Validity) {
    out.put_u64(node.0);
    out.put_u64(0); // generation: node numbers are never reused
    out.put_u64(validity.entry.as_secs());
    out.put_u64(validity.attributes.as_secs());
    out.put_u32(validity.entry.subsec_nanos());
    out.put_u32(validity.attributes.subsec_nanos());
    write_attribute(out, stat);
}

/// Writes the reply to a lookup of a name that does not exist. The kernel keeps it for this time.
pub(crate) fn write_missing_entry(out: &mut Vec<u8>, validity: Duration) {
    out.put_u64s(&[0, 0, validity.as_secs(), 0]);
    out.put_u32s(&[validity.subsec_nanos(), 0]);
    out.put_zeros(88);
}

/// Writes the reply to a request for attributes.
pub(crate) fn write_attributes(out: &mut Vec<u8>, stat: &Statx, validity: Validity) {
    out.put_u64(validity.attributes.as_secs());
    out.put_u32(validity.attributes.subsec_nanos());
    out.put_u32(0);
    write_attribute(out, stat);
}

/// `struct fuse_attr`.
fn write_attribute(out: &mut Vec<u8>, stat: &Statx) {
    out.put_u64s(&[stat.stx_ino, stat.stx_size, stat.stx_blocks]);
    let times = [stat.stx_atime, stat.stx_mtime, stat.stx_ctime];
    times.iter().for_each(|time| out.put_u64(time.tv_sec as u64));
    times.iter().for_each(|time| out.put_u32(time.tv_nsec));
    let device = device_number(stat.stx_rdev_major, stat.stx_rdev_minor);
    let mode = u32::from(stat.stx_mode);
    out.put_u32s(&[mode, stat.stx_nlink, stat.stx_uid, stat.stx_gid, device, stat.stx_blksize, 0]);
}

/// Packs a device number like the kernel's `new_encode_dev`.
fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Writes the reply to `FUSE_STATX`.
pub(crate) fn write_statx(out: &mut Vec<u8>, stat: &Statx, validity: Validity) {
    out.put_u64(validity.attributes.as_secs());
    out.put_u32(validity.attributes.subsec_nanos());
    out.put_u32(0);
    out.put_zeros(16);
    out.put_u32(stat.stx_mask);
    out.put_u32(stat.stx_blksize);
    out.put_u64(stat.stx_attributes.bits());
    out.put_u32s(&[stat.stx_nlink, stat.stx_uid, stat.stx_gid]);
    out.put_u16(stat.stx_mode);
    out.put_u16(0);
    out.put_u64s(&[stat.stx_ino, stat.stx_size, stat.stx_blocks]);
    out.put_u64(stat.stx_attributes_mask.bits());
    for time in [stat.stx_atime, stat.stx_btime, stat.stx_ctime, stat.stx_mtime] {
        write_time(out, time);
    }
    let numbers = [stat.stx_rdev_major, stat.stx_rdev_minor, stat.stx_dev_major, stat.stx_dev_minor];
    out.put_u32s(&numbers);
    out.put_zeros(14 * 8);
}

/// `struct fuse_sx_time`.
fn write_time(out: &mut Vec<u8>, time: StatxTimestamp) {
    out.put_u64(time.tv_sec as u64);
    out.put_u32(time.tv_nsec);
    out.put_u32(0);
}

/// Writes the reply to `FUSE_STATFS`.
pub(crate) fn write_volume_statistics(out: &mut Vec<u8>, volume: &StatVfs) {
    let numbers = [volume.f_blocks, volume.f_bfree, volume.f_bavail, volume.f_files, volume.f_ffree];
    out.put_u64s(&numbers);
    out.put_u32(volume.f_bsize as u32);
    out.put_u32(volume.f_namemax as u32);
    out.put_u32(volume.f_frsize as u32);
    out.put_zeros(28);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_sizes_of_the_header() {
        let stat = rustix::fs::statx(
            rustix::fs::CWD,
            "/",
            rustix::fs::AtFlags::empty(),
            crate::mirror::attribute::WANTED,
        )
        .expect("the root has attributes");
        let validity = Validity { entry: Duration::ZERO, attributes: Duration::from_millis(1500) };
        let size = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out.len()
        };
        assert_eq!(size(&|out| write_entry(out, NodeId(1), &stat, validity)), 128);
        assert_eq!(size(&|out| write_missing_entry(out, Duration::from_millis(1500))), 128);
        assert_eq!(size(&|out| write_attributes(out, &stat, validity)), 104);
        assert_eq!(size(&|out| write_statx(out, &stat, validity)), 288);
        let volume = rustix::fs::statvfs("/").expect("the root has a volume");
        assert_eq!(size(&|out| write_volume_statistics(out, &volume)), 80);
    }

    #[test]
    fn device_numbers_are_packed_as_the_kernel_does() {
        assert_eq!(device_number(10, 229), 0x0ae5);
        assert_eq!(device_number(259, 300), 0x0011_032c);
    }
}
