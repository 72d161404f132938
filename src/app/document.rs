//! The document to push or attach: it is read and validated before it is sent.

use std::path::Path;

use bytes::Bytes;

use super::source::read_document;
use super::{Failure, StandardInput};
use compat_loader::spec;
use compat_oci::manifest::Annotations;
use compat_oci::{artifact, manifest};

/// Reads a document and makes sure that it is a specification. `hint` is the hint if the file does not exist.
///
/// # Errors
///
/// If it cannot be read or is not a specification.
pub fn read_specification(path: &Path, stdin: &StandardInput, hint: &str) -> Result<Bytes, Failure> {
    let bytes = read_document(path, stdin).map_err(|failure| {
        let is_missing = path != Path::new("-") && !path.exists();
        if is_missing { failure.with_hint(hint.to_owned()) } else { failure }
    })?;
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    spec::parse(&bytes).map_err(|source| {
        let hint = "make a specification with `compat gen PATH -o compat.json`, or find the fault with `compat validate`";
        Failure::undecided(&NotASpecification { name, source }).with_hint(hint.to_owned())
    })?;
    Ok(bytes)
}

#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be pushed")]
struct NotASpecification {
    name: String,
    source: spec::Error,
}

/// Returns the given annotations, with the time of creation if `SOURCE_DATE_EPOCH` defines one.
///
/// # Errors
///
/// If the time is invalid.
pub fn annotations(given: &[(String, String)]) -> Result<Annotations, Failure> {
    let mut annotations: Annotations = given.iter().cloned().collect();
    let created = artifact::created_of_environment().map_err(|error| Failure::from(&error))?;
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
    fn what_is_no_specification_is_named_and_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("compat.json");
        let refused = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let message = read_specification(&file, &StandardInput::default(), "").unwrap_err().message;
            message.replace(&directory.path().display().to_string(), "")
        };
        insta::assert_snapshot!(refused("[]"), @"/compat.json cannot be pushed: not a compatibility specification: it is not a JSON object");
        insta::assert_snapshot!(refused("{}"), @"/compat.json cannot be pushed: not a compatibility specification: its version is null, not MAJOR.MINOR.PATCH");
        insta::assert_snapshot!(refused(r#"{"version":"2.0.0"}"#), @"/compat.json cannot be pushed: the specification has version 2.0.0, but this compat reads only versions up to 1");
        std::fs::write(&file, r#"{"version":"0.0.1","attributes":{}}"#).unwrap();
        assert!(read_specification(&file, &StandardInput::default(), "").is_ok());
    }
}
