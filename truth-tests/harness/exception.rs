//! Differences that are known and explained: `exceptions.txt`, one `NAME WHERE REASON` per line.

/// One explained difference.
#[derive(Debug, PartialEq, Eq)]
pub struct Exception {
    /// The program or synthetic case.
    pub name: String,
    /// `PROGRAMS:ROOT` of a pair, or the C library of a synthetic case.
    pub place: String,
}

/// Returns the exceptions of one place.
pub fn of(place: &str) -> Vec<Exception> {
    let mut all = parse(include_str!("../exceptions.txt"));
    all.retain(|exception| exception.place == place);
    all
}

/// Reads the list.
///
/// # Panics
///
/// If a line contains no reason.
fn parse(text: &str) -> Vec<Exception> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let exception = |line: &str| {
        let mut words = line.splitn(3, char::is_whitespace).map(str::to_owned);
        match (words.next(), words.next(), words.next()) {
            (Some(name), Some(place), Some(reason)) if !reason.trim().is_empty() => Exception { name, place },
            _ => panic!("exceptions.txt: NAME WHERE REASON is wanted: {line}"),
        }
    };
    lines.map(exception).collect()
}

/// Checks the reader: a wrongly read list would excuse too much.
pub fn check_reader() {
    let text = "# comment\n\nsleep this:bullseye  because of a reason\n";
    let exception = Exception { name: "sleep".to_owned(), place: "this:bullseye".to_owned() };
    assert_eq!(parse(text), [exception]);
    assert!(std::panic::catch_unwind(|| parse("sleep this:bullseye\n")).is_err());
}
