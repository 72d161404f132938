//! `compat gen`: objects -> specification.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::app::Failure;
use crate::app::derive::{Choice, derive};
use crate::app::in_root;
use crate::app::target::{self, is_startable, refuse_image};
use crate::cli::host_options::RootError;
use crate::cli::image::{self, DeriveOptions};
use crate::cli::registry_options::RegistryOptions;
use crate::cli::source::parse_platform;
use crate::cli::{Context, Exit, recording};
use compat_loader::check::Host;
use compat_loader::generate::{self, Generated};
use compat_loader::spec::attribute;
use compat_mirror::record::{Refusal, out::open_special};
use compat_oci::{Location, Platform};
use compat_trace::{Ending, Runs};

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
/// Where a path cannot be read or the document not be written.
pub fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    if let Some(source) = &arguments.image {
        return of_image(source, &arguments, context);
    }
    arguments.derive.expect_none("--image SOURCE")?;
    let (recordings, mut paths) = split_recordings(&arguments.from_recording);
    paths.extend(arguments.paths);
    for path in &paths {
        refuse_image(path, "gen --image")?;
    }
    let options = generate::Options {
        runs: read_runs(&recordings, context)?,
        attributes: arguments.attributes.into_iter().collect::<BTreeMap<_, _>>(),
        library_path: arguments.library_path.iter().map(compat_sys::raw::of_path).collect(),
        names_only: arguments.names_only,
        ..in_root::options(paths, arguments.root.as_deref())
    };
    let defaults = compat_loader::check::Options::default();
    let host = match &arguments.root {
        None => Host::this_machine(&defaults),
        Some(directory) => Host::at(directory, &defaults)
            .map_err(|source| Failure::undecided(&RootError { directory: directory.clone(), source }))?,
    };
    let generated = generate::generate(&options, host.context());
    let Generated { specification, notes } =
        generated.map_err(|error| Failure::undecided(&error).with_hint(error.hint().map(str::to_owned)))?;
    for note in notes {
        context.warn(&note);
    }
    write(&specification.to_canonical_json(), arguments.output.as_deref(), context)?;
    Ok(Exit::Success)
}

/// After `--from-recording` come recordings and then what they are of: a program, script or folder is no recording.
fn split_recordings(values: &[PathBuf]) -> (Vec<&PathBuf>, Vec<PathBuf>) {
    let is_application = |path: &&PathBuf| path.is_dir() || is_startable(path);
    let recordings = values.iter().filter(|path| !is_application(path)).collect();
    (recordings, values.iter().filter(is_application).cloned().collect())
}

/// Reads the recordings of runs and merges them.
fn read_runs(recordings: &[&PathBuf], context: &Context) -> Result<Option<Runs>, Failure> {
    let mut runs = Runs::default();
    for path in recordings {
        let mut reader = recording::open(path)?;
        let cut = runs.cut;
        runs.add(&mut reader).map_err(|error| recording::failure(&error))?;
        if reader.ending() == Some(&Ending::Cut) {
            let name = recording::name(path);
            context.warn(&format!("{name} has no end: the run was cut off, and may have loaded more"));
        }
        recording::tell_unknown(path, reader.unknown(), context);
        recording::warn_of_cut(path, runs.cut - cut, "what they loaded is not in the specification", context);
    }
    Ok((!recordings.is_empty()).then_some(runs))
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
    // The password is read before a recording may be.
    session.connect(source.location().and_then(Location::host))?;
    let mut options = image::options(&arguments.derive, arguments.attributes.clone(), arguments.names_only);
    options.runs = read_runs(&arguments.from_recording.iter().collect::<Vec<_>>(), context)?;
    let choice = match arguments.all_platforms {
        true => Choice::All,
        false => arguments.platform.clone().map_or_else(|| Choice::Best(Platform::host()), Choice::Named),
    };
    derive(&source, &choice, &options, &session, |derived| {
        let bytes = derived.specification.to_canonical_json();
        let output = arguments.output.as_deref();
        match output.filter(|_| arguments.all_platforms) {
            Some(folder) => {
                let platform = derived.platform.map(|platform| platform.to_string()).unwrap_or_default();
                write_file(&folder.join(format!("compat.{}.json", platform.replace('/', "-"))), &bytes)
            }
            None => write(&bytes, output, context),
        }
    })?;
    Ok(Exit::Success)
}

/// Replaces a file as a whole: readers see the old or the new one, never a part.
///
/// # Errors
///
/// Where it cannot be written; the old file is then as it was.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source: std::io::Error| {
        let hint = Refusal::of(&source).map(|refusal| refusal.hint().to_owned());
        Failure::undecided(&WriteError { path: path.to_owned(), source }).with_hint(hint)
    };
    // A device or pipe cannot be replaced, only written to.
    if let Some(mut special) = open_special(path).map_err(failed)? {
        return special.write_all(bytes).map_err(failed);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Those of another user's file, or of what a link leads to, are not for this one.
    let own =
        |found: &std::fs::Metadata| found.is_file() && found.uid() == rustix::process::geteuid().as_raw();
    let permissions = std::fs::symlink_metadata(path).ok().filter(own).map(|found| found.permissions());
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

/// Makes a folder that files are to be written into, where it is missing.
///
/// # Errors
///
/// Where it cannot be made.
pub fn make_folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path)
        .map_err(|source| Failure::undecided(&WriteError { path: path.to_owned(), source }))
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
    fn the_mode_is_not_that_of_what_a_link_leads_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("other"), "other").unwrap();
        std::fs::set_permissions(at("other"), std::fs::Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink("other", at("link")).unwrap();
        write_file(&at("link"), b"{}").unwrap();
        let found = std::fs::symlink_metadata(at("link")).unwrap();
        assert_eq!((found.is_file(), found.mode() & 0o7777), (true, 0o644));
        assert_eq!(std::fs::read(at("other")).unwrap(), b"other");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let failure = write_file(Path::new("/nowhere/compat.json"), b"{}").unwrap_err();
        assert!(failure.message.starts_with("could not write /nowhere/compat.json: "), "{}", failure.message);
        assert_eq!(failure.cause, crate::app::Cause::Undecided);
    }
}
