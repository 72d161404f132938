//! `compat validate`: documents against the schema.

mod fault;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::app::Failure;
use crate::cli::context::OutputFormat;
use crate::cli::{Context, Exit, failure};
use compat_loader::spec;
use fault::Fault;

/// Check specifications against the schema
///
/// Names the place of each fault as a JSON pointer. Exit code: 0 all valid, 1 some are not, 3 a file
/// could not be read and the others are valid.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Specifications; "-" is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How to print the faults
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// The faults of one document.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Validation {
    /// The file.
    pub file: String,
    /// Whether it is a valid specification; one that could not be read is not.
    pub valid: bool,
    /// What is wrong with it, and where.
    pub faults: Vec<PlacedFault>,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One fault and its place.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct PlacedFault {
    /// The place, as a JSON pointer; empty for the whole document.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where the result cannot be written.
pub fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let all: Vec<Validation> = arguments.files.iter().map(|file| validate(file)).collect();
    match arguments.format {
        OutputFormat::Text => context.print(&render(&all))?,
        OutputFormat::Json => context.print_json(&all)?,
    }
    Ok(exit(&all))
}

/// One file; one that cannot be read does not keep the others from being looked at.
fn validate(file: &Path) -> Validation {
    let name = file.display().to_string();
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(source) => {
            let failure = Failure::undecided(&ReadError { file: file.to_owned(), source });
            failure::print(&failure);
            return Validation { file: name, valid: false, faults: Vec::new(), error: Some(failure.message) };
        }
    };
    let placed = |fault: Fault| PlacedFault { place: fault.place, message: fault.message };
    let faults: Vec<_> = faults(&bytes).into_iter().map(placed).collect();
    Validation { file: name, valid: faults.is_empty(), faults, error: None }
}

/// As for a check: a document that is not valid decides, whatever could not be read.
fn exit(all: &[Validation]) -> Exit {
    match () {
        () if all.iter().any(|validation| !validation.faults.is_empty()) => Exit::Incompatible,
        () if all.iter().any(|validation| validation.error.is_some()) => Exit::Undecided,
        () => Exit::Success,
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let limit = spec::MAXIMUM_SIZE as u64 + 1;
    match file == Path::new("-") {
        true => std::io::stdin().take(limit).read_to_end(&mut bytes)?,
        false => compat_sys::open_stream(file)?.take(limit).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

fn faults(bytes: &[u8]) -> Vec<Fault> {
    let whole = |message: String| vec![Fault { place: String::new(), message }];
    if let Err(error @ (spec::Error::TooLarge { .. } | spec::Error::NewerVersion { .. })) = spec::parse(bytes)
    {
        return whole(error.to_string());
    }
    match serde_json::from_slice(bytes) {
        Ok(document) => fault::faults(&document),
        Err(error) => whole(format!("not JSON: {error}")),
    }
}

fn render(all: &[Validation]) -> String {
    let mut text = String::new();
    for validation in all {
        if validation.valid {
            let _ = writeln!(text, "{}: valid", validation.file);
        }
        for fault in &validation.faults {
            let place = if fault.place.is_empty() { "the document" } else { &fault.place };
            let _ = writeln!(text, "{}: {place}: {}", validation.file, fault.message);
        }
    }
    text
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
    fn faults_are_told_with_file_and_place() {
        let text = br#"{"version": "1.0.0", "attributes": {"mpi": "openmpi"}, "subjects": 1}"#;
        let faults = faults(text).into_iter().map(|f| PlacedFault { place: f.place, message: f.message });
        let validation =
            Validation { file: "a.json".into(), valid: false, faults: faults.collect(), error: None };
        insta::assert_snapshot!(render(&[validation]), @r#"
        a.json: /attributes: "mpi" does not match "^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)+$"
        a.json: /subjects: 1 is not of type "array"
        "#);
    }

    #[test]
    fn what_is_no_json_and_what_is_too_new_have_one_fault() {
        assert!(faults(b"<html>")[0].message.starts_with("not JSON: "));
        assert!(faults(br#"{"version": "2.0.0"}"#)[0].message.contains("version 2.0.0"));
    }
}
