//! The pace of a share: a delay for each request, and a limit of requests a second over all.
//!
//! The limit is a token bucket, kept as the time at which the next token is due. Few requests may run ahead of
//! their tokens ([`BURST`]), so that a limit far above the load is not noticed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time for which unused tokens are kept.
const BURST: Duration = Duration::from_millis(10);

/// The pace. Both values can be changed at any time.
#[derive(Debug)]
pub(crate) struct Pace {
    /// In nanoseconds.
    delay: AtomicU64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// The time of one token. `None` means without limit.
    interval: Option<Duration>,
    /// The time at which the next token is due.
    due: Instant,
}

impl Pace {
    /// Returns a pace with a delay and a limit of requests a second. 0 means without limit.
    pub(crate) fn new(delay: Duration, limit: f64) -> Self {
        let bucket = Bucket { interval: None, due: Instant::now() };
        let pace = Self { delay: AtomicU64::new(0), bucket: Mutex::new(bucket) };
        pace.set_delay(delay);
        pace.set_limit(limit);
        pace
    }

    /// Changes the delay.
    pub(crate) fn set_delay(&self, delay: Duration) {
        let nanoseconds = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.delay.store(nanoseconds, Ordering::Relaxed);
    }

    /// Changes the limit of requests a second. 0 means without limit.
    pub(crate) fn set_limit(&self, limit: f64) {
        let interval = (limit > 0.0).then(|| Duration::try_from_secs_f64(1.0 / limit).unwrap_or_default());
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        *bucket = Bucket { interval, due: Instant::now() };
    }

    /// Waits for a token, and then for the delay.
    pub(crate) fn wait(&self) {
        let delay = Duration::from_nanos(self.delay.load(Ordering::Relaxed));
        let wait = self.wait_for_token(Instant::now()) + delay;
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }

    /// Takes the next token. Returns the time until it is due.
    fn wait_for_token(&self, now: Instant) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(interval) = bucket.interval else { return Duration::ZERO };
        let due = bucket.due.max(now.checked_sub(BURST).unwrap_or(now));
        bucket.due = due + interval;
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_spreads_requests_over_time() {
        let pace = Pace::new(Duration::ZERO, 1000.0);
        let now = Instant::now() + Duration::from_secs(1);
        let waits: Vec<Duration> = (0..111).map(|_| pace.wait_for_token(now)).collect();
        assert!(waits[..11].iter().all(Duration::is_zero), "ten requests run ahead of their tokens");
        assert_eq!(waits[110], Duration::from_millis(100));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let pace = Pace::new(Duration::ZERO, 0.0);
        assert!((0..1000).all(|_| pace.wait_for_token(Instant::now()).is_zero()));
    }

    #[test]
    fn the_delay_is_waited_for() {
        let pace = Pace::new(Duration::from_millis(20), 0.0);
        let start = Instant::now();
        pace.wait();
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
