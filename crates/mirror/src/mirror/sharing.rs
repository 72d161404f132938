//! How long the kernel may remember names and attributes. It checks permissions with what it remembers, so as soon as
//! somebody asks who does not have all rights, every path is looked up anew: each directory on the way is searched
//! as the caller, and the kernel decides with attributes from that look-up. While there are only callers with all
//! rights, nothing depends on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::wire::Validity;

/// For how long after the last request of such a caller paths are looked up anew, in milliseconds.
const AFTERWARDS: u64 = 5_000;

/// The shortest time that the kernel knows: until the next tick of its clock. A path that is looked up is checked
/// with the attributes that the look-up brought.
const ONE_TICK: Duration = Duration::from_nanos(1);

/// The facts of their callers that all volumes of a session share.
#[derive(Debug)]
pub struct Sharing {
    /// How long the kernel may remember while all callers have all rights.
    remember: Duration,
    /// When a caller without all rights asked last, in milliseconds of a clock that starts above 0; 0 for never.
    last: AtomicU64,
    /// When the first of those asked that have come since.
    since: AtomicU64,
}

impl Sharing {
    /// For a session whose callers all have all rights, as far as is known.
    pub fn new(remember: Duration) -> Arc<Self> {
        Arc::new(Self { remember, last: AtomicU64::new(0), since: AtomicU64::new(0) })
    }

    /// A caller asks who does not have all rights.
    pub fn noticed(&self) {
        let now = milliseconds();
        let last = self.last.swap(now, Ordering::AcqRel);
        if last == 0 || now > last + AFTERWARDS {
            self.since.store(now, Ordering::Release);
        }
    }

    /// Whether somebody may ask who does not have all rights.
    pub(super) fn is_shared(&self) -> bool {
        let last = self.last.load(Ordering::Acquire);
        last != 0 && milliseconds() <= last + AFTERWARDS
    }

    /// Whether the kernel may still remember what it was told before that caller came.
    pub(super) fn is_new(&self) -> bool {
        let remembered = u64::try_from(self.remember.as_millis()).unwrap_or(u64::MAX).saturating_add(100);
        let last = self.last.load(Ordering::Acquire);
        last != 0 && milliseconds() <= self.since.load(Ordering::Acquire).saturating_add(remembered)
    }

    /// How long the kernel may remember a name and the attributes of what it leads to.
    pub(super) fn validity(&self) -> Validity {
        if self.remember.is_zero() || !self.is_shared() {
            return Validity { entry: self.remember, attributes: self.remember };
        }
        Validity { entry: Duration::ZERO, attributes: ONE_TICK }
    }
}

/// A clock that is cheap to read, and exact to a tick.
fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    (now.tv_sec as u64).saturating_mul(1_000) + now.tv_nsec as u64 / 1_000_000 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_remembered_once_somebody_asks_who_has_not_all_rights() {
        let sharing = Sharing::new(Duration::from_secs(1));
        assert_eq!(sharing.validity().entry, Duration::from_secs(1));
        assert!(!sharing.is_new());
        sharing.noticed();
        let validity = sharing.validity();
        assert_eq!((validity.entry, validity.attributes), (Duration::ZERO, ONE_TICK));
        assert!(sharing.is_new());
    }

    #[test]
    fn they_are_forgotten_when_they_have_gone() {
        let sharing = Sharing::new(Duration::from_secs(1));
        let long_ago = milliseconds().saturating_sub(AFTERWARDS + 10);
        sharing.last.store(long_ago.max(1), Ordering::Release);
        sharing.since.store(1, Ordering::Release);
        if long_ago > 0 {
            assert_eq!(sharing.validity().attributes, Duration::from_secs(1));
        }
        sharing.noticed();
        assert!(sharing.is_new(), "what was told meanwhile is still remembered");
    }
}
