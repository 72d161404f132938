//! `compat gen`: objects -> specification.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::check::Host;
use crate::cli::{Context, Exit, Failure};
use crate::generate::{self, Generated};
use crate::spec::attribute;

const EXAMPLES: &str = "\
Examples:
  compat gen ./app -o compat.json       what one program needs
  compat gen ./dist -o compat.json      a folder: what it bundles is not asked of the host
  compat gen /usr/bin/git | jq .objects
  compat gen ./app --attribute org.example.mpi=openmpi-4

A library that the program finds next to itself belongs to the application: name the folder that
holds both. Scripts are followed to their interpreters. Nothing is executed.";

/// Derive what programs, libraries or a folder of them need
///
/// Writes the specification: machine, interpreter, the needed libraries with the versions and symbols
/// wanted of each, search paths, CPU level, kernel.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Programs, libraries, scripts, or folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Write to FILE instead of standard output ("-")
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Add an attribute: a reverse-DNS key with a value; may be repeated
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = parse_attribute)]
    attributes: Vec<(String, String)>,

    /// Directories that the application's start puts into LD_LIBRARY_PATH, separated by ":"; relative
    /// ones lie in the folder
    #[arg(long, value_name = "DIRS", value_delimiter = ':')]
    library_path: Vec<String>,

    /// Leave out versions and symbols: smaller, and a check compares names only
    #[arg(long)]
    names_only: bool,
}

fn parse_attribute(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    if !attribute::is_key(key) {
        return Err(format!("{key:?} is not a reverse-DNS key such as org.example.mpi"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the subcommand.
///
/// # Errors
///
/// Where a path cannot be read or the document not be written.
pub fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let options = generate::Options {
        paths: arguments.paths,
        attributes: arguments.attributes.into_iter().collect::<BTreeMap<_, _>>(),
        library_path: arguments.library_path,
        names_only: arguments.names_only,
    };
    let host = Host::this_machine(&crate::check::Options::default());
    let generated = generate::generate(&options, host.files.as_ref(), &host.environment);
    let Generated { specification, notes } =
        generated.map_err(|error| Failure::undecided(&error).with_hint(error.hint().map(str::to_owned)))?;
    for note in notes {
        context.warn(&note);
    }
    let bytes = specification.to_canonical_json();
    match arguments.output.as_deref() {
        None => context.print(&String::from_utf8_lossy(&bytes))?,
        Some(path) if path == Path::new("-") => context.print(&String::from_utf8_lossy(&bytes))?,
        Some(path) => write_file(path, &bytes)?,
    }
    Ok(Exit::Success)
}

/// Replaces a file as a whole: readers see the old or the new one, never a part.
///
/// # Errors
///
/// Where it cannot be written; the old file is then as it was.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source| Failure::undecided(&WriteError { path: path.to_owned(), source });
    // A device or pipe cannot be replaced, only written to.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(path, bytes).map_err(failed);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = std::fs::metadata(path).map(|metadata| metadata.permissions());
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = tempfile::Builder::new()
        .prefix(".compat-")
        .permissions(permissions.unwrap_or(readable))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
struct WriteError {
    path: PathBuf,
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_a_reverse_dns_key_and_any_value() {
        let pair = ("org.example.mpi".to_owned(), "a=b".to_owned());
        assert_eq!(parse_attribute("org.example.mpi=a=b"), Ok(pair));
        assert!(parse_attribute("mpi=1").unwrap_err().contains("reverse-DNS"));
        assert!(parse_attribute("org.example.mpi").is_err());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let failure = write_file(Path::new("/nowhere/compat.json"), b"{}").unwrap_err();
        assert!(failure.message.starts_with("could not write /nowhere/compat.json: "), "{}", failure.message);
        assert_eq!(failure.exit, Exit::Undecided);
    }
}
