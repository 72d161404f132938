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
  # derive the requirements of one program
  compat gen ./app -o compat.json
  # derive those of a directory, without the libraries that it bundles
  compat gen ./dist -o compat.json
  compat gen /usr/bin/git | jq .objects
  compat gen ./app --attribute org.example.mpi=openmpi-4
  # derive those of an image (its layers are streamed, nothing is unpacked)
  compat gen --image ghcr.io/org/app:1
  compat gen --image docker-archive:app.tar --executable /opt/app/bin/app
  # include the programs and plugins of a recorded run
  compat gen --from-recording run.jsonl -o compat.json
  compat gen --from-recording day1.jsonl day2.jsonl ./dist

If the application bundles libraries, name the directory that contains the program and the \
libraries. Scripts are followed to their interpreters. Nothing is executed.";

/// Derive the requirements of programs, libraries or directories
///
/// Writes the specification: machine, interpreter, needed libraries with the required versions and symbols, search
/// paths, CPU level and kernel.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Programs, libraries, scripts, or directories
    #[arg(required_unless_present_any = ["image", "from_recording"], conflicts_with = "image", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Add the programs and libraries of recorded runs (`compat record`)
    ///
    /// They are marked as recorded. Without PATH, the recorded program is the subject.
    #[arg(long, value_name = "RUN", num_args = 1..)]
    from_recording: Vec<PathBuf>,

    /// Derive the requirements of an image instead of files
    ///
    /// SOURCE is a reference, oci:DIR:TAG, docker-archive:FILE, oci-archive:FILE, docker-daemon:NAME,
    /// containers-storage:NAME, or the directory of an unpacked root (dir:PATH).
    #[arg(long, value_name = "SOURCE")]
    image: Option<String>,

    /// Select this platform of the image's index (default: this machine's)
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform, requires = "image")]
    platform: Option<Platform>,

    /// Derive every platform of the image's index
    ///
    /// Each is written to a separate file in the directory that --output names.
    #[arg(long, requires = "image", requires = "output", conflicts_with = "platform")]
    all_platforms: bool,

    /// Look up libraries in the root file system in DIR instead of this machine's
    ///
    /// A PATH inside DIR is a file of that root.
    #[arg(long, value_name = "DIR", conflicts_with = "image")]
    root: Option<PathBuf>,

    /// Write to FILE instead of standard output ("-")
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Add an attribute: a reverse-DNS key with a value (can be repeated)
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = parse_attribute)]
    attributes: Vec<(String, String)>,

    /// Assume these directories in LD_LIBRARY_PATH when the application starts, separated by ":"
    ///
    /// Relative paths start at the application's directory.
    #[arg(long, value_name = "DIRS", value_delimiter = ':')]
    library_path: Vec<String>,

    /// Leave out versions and symbols
    ///
    /// The file is smaller, but a check compares only names.
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
/// If a path cannot be read or the specification cannot be written.
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

/// Separates recordings from the paths that follow them after `--from-recording`. A program, script or directory
/// is never a recording.
fn split_recordings(values: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    values.into_iter().partition(|path| !path.is_dir() && !is_startable(path))
}

/// Writes a document to the output file or to standard output.
fn write(bytes: &[u8], output: Option<&Path>, context: &Context) -> Result<(), Failure> {
    match output {
        Some(path) if path != Path::new("-") => write_file(path, bytes),
        _ => context.print(&String::from_utf8_lossy(bytes)),
    }
}

/// Derives the specification of an image, or one specification for each platform.
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
