//! The options of every subcommand that reads a specification.

use super::Context;
use super::registry_options::{CacheOptions, RegistryOptions};
use crate::app::{Failure, Session, target};
use compat_oci::{FindOptions, FormatError, Location, Platform};

/// The kinds of sources that are accepted.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(super) struct TargetOptions {
    /// Accept only references that name their registry (HOST/NAME:TAG, HOST/NAME@DIGEST)
    ///
    /// Files, image layouts and archives are never read.
    #[arg(long)]
    pub references_only: bool,
}

impl TargetOptions {
    /// Parses a location.
    ///
    /// # Errors
    ///
    /// If the text is not an allowed location (wrong usage).
    pub(super) fn location(self, source: &str) -> Result<Location, Failure> {
        target::location(source, self.references_only)
    }
}

/// Parses a location of any kind.
///
/// # Errors
///
/// If the text is not a location (wrong usage).
pub(super) fn parse_location(source: &str) -> Result<Location, Failure> {
    TargetOptions::default().location(source)
}

/// The options for fetching a specification.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SourceOptions {
    #[command(flatten)]
    pub target: TargetOptions,

    /// Use only the cache, and contact no registry
    #[arg(long, conflicts_with = "no_cache", help_heading = "Cache options")]
    pub offline: bool,

    /// Select this platform of an index (default: this machine's)
    ///
    /// An image without an index must be for this platform.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    pub platform: Option<Platform>,

    #[command(flatten)]
    pub cache: CacheOptions,

    #[command(flatten)]
    pub registry: RegistryOptions,
}

impl SourceOptions {
    /// Returns the session of a run with these options.
    pub(super) fn session(&self, context: &Context) -> Session {
        self.registry.caching_session(Some(&self.cache), context)
    }

    /// Returns the options that select an artifact: for the named platform, or else for the `default`.
    pub(super) fn find_options(&self, default: impl FnOnce() -> Platform) -> FindOptions {
        FindOptions {
            platform: self.platform.clone().unwrap_or_else(default),
            platform_named: self.platform.is_some(),
            offline: self.offline,
        }
    }
}

/// Parses a platform as a user types it.
///
/// # Errors
///
/// If the text is not a platform.
pub(super) fn parse_platform(text: &str) -> Result<Platform, FormatError> {
    Platform::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_only_references_are_taken_the_reason_is_said() {
        let only = TargetOptions { references_only: true };
        assert_eq!(only.location("ghcr.io/a:1").unwrap(), Location::parse("ghcr.io/a:1").unwrap());
        let refused = only.location("/dev/null").unwrap_err();
        assert_eq!(refused.cause, crate::app::Cause::Usage);
        insta::assert_snapshot!(refused.message, @r#"invalid reference "/dev/null": only HOST/NAME:TAG and HOST/NAME@DIGEST are accepted"#);
        insta::assert_snapshot!(refused.hint.unwrap(), @"--references-only rejects files, layouts and short names");
    }

    #[test]
    fn a_file_where_a_reference_is_expected_is_called_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failure = parse_location(&file.path().display().to_string()).unwrap_err();
        assert!(failure.message.ends_with("is a file, not a reference"), "{}", failure.message);
        assert!(failure.hint.is_some());
        insta::assert_snapshot!(parse_location("/").unwrap_err().hint.unwrap(), @"write oci:/ for an image layout; to describe the programs in the directory, run `compat gen / -o compat.json`");
        let missing = parse_location("./no-such-file").unwrap_err();
        insta::assert_snapshot!(missing.hint.unwrap(), @"check the path; an image layout is written oci:DIR:TAG");
        assert_eq!(missing.message, "./no-such-file does not exist");
        for name in ["no-such.json", "no-such.tar", "no-such.tar.gz", "no-such.sif"] {
            assert_eq!(parse_location(name).unwrap_err().message, format!("{name} does not exist"));
        }
    }
}
