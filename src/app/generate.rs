//! Programs or an image become a specification: what `compat gen` does.

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

/// What is derived from programs.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// Programs, libraries, scripts, or directories of them.
    pub paths: Vec<PathBuf>,
    /// Recordings of runs, whose programs and libraries join; without paths, the program that they executed is looked at.
    pub recordings: Vec<PathBuf>,
    /// The root file system that libraries are looked up in, if it is not this machine's.
    pub root: Option<PathBuf>,
    /// Attributes of the specification: reverse-DNS keys with their values.
    pub attributes: BTreeMap<String, String>,
    /// The directories that the application's start puts into `LD_LIBRARY_PATH`.
    pub library_path: Vec<String>,
    /// Versions and symbols are left out.
    pub names_only: bool,
}

/// What is derived from an image.
#[derive(Clone, Debug)]
pub struct GenerateImageOptions {
    /// Which images of an index are meant.
    pub choice: Choice,
    /// What is derived from each.
    pub image: ImageOptions,
    /// Recordings of runs, whose programs and libraries join.
    pub recordings: Vec<PathBuf>,
}

/// Derives what programs, libraries or directories of them need.
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

/// Derives what the chosen images need; `take` gets each specification as soon as it is there.
///
/// # Errors
///
/// If an image or a recording cannot be read, or an image names nothing that could be derived, or `take` fails.
pub fn of_image(
    source: &Source,
    options: GenerateImageOptions,
    session: &Session,
    take: impl FnMut(Derived) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // The password is read before a recording may be.
    session.connect(source.location().and_then(Location::host))?;
    let runs = recording::read_runs(&options.recordings, session.observer())?;
    derive(source, &options.choice, &ImageOptions { runs, ..options.image }, session, take)
}
