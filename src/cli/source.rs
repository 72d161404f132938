//! Where a specification comes from: standard input, a file, a reference, an image layout.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::registry_options::{CacheOptions, RegistryOptions, failure};
use super::{Context, Failure};
use crate::app::{Session, StandardInput};
use compat_image::has_archive_name;
use compat_oci::choice::Reason;
use compat_oci::location::LAYOUT_PREFIX;
use compat_oci::transport;
use compat_oci::{
    Access, Descriptor, Digest, Error, FindOptions, Found, Level, Location, Platform, Selector, Store, find,
    limit,
};

/// What may be asked about.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct TargetOptions {
    /// Take nothing but references that name their registry (HOST/NAME:TAG, HOST/NAME@DIGEST): no file, image
    /// layout or archive is looked at, whatever is typed
    #[arg(long)]
    pub references_only: bool,
}

impl TargetOptions {
    /// The reference that a text is, where nothing else is allowed; no file is looked at then.
    ///
    /// # Errors
    ///
    /// Wrong usage where nothing else is allowed and it is none.
    pub fn reference(self, source: &str) -> Result<Option<Location>, Failure> {
        if !self.references_only {
            return Ok(None);
        }
        let hint = "--references-only is given: files, layouts and short names are refused".to_owned();
        Location::parse_remote(source).map(Some).map_err(|error| failure(&error).with_hint(hint))
    }

    /// The location that a text is.
    ///
    /// # Errors
    ///
    /// Wrong usage where it is none that is allowed.
    pub fn location(self, source: &str) -> Result<Location, Failure> {
        self.reference(source)?.map_or_else(|| parse_location(source), Ok)
    }
}

/// How a specification is fetched.
#[derive(clap::Args, Clone, Debug)]
pub struct SourceOptions {
    #[command(flatten)]
    pub target: TargetOptions,

    /// Ask no registry: use only what is in the cache
    #[arg(long, conflicts_with = "no_cache", help_heading = "Cache options")]
    pub offline: bool,

    /// The platform wanted of an index (default: this machine's)
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    pub platform: Option<Platform>,

    #[command(flatten)]
    pub cache: CacheOptions,

    #[command(flatten)]
    pub registry: RegistryOptions,
}

impl SourceOptions {
    /// The session of a run with these options.
    pub fn session(&self, context: &Context) -> Session {
        self.registry.caching_session(Some(&self.cache), context)
    }
}

/// A platform as a user types it.
///
/// # Errors
///
/// Where it is none.
pub fn parse_platform(text: &str) -> Result<Platform, Error> {
    Platform::parse(text)
}

/// A specification's bytes with the place they came from.
#[derive(Clone, Debug)]
pub struct FetchedSpecification {
    /// The document, as it is stored.
    pub bytes: Bytes,
    /// Where it came from.
    pub origin: Origin,
    /// The layers with the recordings that travel with it; none of them is fetched.
    pub recordings: Vec<Descriptor>,
}

impl FetchedSpecification {
    /// A document of this machine, which nothing travels with.
    fn own(bytes: Bytes, origin: Origin) -> Self {
        Self { bytes, origin, recordings: Vec::new() }
    }
}

/// Where a specification came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
    /// An artifact in a registry or layout.
    Artifact {
        /// The reference as it was understood.
        reference: String,
        /// The artifact's manifest.
        digest: Digest,
        /// Which level answered.
        level: Level,
        /// How many artifacts are attached there.
        candidates: usize,
        /// Why this one was taken.
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

/// Why one artifact of several was taken, for people; none if there is no other.
pub fn of_several(candidates: usize, reason: Reason) -> Option<String> {
    match (candidates, reason) {
        (0 | 1, _) => None,
        (_, Reason::Digest) => {
            Some(format!("of {candidates} without a later date the one whose digest sorts last"))
        }
        _ => Some(format!("the newest of {candidates}")),
    }
}

/// A level as JSON names it.
pub fn level_name(level: &Level) -> &'static str {
    match level {
        Level::Artifact => "artifact",
        Level::Manifest => "manifest",
        Level::Platform(_) => "platform",
        Level::Index => "index",
    }
}

/// Fetches a specification: `-` is standard input, then an `oci:` layout, then a file that exists,
/// then a reference.
///
/// # Errors
///
/// Wrong usage where the text is neither; undecided where nothing is there or it cannot be fetched.
pub fn fetch_specification(
    source: &str,
    options: &SourceOptions,
    session: &Session,
) -> Result<FetchedSpecification, Failure> {
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let found = find_specification(source, options, &platform, false, session)?;
    found.ok_or_else(|| Failure::usage(format!("{source} has no artifact")))
}

/// As [`fetch_specification`], for a platform; `None` only where `or_none` is set and the image has no
/// artifact attached.
///
/// # Errors
///
/// As [`fetch_specification`].
pub fn find_specification(
    source: &str,
    options: &SourceOptions,
    platform: &Platform,
    or_none: bool,
    session: &Session,
) -> Result<Option<FetchedSpecification>, Failure> {
    let reference = options.target.reference(source)?;
    if reference.is_none() && source == "-" {
        return Ok(Some(FetchedSpecification::own(read_stdin(session.stdin())?, Origin::Stdin)));
    }
    if reference.is_none() && !source.starts_with(LAYOUT_PREFIX) && is_file(source) {
        let path = PathBuf::from(source);
        return Ok(Some(FetchedSpecification::own(read_file(&path)?, Origin::File(path))));
    }
    let location = reference.map_or_else(|| parse_location(source), Ok)?;
    let Some(found) = fetch_found(&location, options, platform, or_none, session)? else { return Ok(None) };
    let origin = Origin::Artifact {
        reference: location.to_string(),
        digest: found.artifact.descriptor.digest.clone(),
        level: found.level,
        candidates: found.candidates,
        reason: found.reason,
    };
    let (bytes, recordings) = (found.specification, found.artifact.recordings);
    Ok(Some(FetchedSpecification { bytes, origin, recordings }))
}

/// Fetches the artifact for a location.
fn fetch_found(
    location: &Location,
    options: &SourceOptions,
    platform: &Platform,
    or_none: bool,
    session: &Session,
) -> Result<Option<Found>, Failure> {
    let connection = session.connect(location.host())?;
    let store = Store::new(&connection.client, &location.place, Access::Pull);
    let find_options = FindOptions {
        platform: platform.clone(),
        platform_named: options.platform.is_some(),
        offline: options.offline,
    };
    let found = connection.run(async {
        match find::find(&store, session.cache(), location, &find_options).await {
            Err(Error::NoArtifact { .. }) if or_none => Ok(None),
            found => found.map(Some),
        }
    })?;
    for digest in found.iter().flat_map(|found| &found.gone) {
        let gone = store.display(&Selector::Digest(digest.clone()));
        session.observer().warn(&format!("{gone} is listed as attached, and gone: an older one is taken"));
    }
    for doubt in found.iter().flat_map(|found| &found.doubts) {
        session.observer().warn(&format!("{location}: {doubt}"));
    }
    Ok(found)
}

/// Parses a reference as typed; what looks like a path gets a hint.
///
/// # Errors
///
/// Wrong usage.
pub fn parse_location(source: &str) -> Result<Location, Failure> {
    let path = source.starts_with(['/', '.', '~']) || Path::new(source).exists();
    let file_name = source.ends_with(".json") || source.ends_with(".sif") || has_archive_name(source);
    let file_name = file_name && !source.contains('/') && transport::split(source).is_none();
    if path || file_name {
        let found = Path::new(source);
        let (kind, hint) = if found.is_dir() {
            (
                "is a folder",
                Some(format!(
                    "write ./{source} for what is in it, {LAYOUT_PREFIX}{source} for an image layout"
                )),
            )
        } else if found.exists() {
            let hint = "a reference is HOST/NAME:TAG, HOST/NAME@sha256:… or oci:DIR:TAG";
            ("is a file, not a reference", Some(hint.to_owned()))
        } else {
            ("does not exist", None)
        };
        let failure = Failure { exit: super::Exit::Undecided, ..Failure::usage(format!("{source} {kind}")) };
        return Err(failure.with_hint(hint));
    }
    Location::parse(source).map_err(|error| failure(&error))
}

/// Refuses an image, named with the word for where it lies, if a path is expected; `reader` is the subcommand that
/// takes it.
///
/// # Errors
///
/// Wrong usage.
pub fn refuse_image(path: &Path, reader: &str) -> Result<(), Failure> {
    let Some(text) = path.to_str().filter(|_| !path.exists()) else { return Ok(()) };
    if transport::split(text).is_none() {
        return Ok(());
    }
    let message = format!("{text} names an image, and a path is expected");
    Err(Failure::usage(message).with_hint(format!("`compat {reader} {text}` takes it")))
}

/// Whether a text names a file to read: also a pipe, as shells make for `<(…)`.
fn is_file(source: &str) -> bool {
    std::fs::metadata(source).is_ok_and(|found| !found.is_dir())
}

/// Reads a document from a file, or from standard input for `-`.
///
/// # Errors
///
/// Where it cannot be read or is too large.
pub fn read_document(path: &Path, stdin: &StandardInput) -> Result<Bytes, Failure> {
    if path == Path::new("-") { read_stdin(stdin) } else { read_file(path) }
}

fn read_stdin(stdin: &StandardInput) -> Result<Bytes, Failure> {
    stdin.claim()?;
    read_bounded(std::io::stdin().lock(), Path::new("standard input"))
}

fn read_file(path: &Path) -> Result<Bytes, Failure> {
    let file = compat_sys::open_stream(path).map_err(|error| failure(&Error::io("read", path)(error)))?;
    read_bounded(file, path)
}

fn read_bounded(reader: impl std::io::Read, path: &Path) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    reader
        .take(limit::SPECIFICATION + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failure(&Error::io("read", path)(error)))?;
    if bytes.len() as u64 > limit::SPECIFICATION {
        let what = path.display().to_string();
        return Err(failure(&Error::TooLarge { what, limit: limit::SPECIFICATION }));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_only_references_are_taken_the_reason_is_said() {
        let only = TargetOptions { references_only: true };
        assert_eq!(only.location("ghcr.io/a:1").unwrap(), Location::parse("ghcr.io/a:1").unwrap());
        let refused = only.location("/dev/null").unwrap_err();
        assert_eq!(refused.exit, crate::cli::Exit::Usage);
        insta::assert_snapshot!(refused.message, @r#"invalid reference "/dev/null": only HOST/NAME:TAG and HOST/NAME@DIGEST are taken here"#);
        insta::assert_snapshot!(refused.hint.unwrap(), @"--references-only is given: files, layouts and short names are refused");
        assert!(TargetOptions::default().reference("/dev/null").unwrap().is_none());
    }

    #[test]
    fn a_file_where_a_reference_is_expected_is_called_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failure = parse_location(&file.path().display().to_string()).unwrap_err();
        assert!(failure.message.ends_with("is a file, not a reference"), "{}", failure.message);
        assert!(failure.hint.is_some());
        let missing = parse_location("./no-such-file").unwrap_err();
        assert_eq!(missing.message, "./no-such-file does not exist");
        for name in ["no-such.json", "no-such.tar", "no-such.tar.gz", "no-such.sif"] {
            assert_eq!(parse_location(name).unwrap_err().message, format!("{name} does not exist"));
        }
    }
}
