//! Wording that depends on numbers.

/// Returns a count and its noun: `1 file`, `2 files`, `1 entry`, `2 entries`, `2 processes`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    match (noun.strip_suffix('y'), noun.ends_with('s')) {
        (Some(stem), _) => format!("{number} {stem}ies"),
        (None, true) => format!("{number} {noun}es"),
        (None, false) => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_all_else_plural() {
        assert_eq!(
            [0, 1, 2].map(|number| count(number, "manifest")),
            ["0 manifests", "1 manifest", "2 manifests"]
        );
        assert_eq!(
            [count(2, "library"), count(1, "process"), count(3, "process")],
            ["2 libraries", "1 process", "3 processes"]
        );
    }
}
