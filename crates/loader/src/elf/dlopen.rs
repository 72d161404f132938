//! Notes about libraries that an object opens at run time. They are advice that the loader does not read.
//!
//! Source: "dlopen() Metadata for ELF Files" (<https://systemd.io/ELF_DLOPEN_METADATA/>): owner `FDO`, type
//! `0x407c0c0a`, a JSON array as a zero-terminated string. The single object and the single name of the first
//! drafts are also read. Malformed entries, and those beyond the limits below, are ignored.

use serde_json::Value;

/// `NT_FDO_DLOPEN_METADATA`.
pub(super) const NT_FDO_DLOPEN_METADATA: u32 = 0x407c_0c0a;

/// The maximum size of a note in bytes. A longer note is ignored.
const MAXIMUM_SIZE: usize = 64 * 1024;
/// The maximum number of entries of one object.
const MAXIMUM_ENTRIES: usize = 256;
/// The maximum number of names of one entry.
const MAXIMUM_SONAMES: usize = 32;
/// The maximum length of a text. An entry with a longer text is ignored.
const MAXIMUM_TEXT: usize = 4096;

/// One library that an object opens at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DlopenNote {
    /// The names to try, the preferred one first. There is at least one.
    pub sonames: Vec<String>,
    /// The feature that needs it, in one word.
    pub feature: Option<String>,
    /// The purpose of the library.
    pub description: Option<String>,
    /// The importance of the library.
    pub priority: Priority,
}

/// The importance of a library that is opened at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Nothing works without it.
    Required,
    /// It should be present. This is the default of a note without a priority.
    #[default]
    Recommended,
    /// Only a full installation contains it.
    Suggested,
}

/// Adds the entries of one note.
pub(super) fn read(description: &[u8], notes: &mut Vec<DlopenNote>) {
    let end = description.iter().position(|byte| *byte == 0).unwrap_or(description.len());
    if end > MAXIMUM_SIZE {
        return;
    }
    let entries = match serde_json::from_slice(&description[..end]) {
        Ok(Value::Array(entries)) => entries,
        Ok(entry @ Value::Object(_)) => vec![entry],
        _ => return,
    };
    let room = MAXIMUM_ENTRIES.saturating_sub(notes.len());
    notes.extend(entries.iter().filter_map(parse).take(room));
}

fn parse(entry: &Value) -> Option<DlopenNote> {
    let text = |value: &Value| value.as_str().filter(|text| is_plain(text)).map(str::to_owned);
    let sonames = match entry.get("soname")? {
        Value::Array(names) => names.iter().take(MAXIMUM_SONAMES).map(text).collect::<Option<Vec<_>>>()?,
        name => vec![text(name)?],
    };
    if sonames.is_empty() || sonames.iter().any(String::is_empty) {
        return None;
    }
    Some(DlopenNote {
        sonames,
        feature: entry.get("feature").and_then(text),
        description: entry.get("description").and_then(text),
        priority: match entry.get("priority").and_then(Value::as_str) {
            Some("required") => Priority::Required,
            Some("suggested") => Priority::Suggested,
            _ => Priority::Recommended,
        },
    })
}

/// Returns whether a text is short and contains no control characters.
fn is_plain(text: &str) -> bool {
    text.len() <= MAXIMUM_TEXT && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Vec<DlopenNote> {
        let mut notes = Vec::new();
        read(text.as_bytes(), &mut notes);
        notes
    }

    #[test]
    fn entries_are_read_with_their_names_and_priority() {
        let notes = read_all(
            r#"[{"soname": ["libzstd.so.1", "libzstd.so.0"], "feature": "zstd",
                 "description": "Support for zstd", "priority": "suggested"},
                {"soname": ["libcrypt.so.2"], "priority": "required"}]"#,
        );
        assert_eq!(notes[0].sonames, ["libzstd.so.1", "libzstd.so.0"]);
        assert_eq!(notes[0].feature.as_deref(), Some("zstd"));
        assert_eq!(notes[0].description.as_deref(), Some("Support for zstd"));
        assert_eq!((notes[0].priority, notes[1].priority), (Priority::Suggested, Priority::Required));
    }

    #[test]
    fn an_entry_without_a_known_priority_is_recommended() {
        let priority = |text: &str| read_all(text)[0].priority;
        assert_eq!(priority(r#"[{"soname": ["a"]}]"#), Priority::Recommended);
        assert_eq!(priority(r#"[{"soname": ["a"], "priority": "vital"}]"#), Priority::Recommended);
        assert_eq!(priority(r#"{"soname": "a", "priority": "required"}"#), Priority::Required);
    }

    #[test]
    fn what_is_malformed_is_left_out() {
        for text in ["", "[", "7", r#"[{"feature": "x"}]"#, r#"[{"soname": []}]"#, r#"[{"soname": [1]}]"#] {
            assert_eq!(read_all(text), [], "{text}");
        }
        assert_eq!(read_all("[{\"soname\": [\"a\\u0007\"]}]"), []);
        assert_eq!(read_all("[{\"soname\": [\"a\"]}]\0\0\0garbage").len(), 1);
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        let many = vec![r#"{"soname": ["a"]}"#; 1000].join(",");
        assert_eq!(read_all(&format!("[{many}]")).len(), MAXIMUM_ENTRIES);
        let long = "x".repeat(MAXIMUM_TEXT + 1);
        assert_eq!(read_all(&format!(r#"[{{"soname": ["{long}"]}}]"#)), []);
        assert_eq!(read_all(&format!(r#"[{{"soname": ["a"]}}, {}]"#, " ".repeat(MAXIMUM_SIZE))), []);
        assert_eq!(read_all(&"[".repeat(100_000)), []);
    }

    proptest::proptest! {
        /// Invariant: any bytes result in at most the allowed number of entries, each with a name, without a
        /// panic.
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            let mut notes = Vec::new();
            read(&bytes, &mut notes);
            assert!(notes.len() <= MAXIMUM_ENTRIES && notes.iter().all(|note| !note.sonames.is_empty()));
        }
    }
}
