//! Formats numbers for people.

/// A number with a comma between thousands: `41,912`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and its noun: `1 file`, `2,148 opens`.
pub(super) fn count(count: u64, noun: &str) -> String {
    let text = crate::app::wording::count(count, noun);
    let (digits, rest) = text.split_at(count.to_string().len());
    debug_assert!(digits.bytes().all(|byte| byte.is_ascii_digit()));
    number(count) + rest
}

/// A number of bytes in decimal units with two or three digits: `98 MB`, `1.5 GB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1000.0, 0);
    // A value that is shown as 1000 has the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let shown = [0, 999, 1000, 41_912, 1_234_567, u64::MAX].map(number);
        assert_eq!(shown, ["0", "999", "1,000", "41,912", "1,234,567", "18,446,744,073,709,551,615"]);
        assert_eq!((count(1, "file"), count(2148, "open")), ("1 file".to_owned(), "2,148 opens".to_owned()));
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        let shown = [0, 999, 1000, 1500, 9999, 98_400_000, 999_499, 999_999, 1_000_000, u64::MAX].map(size);
        let expected =
            ["0 B", "999 B", "1.0 kB", "1.5 kB", "10 kB", "98 MB", "999 kB", "1.0 MB", "1.0 MB", "18 EB"];
        assert_eq!(shown, expected);
    }
}
