//! The specification of an artifact or an image, as a file: what `compat pull` does.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use super::source::{FetchedSpecification, Origin, fetch_specification, level_name};
use super::{Failure, Session, carried};
use compat_oci::{Access, Descriptor, Error, FindOptions, Location, Store};

/// What is pulled, and where it goes.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Which artifact of an image is wanted.
    pub find: FindOptions,
    /// The file that the specification is written to; without one its bytes are in the report alone.
    pub output: Option<PathBuf>,
    /// The directory that the artifact's recordings are written to; without one they are not fetched.
    pub recordings: Option<PathBuf>,
}

/// What a pull did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct PullReport {
    /// The reference as it was understood.
    pub reference: String,
    /// The digest of the artifact's manifest.
    pub digest: String,
    /// Where it was found: `artifact`, `manifest`, `platform` or `index`.
    pub level: String,
    /// How many artifacts are attached there; the newest was taken.
    pub candidates: usize,
    /// The file that was written.
    pub file: String,
    /// The size of the specification in bytes.
    pub size: usize,
    /// How many recordings travel with the artifact.
    #[serde(skip_serializing_if = "is_zero")]
    pub carried: usize,
    /// The files of the recordings that were fetched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<String>,
    /// The specification as it is stored.
    #[serde(skip)]
    pub bytes: Bytes,
    /// Where it came from.
    #[serde(skip)]
    pub origin: Origin,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Fetches a specification and, if they are wanted, the recordings that travel with it. An existing file is replaced as a
/// whole.
///
/// # Errors
///
/// If nothing is there, it cannot be fetched, or a file cannot be written.
pub fn pull(location: &Location, options: &PullOptions, session: &Session) -> Result<PullReport, Failure> {
    let FetchedSpecification { bytes, origin, recordings: layers } =
        fetch_specification(location, &options.find, session)?;
    let Origin::Artifact { reference, digest, level, candidates, .. } = &origin else {
        return Err(Failure::usage(format!("{origin} is no artifact")));
    };
    let recordings = match &options.recordings {
        Some(directory) => fetch_recordings(location, &layers, directory, options, session)?,
        None => Vec::new(),
    };
    if let Some(file) = &options.output {
        replace(file, &bytes)?;
    }
    let file = options.output.as_deref().unwrap_or(Path::new("-"));
    Ok(PullReport {
        reference: reference.clone(),
        digest: digest.to_string(),
        level: level_name(level).to_owned(),
        candidates: *candidates,
        file: file.display().to_string(),
        size: bytes.len(),
        carried: layers.len(),
        recordings,
        bytes,
        origin,
    })
}

/// Fetches the recordings of an artifact; the paths of their files.
fn fetch_recordings(
    location: &Location,
    layers: &[Descriptor],
    directory: &Path,
    options: &PullOptions,
    session: &Session,
) -> Result<Vec<String>, Failure> {
    if layers.is_empty() {
        session.observer().warn("no recording travels with the artifact");
        return Ok(Vec::new());
    }
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Pull);
    let targets = carried::targets(layers, directory, options.output.as_deref())?;
    connection.run(carried::fetch(&store, layers, &targets))?;
    Ok(targets.iter().map(|target| target.path.display().to_string()).collect())
}

/// Writes a file by rename; what is no regular file (a device, a pipe) is written to as it is.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let outcome = compat_mirror::record::out::open_special(path).and_then(|special| match special {
        Some(mut file) => file.write_all(bytes),
        None => write_and_rename(path, bytes),
    });
    outcome.map_err(|error| Failure::from(&Error::io("write", path)(error)))
}

fn write_and_rename(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = compat_sys::Temporary::new(parent)?;
    temporary.write_all(bytes)?;
    temporary.persist(path)
}
