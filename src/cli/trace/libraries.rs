//! `compat trace libraries`.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::text;
use crate::app::{Failure, recording};
use crate::cli::progress::Display;
use crate::cli::{Context, Exit, OutputFormat};
use compat_trace::{Loaded, Role};

/// List the programs, interpreters, libraries and plugins that were loaded
///
/// Each line shows the paths at which a file was found, the programs that loaded it, and how many lookups of its name
/// failed in how many directories. Files are in the order in which they were opened. Files that were searched for and
/// not found come last.
///
/// Files are classified by name: a library ends with .so or .so and a version. A plugin is a library whose name does
/// not begin with lib.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Recordings to read
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// Set the output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,
}

/// Runs the subcommand.
///
/// # Errors
///
/// If a recording cannot be read or the result cannot be written.
pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let survey = recording::survey(&arguments.runs, &Display::new(context))?;
    let libraries = compat_trace::libraries(&survey);
    match arguments.format {
        OutputFormat::Json => context.print_json(&libraries)?,
        OutputFormat::Text => context.print(&render(&libraries, survey.runs.len()))?,
    }
    Ok(Exit::Success)
}

fn render(libraries: &[Loaded], runs: usize) -> String {
    let mut text = String::new();
    for row in libraries {
        let role = match row.role {
            Role::Program => "program",
            Role::Interpreter => "interpreter",
            Role::Library => "library",
            Role::Plugin => "plugin",
        };
        let places: Vec<String> = row.places.iter().map(|place| text::path(&place.path)).collect();
        let places = if places.is_empty() { "not found".to_owned() } else { places.join(", ") };
        let _ = write!(text, "{role:<11} {} => {places}", text::path(&row.name));
        if row.misses > 0 {
            let misses = if row.misses == 1 { "1 miss".to_owned() } else { format!("{} misses", row.misses) };
            let _ = write!(text, " ({misses} in {})", text::count(row.directories, "directory"));
        }
        let _ = write!(text, " by {}", text::programs(&row.programs));
        if !row.ranks.is_empty() {
            let _ = write!(text, " of {}", text::ranks(&row.ranks));
        }
        if runs > 1 {
            let _ = write!(text, " in {} of {runs} runs", row.runs);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use compat_trace::{LoadedFile, Name};

    #[test]
    fn a_line_shows_places_programs_and_misses() {
        let name = |text: &str| Name::from(text.as_bytes());
        let place = LoadedFile { path: name("/usr/lib/libz.so.1.2"), opened: 2, first: 5, runs: 2 };
        let found = Loaded {
            name: name("libz.so.1"),
            role: Role::Library,
            places: vec![place],
            misses: 3,
            directories: 2,
            programs: vec![name("/bin/a"), name("/bin/b\n")],
            ranks: vec![],
            runs: 1,
        };
        let vain = Loaded {
            places: vec![],
            ranks: vec![0, 1, 2, 7],
            role: Role::Plugin,
            misses: 1,
            directories: 1,
            ..found.clone()
        };
        insta::assert_snapshot!(render(&[found, vain], 2), @r"
        library     libz.so.1 => /usr/lib/libz.so.1.2 (3 misses in 2 directories) by a,b  in 1 of 2 runs
        plugin      libz.so.1 => not found (1 miss in 1 directory) by a,b  of ranks 0-2,7 in 1 of 2 runs
        ");
    }
}
