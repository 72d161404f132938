//! Stamps: the attributes that show whether a file is still the same and has not changed.
//!
//! A file system stores times in steps. Linux takes them from the clock of the last timer tick (1 to 10 ms), and some
//! file systems and servers store whole seconds. A change in the same step as an earlier one leaves no trace. So facts
//! about a file that changed a moment ago are not kept: see [`Stamp::is_young`].

use std::time::Duration;

use rustix::fs::{Statx, StatxFlags, StatxTimestamp};
use rustix::time::{ClockId, clock_gettime};

/// The nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// A time of the system's clock: seconds since 1970 and nanoseconds, as statx(2) shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// The seconds since 1970-01-01 00:00:00 UTC.
    pub seconds: i64,
    /// The nanoseconds after the second.
    pub nanoseconds: u32,
}

impl Moment {
    /// The current time of this machine (`CLOCK_REALTIME`, clock_gettime(2)).
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Realtime);
        Self { seconds: now.tv_sec, nanoseconds: u32::try_from(now.tv_nsec).unwrap_or_default() }
    }

    fn of(time: &StatxTimestamp) -> Self {
        Self { seconds: time.tv_sec, nanoseconds: time.tv_nsec }
    }

    fn since_epoch(self) -> i128 {
        i128::from(self.seconds) * SECOND + i128::from(self.nanoseconds)
    }
}

/// The identity, size and times of a file on its volume. Facts about the file are valid for one stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The inode number.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// The last change of the content.
    pub mtime: Moment,
    /// The last change of the content or the attributes.
    pub ctime: Moment,
    /// The creation of the inode, if the file system shows it. It distinguishes files that have the same inode number
    /// one after the other.
    pub birth: Option<Moment>,
}

impl Stamp {
    /// The attributes to request from statx(2).
    pub const MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

    /// The stamp of a file with these attributes.
    pub fn of(stat: &Statx) -> Self {
        let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        Self {
            inode: stat.stx_ino,
            size: stat.stx_size,
            mtime: Moment::of(&stat.stx_mtime),
            ctime: Moment::of(&stat.stx_ctime),
            birth: has_birth.then(|| Moment::of(&stat.stx_btime)),
        }
    }

    /// Whether two stamps show the same unchanged file. The birth counts only if both have it, because a file system
    /// may omit it from attributes in its cache.
    pub fn is_same(&self, other: &Self) -> bool {
        let birth = self.birth.is_none() || other.birth.is_none() || self.birth == other.birth;
        birth && Self { birth: None, ..*self } == Self { birth: None, ..*other }
    }

    /// Returns the time since the last change, or `None` if it is later than `now` or longer ago than `most`.
    pub fn age_below(&self, now: Moment, most: Duration) -> Option<Duration> {
        let age = now.since_epoch() - self.mtime.max(self.ctime).since_epoch();
        let age = Duration::from_nanos(u64::try_from(age).ok()?);
        (age < most).then_some(age)
    }

    /// Whether the file may change again without a change of its stamp.
    ///
    /// This is the case if it changed less than 1 s before `now`, or less than 2 s if both times are whole seconds.
    /// It is also the case if a time is later than `now`, because the next changes can get the same time.
    pub fn is_young(&self, now: Moment) -> bool {
        let is_coarse = self.mtime.nanoseconds == 0 && self.ctime.nanoseconds == 0;
        let grain = if is_coarse { 2 * SECOND } else { SECOND };
        let latest = self.mtime.max(self.ctime).since_epoch();
        now.since_epoch() - latest < grain
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{AtFlags, statx};

    use super::*;

    fn moment(seconds: i64, nanoseconds: u32) -> Moment {
        Moment { seconds, nanoseconds }
    }

    fn stamp(mtime: Moment, ctime: Moment) -> Stamp {
        Stamp { inode: 7, size: 100, mtime, ctime, birth: Some(moment(1, 2)) }
    }

    #[test]
    fn a_file_is_young_for_a_second_after_its_last_change() {
        let changed = moment(100, 500_000_000);
        for stamp in [stamp(changed, moment(3, 4)), stamp(moment(3, 4), changed)] {
            assert!(stamp.is_young(changed) && stamp.is_young(moment(101, 499_999_999)));
            assert!(!stamp.is_young(moment(101, 500_000_000)) && !stamp.is_young(moment(200, 0)));
            assert!(stamp.is_young(moment(100, 0)), "its time is later than now");
        }
    }

    #[test]
    fn the_age_of_a_file_is_known_if_it_is_small() {
        let file = stamp(moment(3, 4), moment(100, 999_999_999));
        let age = |now| file.age_below(now, Duration::from_millis(20));
        assert_eq!(age(moment(101, 4_999_999)), Some(Duration::from_millis(5)));
        assert_eq!([age(moment(100, 0)), age(moment(101, 20_000_000)), age(moment(i64::MAX, 0))], [None; 3]);
    }

    #[test]
    fn whole_seconds_in_both_times_are_young_for_two() {
        let coarse = stamp(moment(100, 0), moment(100, 0));
        assert!(coarse.is_young(moment(101, 999_999_999)) && !coarse.is_young(moment(102, 0)));
        // One exact time shows that the file system stores nanoseconds.
        let exact = stamp(moment(100, 0), moment(50, 1));
        assert!(exact.is_young(moment(100, 999_999_999)) && !exact.is_young(moment(101, 0)));
    }

    #[test]
    fn times_that_no_clock_shows_are_accepted() {
        let last = stamp(moment(i64::MAX, u32::MAX), moment(i64::MIN, 0));
        assert!(last.is_young(moment(i64::MIN, 0)) && last.is_young(Moment::now()));
        let first = stamp(moment(i64::MIN, 0), moment(i64::MIN, 0));
        assert!(!first.is_young(moment(i64::MAX, u32::MAX)) && !first.is_young(Moment::now()));
    }

    #[test]
    fn each_part_of_a_stamp_counts_and_a_missing_birth_does_not() {
        let before = stamp(moment(100, 5), moment(100, 6));
        let others = [
            Stamp { inode: 8, ..before },
            Stamp { size: 101, ..before },
            Stamp { mtime: moment(100, 6), ..before },
            Stamp { ctime: moment(100, 7), ..before },
            Stamp { birth: Some(moment(1, 3)), ..before },
        ];
        assert!(before.is_same(&before) && others.iter().all(|other| !before.is_same(other)));
        let unborn = Stamp { birth: None, ..before };
        assert!(before.is_same(&unborn) && unborn.is_same(&before));
    }

    #[test]
    fn a_real_file_has_a_stamp_that_a_change_changes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let stat = || Stamp::of(&statx(&file, c"", AtFlags::EMPTY_PATH, Stamp::MASK).expect("attributes"));
        let before = stat();
        assert!(before.is_same(&stat()) && before.is_young(Moment::now()));
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
        file.as_file().set_modified(old).expect("it is ours");
        let after = stat();
        assert_eq!((after.mtime, after.inode), (moment(1_000_000_000, 5), before.inode));
        assert!(!after.is_same(&before) && after.is_young(Moment::now()), "its attributes changed just now");
        fs::write(file.path(), "longer").expect("it is ours");
        assert_eq!(stat().size, 6);
    }
}
