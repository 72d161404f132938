//! Writes the specification of an artifact or image to a file: the work of `compat pull`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use super::source::{FetchedSpecification, Origin, fetch_specification, level_name};
use super::{Failure, Session, carried};
use compat_oci::{Access, Descriptor, Error, FindOptions, Location, Store};

/// The options of a pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Which artifact of an image is wanted.
    pub find: FindOptions,
    /// The file for the specification. Without it, the bytes are only in the report.
    pub output: Option<PathBuf>,
    /// The directory for the recordings of the artifact. Without it, they are not fetched.
    pub recordings: Option<PathBuf>,
}

/// The result of a pull.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct PullReport {
    /// The reference, as it was understood.
    pub reference: String,
    /// The digest of the artifact's manifest.
    pub digest: String,
    /// The level at which it was found: `artifact`, `manifest`, `platform` or `index`.
    pub level: String,
    /// The number of artifacts attached at that level. The newest was chosen.
    pub candidates: usize,
    /// The file that was written.
    pub file: String,
    /// The size of the specification in bytes.
    pub size: usize,
    /// The number of recordings in the artifact.
    #[serde(skip_serializing_if = "is_zero")]
    pub carried: usize,
    /// The files of the recordings that were fetched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<String>,
    /// The specification as it is stored.
    #[serde(skip)]
    pub bytes: Bytes,
    /// The origin of the specification.
    #[serde(skip)]
    pub origin: Origin,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Fetches a specification and, if requested, the recordings of the artifact. An existing file is replaced as
/// a whole.
///
/// # Errors
///
/// If the artifact does not exist or cannot be fetched, or a file cannot be written.
pub fn pull(location: &Location, options: &PullOptions, session: &Session) -> Result<PullReport, Failure> {
    let FetchedSpecification { bytes, origin, recordings: layers } =
        fetch_specification(location, &options.find, session)?;
    let Origin::Artifact { reference, digest, level, candidates, .. } = &origin else {
        return Err(Failure::usage(format!("{origin} is not an artifact")));
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

/// Fetches the recordings of an artifact. Returns the paths of their files.
fn fetch_recordings(
    location: &Location,
    layers: &[Descriptor],
    directory: &Path,
    options: &PullOptions,
    session: &Session,
) -> Result<Vec<String>, Failure> {
    if layers.is_empty() {
        session.observer().warn("the artifact contains no recordings");
        return Ok(Vec::new());
    }
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Pull);
    let targets = carried::targets(layers, directory, options.output.as_deref())?;
    connection.run(carried::fetch(&store, layers, &targets))?;
    Ok(targets.iter().map(|target| target.path.display().to_string()).collect())
}

/// Writes a file by rename. A device or pipe is written to directly.
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
