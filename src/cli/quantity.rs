//! Durations and sizes as typed.

use std::time::Duration;

/// Parses a duration: `30d`, `12h`, `90m`, `45s`, `500ms`, `2w`.
///
/// # Errors
///
/// If the text is not a number with a unit, or too large. The error names the valid forms.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 6] =
        [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 7 * 86_400_000)];
    let wrong = || format!("{text:?} is not a duration such as 30d, 12h, 90m, 45s, 500ms or 2w");
    let parts = |(unit, factor): (&str, u64)| Some((text.strip_suffix(unit)?, factor));
    let (number, factor) = UNITS.into_iter().find_map(parts).ok_or_else(wrong)?;
    let number = digits(number).ok_or_else(wrong)?;
    number.checked_mul(factor).map(Duration::from_millis).ok_or_else(wrong)
}

/// Parses a number of bytes: `500000`, `64K`, `64MiB`, `1G`. All units are powers of 1024.
///
/// # Errors
///
/// If the text is not a number, or too large. The error names the valid forms.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    size(text).ok_or_else(|| format!("{text:?} is not a size such as 500000, 64K, 64M or 1G"))
}

/// A size, or a part of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizeOrShare {
    /// A number of bytes.
    Bytes(u64),
    /// Percent of the free space, at most 100.
    Percent(u64),
}

/// Parses a size as [`parse_size`], or a number of percent: `10%`.
///
/// # Errors
///
/// As [`parse_size`].
pub(super) fn parse_size_or_share(text: &str) -> Result<SizeOrShare, String> {
    let wrong = || format!("{text:?} is not a size such as 500M, 2G or 10%");
    match text.strip_suffix('%') {
        Some(number) => {
            digits(number).filter(|number| *number <= 100).map(SizeOrShare::Percent).ok_or_else(wrong)
        }
        None => size(text).map(SizeOrShare::Bytes).ok_or_else(wrong),
    }
}

fn size(text: &str) -> Option<u64> {
    let number = text.strip_suffix("iB").unwrap_or(text);
    let exponent = |letter: char| "KMGT".find(letter.to_ascii_uppercase()).map(|place| 10 * (place + 1));
    let unit = number.chars().last().and_then(exponent);
    match unit {
        Some(exponent) => digits(&number[..number.len() - 1])?.checked_mul(1 << exponent),
        None if number.len() == text.len() => digits(number),
        None => None,
    }
}

/// A number without a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "30", "d", "-1d", "1é", "99999999999999999999d", "9999999999999999999w"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        let sizes = ["0", "500000", "64K", "64m", "2G", "3MiB", "1T"].map(|text| parse_size(text).unwrap());
        assert_eq!(sizes, [0, 500_000, 64 << 10, 64 << 20, 2 << 30, 3 << 20, 1 << 40]);
        for text in
            ["", "K", "iB", "1iB", "64X", "-1", "+1", "1.5G", "64MB", "99999999999999999999", "20000000T"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_at_most_the_whole() {
        assert_eq!(parse_size_or_share("10%"), Ok(SizeOrShare::Percent(10)));
        assert_eq!(parse_size_or_share("2G"), Ok(SizeOrShare::Bytes(2 << 30)));
        for text in ["101%", "%", "-1%", "1.5%", "x"] {
            assert!(parse_size_or_share(text).is_err(), "{text}");
        }
    }
}
