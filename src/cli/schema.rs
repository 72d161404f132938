//! `compat schema`: prints the JSON schemas of all documents for programs.

use std::path::PathBuf;

use serde_json::Value;

use crate::app::{self, Failure, output};
use crate::cli::failure::{FAILURE_IDENTIFIER, FailureReport};
use crate::cli::{Context, Exit};
use compat_loader::check::{REPORT_IDENTIFIER, Report};
use compat_loader::host::{PROFILE_IDENTIFIER, Profile};
use compat_loader::spec::schema;

/// Print the JSON schemas of the documents that compat writes
///
/// The schemas are generated from the types, and the project keeps a copy in schemas/. Without a name, the
/// command lists the names.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Print the schema of this document
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Write one file per schema into DIR, which is created if needed
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    write: Option<PathBuf>,
}

/// Returns every schema with its name.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("specification", schema::specification()),
        ("report", schema::of::<Report>(REPORT_IDENTIFIER)),
        ("tree", schema::of_output::<app::tree::TreeReport>(app::tree::IDENTIFIER)),
        ("explain", document::<app::explain::Explanation>("explain")),
        ("host", schema::of::<Profile>(PROFILE_IDENTIFIER)),
        ("validation", document::<Vec<app::validate::Validation>>("validation")),
        ("push", document::<app::push::PushReport>("push")),
        ("pull", document::<app::pull::PullReport>("pull")),
        ("attach", document::<app::attach::AttachReport>("attach")),
        ("discover", document::<app::discover::DiscoverReport>("discover")),
        ("inspect", document::<app::inspect::InspectReport>("inspect")),
        ("select", document::<app::select::SelectReport>("select")),
        ("copy", document::<app::copy::CopyReport>("copy")),
        ("delete", document::<app::delete::DeleteReport>("delete")),
        ("trace-summary", document::<compat_trace::Summary>("trace-summary")),
        ("trace-files", document::<Vec<compat_trace::TouchedFile>>("trace-files")),
        ("trace-libraries", document::<Vec<compat_trace::Loaded>>("trace-libraries")),
        ("trace-processes", document::<Vec<compat_trace::ProcessFacts>>("trace-processes")),
        ("trace-diff", document::<compat_trace::Difference>("trace-diff")),
        ("spindle-figures", document::<app::spindle::session::FiguresReport>("spindle-figures")),
        ("spindle-sessions", document::<app::spindle::session::SessionList>("spindle-sessions")),
        ("spindle-savings", document::<compat_trace::Savings>("spindle-savings")),
        ("cache-list", document::<app::cache::CacheList>("cache-list")),
        ("cache-pruned", document::<app::cache::CachePruned>("cache-pruned")),
        ("error", schema::of_output::<FailureReport>(FAILURE_IDENTIFIER)),
    ]
}

/// Returns the schema of the document that a subcommand prints with `--format json`.
fn document<T: schemars::JsonSchema>(name: &str) -> Value {
    schema::of_output::<T>(&format!("urn:compatlib:schema:{name}:1"))
}

/// Runs the subcommand.
///
/// # Errors
///
/// If the schema does not exist, or a file cannot be written.
pub fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let all = all();
    if let Some(directory) = &arguments.write {
        output::make_directory(directory)?;
        for (name, schema) in all {
            let mut text = format!("{schema:#}");
            text.push('\n');
            output::write_file(&directory.join(format!("{name}.json")), text.as_bytes())?;
        }
        return Ok(Exit::Success);
    }
    let Some(wanted) = arguments.name.as_deref() else {
        let names: String = all.iter().map(|(name, _)| format!("{name}\n")).collect();
        return context.print(&names).map(|()| Exit::Success);
    };
    match all.iter().find(|(name, _)| *name == wanted) {
        Some((_, schema)) => context.print_json(schema).map(|()| Exit::Success),
        None => {
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            let hint = format!("the schemas are {}", names.join(", "));
            Err(Failure::usage(format!("schema {wanted:?} does not exist")).with_hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_has_a_name_and_an_identifier_of_its_own_and_compiles() {
        let all = all();
        let identifiers: std::collections::HashSet<_> =
            all.iter().map(|(_, s)| s["$id"].to_string()).collect();
        assert_eq!(identifiers.len(), all.len());
        for (name, schema) in all {
            assert!(jsonschema::validator_for(&schema).is_ok(), "{name}");
        }
    }
}
