//! The conditions under which a request is repeated, and the pause before it.

use std::time::{Duration, SystemTime};

use crate::limit;

/// Whether a request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Sending it twice has the same effect as sending it once.
    Always,
    /// Only if the registry did not act on it: a refused connection, or 429.
    IfRefused,
}

/// Returns whether a response with this status is worth another attempt.
pub(super) fn worth_repeating(status: u16, repeat: Repeat) -> bool {
    match status {
        429 => true,
        408 | 500 | 502 | 503 | 504 => repeat == Repeat::Always,
        _ => false,
    }
}

/// Returns the pause before attempt number `attempt` (from 0), or `None` if the server requests a longer
/// pause than allowed.
pub(super) fn pause(attempt: u32, retry_after: Option<&str>, now: SystemTime) -> Option<Duration> {
    pause_of(attempt, retry_after.and_then(|value| retry_after_of(value, now)))
}

/// Returns the same pause for a parsed request of the server.
pub(super) fn pause_of(attempt: u32, wanted: Option<Duration>) -> Option<Duration> {
    if let Some(wanted) = wanted {
        return (wanted <= limit::RETRY_AFTER).then_some(wanted);
    }
    let base = 250_u64 << attempt.min(6);
    Some(Duration::from_millis(base / 2 + fastrand::u64(0..=base / 2)))
}

/// Parses `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after_of(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = parse_date(value)?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT`, the format of RFC 2822.
fn parse_date(text: &str) -> Option<SystemTime> {
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(SystemTime::from(date.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn seconds_and_dates_are_understood() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after_of("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after_of("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after_of("Fri, 06 Nov 1970 08:49:37 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after_of("soon", now), None);
    }

    #[test]
    fn a_pause_is_bounded_and_a_longer_one_is_not_waited_for() {
        assert_eq!(pause(0, Some("2"), UNIX_EPOCH), Some(Duration::from_secs(2)));
        assert_eq!(pause(0, Some("3600"), UNIX_EPOCH), None);
        assert!(pause(0, None, UNIX_EPOCH).unwrap() <= Duration::from_millis(250));
        assert!(pause(40, None, UNIX_EPOCH).unwrap() <= Duration::from_secs(16));
    }

    #[test]
    fn what_must_not_happen_twice_is_repeated_only_when_it_was_refused() {
        assert!(worth_repeating(503, Repeat::Always));
        assert!(!worth_repeating(503, Repeat::IfRefused));
        assert!(worth_repeating(429, Repeat::IfRefused));
        assert!(!worth_repeating(501, Repeat::Always));
    }

    proptest! {
        #[test]
        fn hostile_dates_never_panic(text in "\\PC{0,40}|[A-Z][a-z]{2}, [0-9]{1,20} [A-Z][a-z]{2} [0-9]{1,20} [0-9:]{0,30} GMT") {
            let _ = retry_after_of(&text, UNIX_EPOCH);
        }
    }
}
