//! Attributes of the source's files as the kernel wants them, and the times that it sends.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use rustix::fs::{Statx, StatxTimestamp, Timespec, UTIME_NOW, UTIME_OMIT};

/// Returns the attributes of a file.
pub(crate) fn attributes(stat: &Statx) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.stx_ino),
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        crtime: time(stat.stx_btime),
        kind: kind(rustix::fs::FileType::from_raw_mode(u32::from(stat.stx_mode))),
        perm: stat.stx_mode & 0o7777,
        nlink: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        // A device number has at most 32 bits here, as in the protocol.
        rdev: u32::try_from(rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor))
            .unwrap_or_default(),
        blksize: stat.stx_blksize,
        flags: 0,
    }
}

/// Returns the kind of a file. Unknown kinds do not occur on the file systems that tests use.
pub(crate) fn kind(kind: rustix::fs::FileType) -> FileType {
    use rustix::fs::FileType as Source;
    match kind {
        Source::Directory => FileType::Directory,
        Source::Symlink => FileType::Symlink,
        Source::Fifo => FileType::NamedPipe,
        Source::Socket => FileType::Socket,
        Source::CharacterDevice => FileType::CharDevice,
        Source::BlockDevice => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn time(time: StatxTimestamp) -> SystemTime {
    let whole = Duration::from_secs(time.tv_sec.unsigned_abs());
    let seconds =
        if time.tv_sec < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
    seconds + Duration::from_nanos(u64::from(time.tv_nsec))
}

/// Returns a time that utimensat(2) takes. `None` leaves the time as it is.
pub(crate) fn new_time(time: Option<TimeOrNow>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(TimeOrNow::SpecificTime(time)) => since_epoch(time),
    }
}

fn since_epoch(time: SystemTime) -> Timespec {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Timespec { tv_sec: seconds(after), tv_nsec: after.subsec_nanos().into() },
        Err(error) => {
            let before = error.duration();
            let fraction = i64::from(before.subsec_nanos());
            let borrowed = i64::from(fraction > 0);
            Timespec { tv_sec: -seconds(before) - borrowed, tv_nsec: borrowed * 1_000_000_000 - fraction }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(tv_sec: i64, tv_nsec: u32) -> StatxTimestamp {
        let file = tempfile::tempfile().expect("a file");
        let stat = rustix::fs::statx(
            &file,
            "",
            rustix::fs::AtFlags::EMPTY_PATH,
            rustix::fs::StatxFlags::BASIC_STATS,
        );
        let mut stamp = stat.expect("attributes").stx_mtime;
        (stamp.tv_sec, stamp.tv_nsec) = (tv_sec, tv_nsec);
        stamp
    }

    #[test]
    fn times_before_and_after_the_epoch_come_back_to_the_nanosecond() {
        for (seconds, nanoseconds) in [(0, 0), (1, 999_999_999), (1_800_000_000, 1), (-1, 5), (-7, 0)] {
            let back = since_epoch(time(stamp(seconds, nanoseconds)));
            assert_eq!((back.tv_sec, back.tv_nsec), (seconds, i64::from(nanoseconds)));
        }
    }
}
