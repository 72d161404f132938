//! Generates a specification from programs or an image: `compat gen`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::derive::{Choice, Derived, derive};
use super::host::{self, HostSource};
use super::in_root;
use super::target::refuse_image;
use super::{Failure, Observer, Session, recording};
use compat_image::{ImageOptions, Source};
use compat_loader::spec::Specification;
use compat_loader::{check, generate};
use compat_oci::Location;

/// The options for deriving from programs.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// Programs, libraries, scripts, or directories of them.
    pub paths: Vec<PathBuf>,
    /// Recordings of runs. Their programs and libraries are added. Without paths, the recorded program is the
    /// subject.
    pub recordings: Vec<PathBuf>,
    /// The root file system to search for libraries, if it is not this machine's.
    pub root: Option<PathBuf>,
    /// Attributes of the specification: reverse-DNS keys with their values.
    pub attributes: BTreeMap<String, String>,
    /// The directories in `LD_LIBRARY_PATH` when the application starts.
    pub library_path: Vec<String>,
    /// Whether versions and symbols are left out.
    pub names_only: bool,
}

/// The options for deriving from an image.
#[derive(Clone, Debug)]
pub struct GenerateImageOptions {
    /// The selected images of an index.
    pub choice: Choice,
    /// The options for each image.
    pub image: ImageOptions,
    /// Recordings of runs. Their programs and libraries are added.
    pub recordings: Vec<PathBuf>,
}

/// Derives the needs of programs, libraries or directories.
///
/// # Errors
///
/// If a path, a recording or the root cannot be read.
pub fn of_programs(options: GenerateOptions, observer: &dyn Observer) -> Result<Specification, Failure> {
    for path in &options.paths {
        refuse_image(path, "gen --image")?;
    }
    let read_from = generate::Options {
        runs: recording::read_runs(&options.recordings, observer)?,
        attributes: options.attributes,
        library_path: options.library_path.iter().map(compat_sys::raw::of_path).collect(),
        names_only: options.names_only,
        ..in_root::options(options.paths, options.root.as_deref())
    };
    let source = options.root.map_or(HostSource::ThisMachine, HostSource::Root);
    let host = host::open(&source, &check::Options::default())?;
    let generated = generate::generate(&read_from, host.context())
        .map_err(|error| Failure::undecided(&error).with_hint(error.hint().map(str::to_owned)))?;
    generated.notes.iter().for_each(|note| observer.warn(note));
    Ok(generated.specification)
}

/// Derives the needs of the chosen images. `take` receives each specification as soon as it is derived.
///
/// # Errors
///
/// If an image or a recording cannot be read, if nothing in an image can be derived, or if `take` fails.
pub fn of_image(
    source: &Source,
    options: GenerateImageOptions,
    session: &Session,
    take: impl FnMut(Derived) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // The password must be read before a recording, because both can come from standard input.
    session.connect(source.location().and_then(Location::host))?;
    let runs = recording::read_runs(&options.recordings, session.observer())?;
    derive(source, &options.choice, &ImageOptions { runs, ..options.image }, session, take)
}
