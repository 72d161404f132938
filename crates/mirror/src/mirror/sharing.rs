//! Rules for how long the kernel may cache names and attributes. The kernel checks permissions with cached
//! attributes. So once a caller without all rights sends requests, every path is looked up anew. Each
//! directory on the way is then searched with the caller's credentials, and the kernel decides with
//! attributes from that lookup. While all callers have all rights, nothing depends on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::wire::Validity;

/// The time in milliseconds, after the last request of such a caller, for which paths are looked up anew.
const AFTERWARDS: u64 = 5_000;

/// The shortest time that the kernel knows: until the next tick of its clock. The kernel checks a path with
/// the attributes that its lookup returned.
const ONE_TICK: Duration = Duration::from_nanos(1);

/// Facts about callers that all volumes of a session share.
#[derive(Debug)]
pub struct Sharing {
    /// The time for which the kernel may cache while all callers have all rights.
    remember: Duration,
    /// The time of the last request of a caller without all rights, in milliseconds of a clock that starts
    /// above 0. 0 means never.
    last: AtomicU64,
    /// The time of the first such request of the current period.
    since: AtomicU64,
}

impl Sharing {
    /// Creates the facts of a session whose callers all have all rights, as far as is known.
    pub fn new(remember: Duration) -> Arc<Self> {
        Arc::new(Self { remember, last: AtomicU64::new(0), since: AtomicU64::new(0) })
    }

    /// Records a request of a caller without all rights. Returns whether it is the first one of a period.
    pub fn noticed(&self) -> bool {
        let now = milliseconds();
        let last = self.last.swap(now, Ordering::AcqRel);
        let is_first = last == 0 || now > last + AFTERWARDS;
        if is_first {
            self.since.store(now, Ordering::Release);
        }
        is_first
    }

    /// Whether callers without all rights may send requests.
    pub(super) fn is_shared(&self) -> bool {
        let last = self.last.load(Ordering::Acquire);
        last != 0 && milliseconds() <= last + AFTERWARDS
    }

    /// Whether the kernel may still cache attributes from before that caller came.
    pub(super) fn is_new(&self) -> bool {
        let remembered = u64::try_from(self.remember.as_millis()).unwrap_or(u64::MAX).saturating_add(100);
        let last = self.last.load(Ordering::Acquire);
        last != 0 && milliseconds() <= self.since.load(Ordering::Acquire).saturating_add(remembered)
    }

    /// Returns how long the kernel may cache a name and its node's attributes.
    pub(super) fn validity(&self) -> Validity {
        if self.remember.is_zero() || !self.is_shared() {
            return Validity { entry: self.remember, attributes: self.remember };
        }
        Validity { entry: Duration::ZERO, attributes: ONE_TICK }
    }
}

/// Returns the time of a clock that is cheap to read and exact to a tick.
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
        assert!(sharing.is_new(), "attributes sent meanwhile are still cached");
    }
}
