//! The host that is checked: this machine, another root file system, or a saved host. Also `compat host`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Failure, Observer};
use compat_loader::check::{Host, Options};
use compat_loader::generate::{self, ProfileOptions};
use compat_loader::host::{MAXIMUM_PROFILE_SIZE, Platform, Profile};

/// The source of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostSource {
    /// This machine.
    #[default]
    ThisMachine,
    /// The root file system in a directory.
    Root(PathBuf),
    /// A saved host.
    Saved(PathBuf),
}

/// Opens the host.
///
/// # Errors
///
/// If the host cannot be read.
pub fn open(source: &HostSource, options: &Options) -> Result<Host, Failure> {
    match source {
        HostSource::ThisMachine => Ok(Host::this_machine(options)),
        HostSource::Root(directory) => {
            Host::at(directory, options).map_err(|source| root_failure(directory, source))
        }
        HostSource::Saved(file) => saved(file, options),
    }
}

/// Returns the profile of this machine or of the root file system in a directory.
///
/// # Errors
///
/// If the root cannot be read.
pub fn profile(
    root: Option<&Path>,
    options: &ProfileOptions,
    observer: &dyn Observer,
) -> Result<Profile, Failure> {
    let files =
        Host::root_files(root).map_err(|source| root_failure(root.unwrap_or(Path::new("/")), source))?;
    let platform = Platform::of_root(files.root());
    let profile = generate::profile(&files, &platform, options);
    if profile.loaders.is_empty() {
        observer.warn(&format!(
            "no dynamic loader was found in {}: the profile contains no libraries",
            files.root().directory().display()
        ));
    }
    Ok(profile)
}

/// Opens a host from its profile.
fn saved(file: &Path, options: &Options) -> Result<Host, Failure> {
    let name = file.display().to_string();
    let mut bytes = Vec::new();
    compat_sys::open_stream(file)
        .and_then(|file| file.take(MAXIMUM_PROFILE_SIZE as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::undecided(&error).about(&name))?;
    let profile = Profile::parse(&bytes).map_err(|error| {
        let hint = "save a host profile with `compat host -o FILE` on the machine to check against";
        Failure::undecided(&error).with_hint(hint.to_owned()).about(&name)
    })?;
    Ok(Host::of_profile(profile, name, options))
}

/// Returns the platform of a host as image indexes name it.
pub fn platform(host: &Host) -> compat_oci::Platform {
    let platform = &host.environment.platform;
    let of_machine = compat_oci::Platform::of_machine(&platform.name());
    match platform.isa {
        Some(isa) => of_machine.with_variant(format!("v{}", isa.highest())),
        None => of_machine,
    }
}

fn root_failure(directory: &Path, source: std::io::Error) -> Failure {
    Failure::undecided(&RootError { directory: directory.to_owned(), source })
}

/// The error of a root that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the root {}", directory.display())]
struct RootError {
    directory: PathBuf,
    source: std::io::Error,
}
