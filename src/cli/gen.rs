//! `compat gen`: objects -> specification.

use std::path::{Path, PathBuf};

use crate::app::Failure;
use crate::app::derive::Choice;
use crate::app::generate::{self, GenerateImageOptions, GenerateOptions};
use crate::app::output::write_file;
use crate::app::target::{self, is_startable};
use crate::cli::image::{self, DeriveOptions};
use crate::cli::progress::Display;
use crate::cli::registry_options::RegistryOptions;
use crate::cli::source::parse_platform;
use crate::cli::{Context, Exit};
use compat_loader::spec::attribute;
use compat_oci::Platform;

const EXAMPLES: &str = "\
Examples:
  # what one program needs
  compat gen ./app -o compat.json
  # a folder: what it bundles is not asked of the host
  compat gen ./dist -o compat.json
  compat gen /usr/bin/git | jq .objects
  compat gen ./app --attribute org.example.mpi=openmpi-4
  # what an image needs; its layers are streamed, nothing is unpacked
  compat gen --image ghcr.io/org/app:1
  compat gen --image docker-archive:app.tar --executable /opt/app/bin/app
  # what a recorded run executed, with its plugins
  compat gen --from-recording run.jsonl -o compat.json
  compat gen --from-recording day1.jsonl day2.jsonl ./dist

A library that the program finds next to itself belongs to the application: name the directory that \
holds both. Scripts are followed to their interpreters. Nothing is executed.";

/// Derive what programs, libraries or a directory of them need
///
/// Writes the specification: machine, interpreter, the needed libraries with the versions and symbols
/// wanted of each, search paths, CPU level, kernel.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Programs, libraries, scripts, or directories
    #[arg(required_unless_present_any = ["image", "from_recording"], conflicts_with = "image", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Recordings of runs (`compat record`): what they loaded joins, marked as recorded. Without PATH, the program
    /// that they executed is looked at
    #[arg(long, value_name = "RUN", num_args = 1..)]
    from_recording: Vec<PathBuf>,

    /// An image instead: a reference, oci:DIR:TAG, docker-archive:FILE, oci-archive:FILE, docker-daemon:NAME,
    /// containers-storage:NAME, or the directory of an unpacked root (dir:PATH)
    #[arg(long, value_name = "SOURCE")]
    image: Option<String>,

    /// The platform wanted of an image's index (default: this machine's)
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform, requires = "image")]
    platform: Option<Platform>,

    /// Every platform of an image's index, each to a file of its own in the directory that --output names
    #[arg(long, requires = "image", requires = "output", conflicts_with = "platform")]
    all_platforms: bool,

    /// Look libraries up in the root file system in DIR instead of this machine's; what lies in it is a part of it
    #[arg(long, value_name = "DIR", conflicts_with = "image")]
    root: Option<PathBuf>,

    /// Write to FILE instead of standard output ("-")
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Add an attribute: a reverse-DNS key with a value; may be repeated
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = parse_attribute)]
    attributes: Vec<(String, String)>,

    /// Directories that the application's start puts into LD_LIBRARY_PATH, separated by ":"; relative
    /// ones lie in the directory
    #[arg(long, value_name = "DIRS", value_delimiter = ':')]
    library_path: Vec<String>,

    /// Leave out versions and symbols: smaller, and a check compares names only
    #[arg(long)]
    names_only: bool,

    #[command(flatten)]
    derive: DeriveOptions,

    #[command(flatten)]
    registry: RegistryOptions,
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
/// If a path cannot be read or the document not be written.
pub(super) fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    if let Some(source) = &arguments.image {
        return of_image(source, &arguments, context);
    }
    arguments.derive.expect_none("--image SOURCE")?;
    let (recordings, mut paths) = split_recordings(arguments.from_recording);
    paths.extend(arguments.paths);
    let options = GenerateOptions {
        paths,
        recordings,
        root: arguments.root,
        attributes: arguments.attributes.into_iter().collect(),
        library_path: arguments.library_path,
        names_only: arguments.names_only,
    };
    let specification = generate::of_programs(options, &Display::new(context))?;
    write(&specification.to_canonical_json(), arguments.output.as_deref(), context)?;
    Ok(Exit::Success)
}

/// After `--from-recording` come recordings and then what they are of: a program, script or directory is no recording.
fn split_recordings(values: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    values.into_iter().partition(|path| !path.is_dir() && !is_startable(path))
}

/// Writes a document to where it is wanted.
fn write(bytes: &[u8], output: Option<&Path>, context: &Context) -> Result<(), Failure> {
    match output {
        Some(path) if path != Path::new("-") => write_file(path, bytes),
        _ => context.print(&String::from_utf8_lossy(bytes)),
    }
}

/// Derives the specification of an image, or one for each platform.
fn of_image(source: &str, arguments: &Arguments, context: &Context) -> Result<Exit, Failure> {
    let source = target::image(source)?;
    let session = arguments.registry.session(context);
    let choice = if arguments.all_platforms {
        Choice::All
    } else {
        arguments.platform.clone().map_or_else(|| Choice::Best(Platform::host()), Choice::Named)
    };
    let options = GenerateImageOptions {
        choice,
        image: image::options(&arguments.derive, arguments.attributes.clone(), arguments.names_only),
        recordings: arguments.from_recording.clone(),
    };
    generate::of_image(&source, options, &session, |derived| {
        let bytes = derived.specification.to_canonical_json();
        let output = arguments.output.as_deref();
        match output.filter(|_| arguments.all_platforms) {
            Some(directory) => {
                let platform = derived.platform.map(|platform| platform.to_string()).unwrap_or_default();
                write_file(&directory.join(format!("compat.{}.json", platform.replace('/', "-"))), &bytes)
            }
            None => write(&bytes, output, context),
        }
    })?;
    Ok(Exit::Success)
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
}
