//! Parsing of annotations.

/// Parses an annotation as typed: `KEY=VALUE`.
///
/// # Errors
///
/// If there is no `=` or no key.
pub(super) fn parse_annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("an annotation is KEY=VALUE".to_owned()),
    }
}
