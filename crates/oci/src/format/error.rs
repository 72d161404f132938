//! Errors of texts and content that violate the formats of OCI.

use super::digest::Digest;
use super::text::shown;

/// Why a text is not a reference, platform or manifest, or why content does not match its descriptor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The text is not a reference.
    #[error("invalid reference {reference:?}: {reason}")]
    InvalidReference {
        /// The text.
        reference: String,
        /// The fault.
        reason: String,
    },
    /// The text names something other than a registry or an image layout.
    #[error("{text} is {what}")]
    OtherTransport {
        /// The text.
        text: String,
        /// The thing that it names.
        what: &'static str,
        /// The hint.
        way: String,
    },
    /// The text is not a platform.
    #[error("invalid platform {platform:?}: expected OS/ARCH or OS/ARCH/VARIANT")]
    InvalidPlatform {
        /// The text.
        platform: String,
    },
    /// The content does not match its digest.
    #[error("content of {expected} was expected, but {actual} was received")]
    DigestMismatch {
        /// The expected digest.
        expected: Digest,
        /// The digest of the content.
        actual: Digest,
    },
    /// The content does not have the size in its descriptor.
    #[error("{digest} should have {expected} bytes, but {actual} were received")]
    SizeMismatch {
        /// The digest of the content.
        digest: Digest,
        /// The size in the descriptor.
        expected: u64,
        /// The size of the content.
        actual: u64,
    },
    /// The content cannot be parsed.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// The name of the content.
        what: String,
        /// The fault.
        reason: String,
    },
}

impl FormatError {
    /// Creates a [`FormatError::Malformed`]. Text from strangers is made safe for display.
    pub fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { what: shown(&what.into(), 1000), reason: shown(&reason.into(), 500) }
    }

    /// Returns whether the error is wrong usage: the typed text can never work.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::InvalidReference { .. } | Self::OtherTransport { .. } | Self::InvalidPlatform { .. }
        )
    }

    /// Returns how the user can resolve the error.
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
