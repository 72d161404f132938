//! The document that is pushed or attached: read, and looked at before it goes anywhere.

use std::path::Path;

use bytes::Bytes;

use super::Failure;
use super::source::read_document;
use crate::registry::manifest::Annotations;
use crate::registry::{artifact, manifest};

/// Reads a document and makes sure that it is one.
///
/// # Errors
///
/// Where it cannot be read, or is no specification.
pub fn read_specification(path: &Path) -> Result<Bytes, Failure> {
    let bytes = read_document(path)?;
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    check(&bytes).map_err(|reason| {
        let hint = "make one with `compat gen PATH -o compat.json`, check it with `compat validate`";
        Failure::undecided(&NotASpecification { name, reason }).with_hint(hint.to_owned())
    })?;
    Ok(bytes)
}

#[derive(Debug, thiserror::Error)]
#[error("{name} is not a specification: {reason}")]
struct NotASpecification {
    name: String,
    reason: String,
}

/// The least that every version of the specification has.
fn check(bytes: &[u8]) -> Result<(), String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let object = document.as_object().ok_or("it is not a JSON object")?;
    match object.get("version") {
        Some(version) if version.is_string() => Ok(()),
        Some(_) => Err("its version is not a string".to_owned()),
        None => Err("it has no version".to_owned()),
    }
}

/// An annotation as typed: `KEY=VALUE`.
///
/// # Errors
///
/// Where there is no `=` or no key.
pub fn parse_annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("an annotation is KEY=VALUE".to_owned()),
    }
}

/// The annotations given, and the time of creation where `SOURCE_DATE_EPOCH` gives one.
///
/// # Errors
///
/// Where that is no time.
pub fn annotations(given: &[(String, String)]) -> Result<Annotations, Failure> {
    let mut annotations: Annotations = given.iter().cloned().collect();
    let created =
        artifact::created_of_environment().map_err(|error| super::registry_options::failure(&error))?;
    if let Some((key, value)) = created {
        debug_assert_eq!(key, manifest::CREATED);
        annotations.entry(key).or_insert(value);
    }
    Ok(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_specification_is_told_apart() {
        assert!(check(br#"{"version":"0.0.1","attributes":{}}"#).is_ok());
        insta::assert_snapshot!(check(b"[]").unwrap_err(), @"it is not a JSON object");
        insta::assert_snapshot!(check(b"{}").unwrap_err(), @"it has no version");
        insta::assert_snapshot!(check(br#"{"version":1}"#).unwrap_err(), @"its version is not a string");
        insta::assert_snapshot!(check(b"ELF").unwrap_err(), @"expected value at line 1 column 1");
    }
}
