//! Why a text or content is not what the formats of OCI say.

use super::digest::Digest;
use super::text::shown;

/// Why something cannot be read as a reference, a platform or a manifest, or is not what its descriptor says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// What was typed is no reference.
    #[error("invalid reference {reference:?}: {reason}")]
    InvalidReference {
        /// What was typed.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was typed names something else than a registry or an image layout.
    #[error("{text} is {what}")]
    OtherTransport {
        /// What was typed.
        text: String,
        /// What it names.
        what: &'static str,
        /// How what is meant can be had.
        way: String,
    },
    /// What was typed is no platform.
    #[error("invalid platform {platform:?}: it is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT")]
    InvalidPlatform {
        /// What was typed.
        platform: String,
    },
    /// Content that is not what its digest says.
    #[error("content of {expected} was expected, but {actual} was received")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Content of another size than its descriptor says.
    #[error("{digest} should have {expected} bytes, but {actual} were received")]
    SizeMismatch {
        /// What was asked for.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Something that cannot be understood.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What it is.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl FormatError {
    /// A [`FormatError::Malformed`], with texts of others made fit to be shown.
    pub fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { what: shown(&what.into(), 1000), reason: shown(&reason.into(), 500) }
    }

    /// Whether the user typed something that can never work.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::InvalidReference { .. } | Self::OtherTransport { .. } | Self::InvalidPlatform { .. }
        )
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::OtherTransport { way, .. } => way,
            Self::InvalidReference { reference, .. } if reference.starts_with("oci:") => {
                "a layout is oci:DIR, oci:DIR:TAG or oci:DIR@sha256:…"
            }
            Self::InvalidReference { .. } => {
                "a reference is HOST/NAME:TAG, HOST/NAME@sha256:… or oci:DIR:TAG"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
