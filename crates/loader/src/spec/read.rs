//! Parses bytes into a specification.

use crate::spec::{MAXIMUM_SIZE, Specification};

/// The major versions that this program reads: compat-lib's and its own.
const MAJOR_VERSIONS: std::ops::RangeInclusive<u64> = 0..=1;

/// Why bytes cannot be read as a specification.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It exceeds the maximum size.
    #[error("the document has {length} bytes, which exceeds the limit of {MAXIMUM_SIZE}")]
    TooLarge {
        /// Its size in bytes.
        length: usize,
    },
    /// It is not JSON, or its fields violate the format.
    #[error("not a compatibility specification")]
    Syntax(#[source] serde_json::Error),
    /// It is JSON, but not an object.
    #[error("not a compatibility specification: it is not a JSON object")]
    NotAnObject,
    /// Its version is missing or malformed.
    #[error("not a compatibility specification: its version is {0}, not MAJOR.MINOR.PATCH")]
    Version(String),
    /// A newer program wrote it.
    #[error("the specification has version {version}, but this compat reads only versions up to 1")]
    NewerVersion {
        /// The document's version.
        version: String,
    },
}

impl Error {
    /// The user's next step.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NewerVersion { .. } => Some("use a newer compat, or generate the specification again"),
            Self::Syntax(_) => Some("run `compat validate FILE` to see the position of each error"),
            Self::TooLarge { .. } | Self::Version(_) | Self::NotAnObject => None,
        }
    }
}

/// The version only, so that a newer document is refused because of its version and not because of one of its
/// fields.
#[derive(serde::Deserialize)]
struct Versioned {
    #[serde(default)]
    version: serde_json::Value,
}

/// Reads a specification. Unknown fields are ignored.
///
/// # Errors
///
/// If the bytes are too many, not a specification, or of a newer major version.
pub fn parse(bytes: &[u8]) -> Result<Specification, Error> {
    if bytes.len() > MAXIMUM_SIZE {
        return Err(Error::TooLarge { length: bytes.len() });
    }
    // Derived readers accept an array for an object, so the first character after JSON's white space is
    // checked.
    let first = bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    let is_object = first == Some(&b'{');
    let Versioned { version } = if is_object {
        serde_json::from_slice(bytes).map_err(Error::Syntax)?
    } else {
        match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            Ok(_) => return Err(Error::NotAnObject),
            Err(error) => return Err(Error::Syntax(error)),
        }
    };
    let serde_json::Value::String(version) = version else {
        return Err(Error::Version(version.to_string()));
    };
    let numbers: Option<Vec<u64>> = version.split('.').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([major, _, _]) if MAJOR_VERSIONS.contains(major) => {}
        Some([_, _, _]) => return Err(Error::NewerVersion { version }),
        _ => return Err(Error::Version(format!("{version:?}"))),
    }
    serde_json::from_slice(bytes).map_err(Error::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_compat_lib_is_read_as_it_is() {
        let text = br#"{"version": "0.0.1", "attributes": {"llnl.compatlib.executable-name": "xz",
            "llnl.compatlib.library-name.0": "libc.so.6"}}"#;
        let document = parse(text).unwrap();
        assert!(document.is_names_only());
        assert_eq!(document.attributes["llnl.compatlib.executable-name"], "xz");
    }

    #[test]
    fn a_newer_major_version_is_refused_and_a_newer_minor_one_is_read() {
        let newer = parse(br#"{"version": "2.0.0", "objects": "of another kind"}"#).unwrap_err();
        insta::assert_snapshot!(newer, @"the specification has version 2.0.0, but this compat reads only versions up to 1");
        assert!(parse(br#"{"version": "1.9.0", "news": [1, 2]}"#).is_ok());
    }

    #[test]
    fn what_is_no_specification_is_refused() {
        for text in ["", "[]", "{}", "<html>", r#"{"version": 1}"#, r#"{"version": "one"}"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
