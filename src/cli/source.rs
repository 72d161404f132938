//! The options of every subcommand that reads a specification.

use super::Context;
use super::registry_options::{CacheOptions, RegistryOptions};
use crate::app::{Failure, Session, target};
use compat_oci::{FindOptions, FormatError, Location, Platform};

/// What may be asked about.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(super) struct TargetOptions {
    /// Take nothing but references that name their registry (HOST/NAME:TAG, HOST/NAME@DIGEST): no file, image
    /// layout or archive is looked at, whatever is typed
    #[arg(long)]
    pub references_only: bool,
}

impl TargetOptions {
    /// The location that a text is.
    ///
    /// # Errors
    ///
    /// Wrong usage where it is none that is allowed.
    pub(super) fn location(self, source: &str) -> Result<Location, Failure> {
        target::location(source, self.references_only)
    }
}

/// The location that a text is, where any kind of reference is taken.
///
/// # Errors
///
/// Wrong usage where it is none.
pub(super) fn parse_location(source: &str) -> Result<Location, Failure> {
    TargetOptions::default().location(source)
}

/// How a specification is fetched.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct SourceOptions {
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
    pub(super) fn session(&self, context: &Context) -> Session {
        self.registry.caching_session(Some(&self.cache), context)
    }

    /// Which artifact is wanted: for the platform that was named, else for that of the `default`.
    pub(super) fn find_options(&self, default: impl FnOnce() -> Platform) -> FindOptions {
        FindOptions {
            platform: self.platform.clone().unwrap_or_else(default),
            platform_named: self.platform.is_some(),
            offline: self.offline,
        }
    }
}

/// A platform as a user types it.
///
/// # Errors
///
/// If it is not a platform.
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
        insta::assert_snapshot!(refused.message, @r#"invalid reference "/dev/null": only HOST/NAME:TAG and HOST/NAME@DIGEST are taken here"#);
        insta::assert_snapshot!(refused.hint.unwrap(), @"--references-only is given: files, layouts and short names are refused");
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
