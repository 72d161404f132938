//! Custom attributes, and the attributes of compat-lib 0.0.1.

use std::collections::BTreeMap;

/// compat-lib's attribute for the name of the executable.
pub const EXECUTABLE_NAME: &str = "llnl.compatlib.executable-name";

/// The prefix of compat-lib's attributes for the libraries, numbered from 0.
pub const LIBRARY_NAME_PREFIX: &str = "llnl.compatlib.library-name.";

/// The attribute that decides between the platforms of an index that a host runs equally well. The highest
/// weight is chosen. It is a whole number. A missing attribute counts as 0.
pub const WEIGHT: &str = "org.compatlib.weight";

/// The pattern of a key: reverse-DNS with at least two labels.
pub const KEY_PATTERN: &str =
    r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)+$";

/// Whether a key matches [`KEY_PATTERN`].
pub fn is_key(key: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
    };
    key.contains('.') && key.split('.').all(is_label)
}

/// The library names in compat-lib's attributes, in the order of their numbers.
pub fn library_names(attributes: &BTreeMap<String, String>) -> Vec<&str> {
    let numbered = attributes.iter().filter_map(|(key, name)| {
        let number: u64 = key.strip_prefix(LIBRARY_NAME_PREFIX)?.parse().ok()?;
        Some((number, name.as_str()))
    });
    let mut names: Vec<_> = numbered.collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_reverse_dns() {
        for key in ["org.example.mpi", "llnl.compatlib.library-name.0", "io.x"] {
            assert!(is_key(key), "{key}");
        }
        for key in ["", "mpi", "org..mpi", ".org.mpi", "org.mpi.", "org.-mpi", "org.m pi"] {
            assert!(!is_key(key), "{key}");
        }
    }

    #[test]
    fn libraries_are_listed_by_number_not_by_text() {
        let attribute = |number: u32| (format!("{LIBRARY_NAME_PREFIX}{number}"), format!("lib{number}.so"));
        let attributes = [10, 9, 0].map(attribute).into();
        assert_eq!(library_names(&attributes), ["lib0.so", "lib9.so", "lib10.so"]);
    }
}
