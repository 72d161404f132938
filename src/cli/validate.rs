//! `compat validate`: checks specifications against the schema.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::app::Failure;
use crate::app::validate::{Validation, validate};
use crate::cli::context::OutputFormat;
use crate::cli::progress::Display;
use crate::cli::{Context, Exit};

/// Check specifications against the schema
///
/// Prints the place of each error as a JSON pointer. Exit code: 0 all valid, 1 some invalid, 3 a file could not be
/// read and the others are valid.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Specifications ("-" is standard input)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Set the output format
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the result cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let all = validate(&arguments.files, &Display::new(context));
    match arguments.format {
        OutputFormat::Text => context.print(&render(&all))?,
        OutputFormat::Json => context.print_json(&all)?,
    }
    Ok(exit(&all))
}

/// Returns the exit code. As in a check, an invalid document outweighs files that could not be read.
fn exit(all: &[Validation]) -> Exit {
    if all.iter().any(|validation| !validation.faults.is_empty()) {
        Exit::Incompatible
    } else if all.iter().any(|validation| validation.error.is_some()) {
        Exit::Undecided
    } else {
        Exit::Success
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::context::GlobalOptions;

    #[test]
    fn faults_are_told_with_file_and_place() {
        let text = br#"{"version": "1.0.0", "attributes": {"mpi": "openmpi"}, "subjects": 1}"#;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.json");
        std::fs::write(&file, text).unwrap();
        let mut all = validate(&[file], &Display::new(&Context::new(&GlobalOptions::default())));
        all[0].file = "a.json".to_owned();
        insta::assert_snapshot!(render(&all), @r#"
        a.json: /attributes: "mpi" does not match "^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)+$"
        a.json: /subjects: 1 is not of type "array"
        "#);
    }
}
