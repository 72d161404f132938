//! The sources of a specification: standard input, a file, or an artifact in a registry or image layout.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::recording::is_recording;
use super::{Failure, Session, StandardInput};
use compat_oci::choice::Reason;
use compat_oci::{
    Access, Descriptor, Digest, Error, FindOptions, Found, Level, Location, Selector, Store, find, limit,
};

/// The bytes of a specification, with their origin.
#[derive(Clone, Debug)]
pub struct FetchedSpecification {
    /// The document as it is stored.
    pub bytes: Bytes,
    /// The origin of the document.
    pub origin: Origin,
    /// The layers that contain the recordings of the artifact. None of them is fetched.
    pub recordings: Vec<Descriptor>,
}

/// The origin of a specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
    /// An artifact in a registry or layout.
    Artifact {
        /// The reference, as it was understood.
        reference: String,
        /// The artifact's manifest.
        digest: Digest,
        /// The level at which it was found.
        level: Level,
        /// The number of artifacts attached at that level.
        candidates: usize,
        /// Why this artifact was chosen.
        reason: Reason,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => formatter.write_str("standard input"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Artifact { reference, digest, level: Level::Artifact, .. } => {
                if reference.ends_with(digest.as_str()) {
                    formatter.write_str(reference)
                } else {
                    write!(formatter, "{reference} ({digest})")
                }
            }
            Self::Artifact { reference, digest, level, candidates, reason } => {
                match level {
                    Level::Platform(platform) => {
                        write!(formatter, "{digest}, attached to {reference} for {platform}")?;
                    }
                    Level::Index => write!(formatter, "{digest}, attached to the index {reference}")?,
                    _ => write!(formatter, "{digest}, attached to {reference}")?,
                }
                match of_several(*candidates, *reason) {
                    Some(words) => write!(formatter, " ({words})"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Returns why one of several artifacts was chosen, for display, or `None` if it is the only one.
pub fn of_several(candidates: usize, reason: Reason) -> Option<String> {
    match (candidates, reason) {
        (0 | 1, _) => None,
        (_, Reason::Digest) => {
            Some(format!("of {candidates} with the same date, the digest that sorts last"))
        }
        _ => Some(format!("the newest of {candidates}")),
    }
}

/// Returns the name of a level in JSON.
pub fn level_name(level: &Level) -> &'static str {
    match level {
        Level::Artifact => "artifact",
        Level::Manifest => "manifest",
        Level::Platform(_) => "platform",
        Level::Index => "index",
    }
}

/// Finds the artifact for a location. Returns `None` if the image has none attached.
///
/// # Errors
///
/// If the image does not exist or the artifact cannot be fetched.
pub fn find_specification(
    location: &Location,
    options: &FindOptions,
    session: &Session,
) -> Result<Option<FetchedSpecification>, Failure> {
    let found = found(location, options, session, |error| match error {
        Error::NoArtifact { .. } => Ok(None),
        error => Err(error),
    })?;
    Ok(found.map(|found| FetchedSpecification::of(location, found)))
}

/// Fetches the artifact for a location.
///
/// # Errors
///
/// If the artifact does not exist or cannot be fetched.
pub fn fetch_specification(
    location: &Location,
    options: &FindOptions,
    session: &Session,
) -> Result<FetchedSpecification, Failure> {
    let found = found(location, options, session, Err)?;
    let found = found.ok_or_else(|| Failure::usage(format!("{location} has no artifact")))?;
    Ok(FetchedSpecification::of(location, found))
}

/// Finds the artifact for a location, with warnings about its list. `missing` decides how an error is
/// treated.
fn found(
    location: &Location,
    options: &FindOptions,
    session: &Session,
    missing: impl FnOnce(Error) -> Result<Option<Found>, Error>,
) -> Result<Option<Found>, Failure> {
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Pull);
    let found = connection.run(async {
        find::find(&store, session.cache(), location, options).await.map(Some).or_else(missing)
    })?;
    for digest in found.iter().flat_map(|found| &found.gone) {
        let gone = store.display(&Selector::Digest(digest.clone()));
        session
            .observer()
            .warn(&format!("{gone} is listed as attached but no longer exists: using an older artifact"));
    }
    for doubt in found.iter().flat_map(|found| &found.doubts) {
        session.observer().warn(&format!("{location}: {doubt}"));
    }
    Ok(found)
}

impl FetchedSpecification {
    /// A local document, which contains no recordings.
    fn own(bytes: Bytes, origin: Origin) -> Self {
        Self { bytes, origin, recordings: Vec::new() }
    }

    fn of(location: &Location, found: Found) -> Self {
        let origin = Origin::Artifact {
            reference: location.to_string(),
            digest: found.artifact.descriptor.digest.clone(),
            level: found.level,
            candidates: found.candidates,
            reason: found.reason,
        };
        Self { bytes: found.specification, origin, recordings: found.artifact.recordings }
    }

    /// Reads a specification from a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is too large.
    pub fn read_file(path: &Path) -> Result<Self, Failure> {
        Ok(Self::own(read_file(path)?, Origin::File(path.to_owned())))
    }

    /// Reads a specification from standard input.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is too large, or was already taken.
    pub fn read_stdin(stdin: &StandardInput) -> Result<Self, Failure> {
        Ok(Self::own(read_stdin(stdin)?, Origin::Stdin))
    }
}

/// Reads a document from a file, or from standard input for `-`.
///
/// # Errors
///
/// If it cannot be read or is too large.
pub fn read_document(path: &Path, stdin: &StandardInput) -> Result<Bytes, Failure> {
    if path == Path::new("-") { read_stdin(stdin) } else { read_file(path) }
}

fn read_stdin(stdin: &StandardInput) -> Result<Bytes, Failure> {
    stdin.claim()?;
    read_bounded(std::io::stdin().lock(), Path::new("standard input"))
}

fn read_file(path: &Path) -> Result<Bytes, Failure> {
    let file =
        compat_sys::open_stream(path).map_err(|error| Failure::from(&Error::io("read", path)(error)))?;
    read_bounded(file, path)
}

fn read_bounded(reader: impl std::io::Read, path: &Path) -> Result<Bytes, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    reader
        .take(limit::SPECIFICATION + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::from(&Error::io("read", path)(error)))?;
    if bytes.len() as u64 > limit::SPECIFICATION {
        let what = path.display().to_string();
        let failure = Failure::from(&Error::TooLarge { what, limit: limit::SPECIFICATION });
        let hint =
            is_recording(&bytes).then(|| "this is a recording: use `compat gen --from-recording`".to_owned());
        return Err(failure.with_hint(hint));
    }
    Ok(bytes.into())
}
