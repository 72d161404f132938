//! Checks specifications against the schema: `compat validate`.

mod fault;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Failure, Observer};
use compat_loader::spec;

pub use fault::PlacedFault;

/// The result for one document.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Validation {
    /// The file.
    pub file: String,
    /// Whether it is a valid specification. A file that could not be read is not valid.
    pub valid: bool,
    /// The errors in the document, with their places.
    pub faults: Vec<PlacedFault>,
    /// The reason if the file could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Checks each of the files, or standard input for `-`. If a file cannot be read, the others are still checked.
pub fn validate(files: &[PathBuf], observer: &dyn Observer) -> Vec<Validation> {
    files.iter().map(|file| validate_one(file, observer)).collect()
}

fn validate_one(file: &Path, observer: &dyn Observer) -> Validation {
    let name = file.display().to_string();
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(source) => {
            let failure = Failure::undecided(&ReadError { file: file.to_owned(), source });
            observer.failed(&failure);
            return Validation { file: name, valid: false, faults: Vec::new(), error: Some(failure.message) };
        }
    };
    let faults = faults(&bytes);
    Validation { file: name, valid: faults.is_empty(), faults, error: None }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let limit = spec::MAXIMUM_SIZE as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes)?;
    } else {
        compat_sys::open_stream(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn faults(bytes: &[u8]) -> Vec<PlacedFault> {
    let whole = |message: String| vec![PlacedFault { place: String::new(), message }];
    if let Err(error @ (spec::Error::TooLarge { .. } | spec::Error::NewerVersion { .. })) = spec::parse(bytes)
    {
        return whole(error.to_string());
    }
    match serde_json::from_slice(bytes) {
        Ok(document) => fault::faults(&document),
        Err(error) => whole(format!("not JSON: {error}")),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("could not read {}", file.display())]
struct ReadError {
    file: PathBuf,
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_and_what_is_too_new_have_one_fault() {
        assert!(faults(b"<html>")[0].message.starts_with("not JSON: "));
        assert!(faults(br#"{"version": "2.0.0"}"#)[0].message.contains("version 2.0.0"));
    }
}
