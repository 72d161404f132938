//! `compat schema`: the JSON schemas of everything that is written for programs.

use std::path::PathBuf;

use serde_json::Value;

use crate::check::{REPORT_IDENTIFIER, Report};
use crate::cli::{Context, Exit, Failure, r#gen, validate};
use crate::spec::schema;

/// Print the JSON schemas of the documents that compat writes
///
/// The schemas are generated from the types; the project keeps a copy in schemas/.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Print the schema of one document
    #[arg(value_name = "NAME", required_unless_present = "write")]
    name: Option<String>,

    /// Write all of them into DIR, one file each
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    write: Option<PathBuf>,
}

/// Every schema by name.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("specification", schema::specification()),
        ("report", schema::of::<Report>(REPORT_IDENTIFIER)),
        ("validation", schema::of::<Vec<validate::Validation>>("urn:compatlib:schema:validation:1")),
    ]
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where there is no such schema, or a file cannot be written.
pub fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let all = all();
    if let Some(folder) = &arguments.write {
        for (name, schema) in all {
            let mut text = format!("{schema:#}");
            text.push('\n');
            r#gen::write_file(&folder.join(format!("{name}.json")), text.as_bytes())?;
        }
        return Ok(Exit::Success);
    }
    let wanted = arguments.name.as_deref().unwrap_or_default();
    match all.iter().find(|(name, _)| *name == wanted) {
        Some((_, schema)) => context.print_json(schema).map(|()| Exit::Success),
        None => {
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            let hint = format!("there are {}", names.join(", "));
            Err(Failure::usage(format!("there is no schema {wanted:?}")).with_hint(hint))
        }
    }
}
