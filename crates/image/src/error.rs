//! Errors of reading an image.

use std::io;
use std::path::PathBuf;

use crate::archive::UNREADABLE;

/// The result of reading an image.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry or the layout failed.
    #[error(transparent)]
    Registry(#[from] compat_oci::Error),
    /// The text does not name an image.
    #[error("invalid image {text:?}: {reason}")]
    InvalidSource {
        /// The text as the user typed it.
        text: String,
        /// The reason.
        reason: String,
    },
    /// The content exists but is not a container image.
    #[error("{what} is not a container image: {reason}")]
    NotAnImage {
        /// The source.
        what: String,
        /// Its actual type, or the defect.
        reason: String,
    },
    /// An archive or layout contains several images and the user named none.
    #[error("{what} contains several images: choose one of {names}")]
    Several {
        /// The archive.
        what: String,
        /// The names of its images.
        names: String,
    },
    /// A layer cannot be read.
    #[error("cannot read layer {layer}: {fault}")]
    Layer {
        /// The digest of the layer, or its name in the archive.
        layer: String,
        /// The reason.
        fault: Fault,
    },
    /// An image exceeds a limit.
    #[error("cannot read {what}: {fault}")]
    TooLarge {
        /// The image or directory.
        what: String,
        /// The limit.
        fault: Fault,
    },
    /// A file could not be read.
    #[error("could not {action} {path}", path = path.display())]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Why a layer cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It violates its format.
    #[error("{0}")]
    Malformed(String),
    /// It exceeds a limit.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// The quantity.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The digest of its uncompressed form differs from the one in the configuration.
    #[error(
        "the digest of the uncompressed layer is {actual}, but the image's configuration states {expected}"
    )]
    DiffId {
        /// The digest in the configuration.
        expected: compat_oci::Digest,
        /// The digest of the content.
        actual: compat_oci::Digest,
    },
    /// It is stored elsewhere, or it is encrypted or compressed in an unsupported way.
    #[error("{0}")]
    Unsupported(String),
    /// This machine failed: memory or temporary space.
    #[error("{0}")]
    Machine(io::Error),
}

impl Fault {
    /// Returns a violation of the format.
    pub(super) fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }
}

impl From<compat_oci::FormatError> for Error {
    fn from(fault: compat_oci::FormatError) -> Self {
        Self::Registry(fault.into())
    }
}

impl Error {
    /// Returns a function that makes an [`Error::Io`] for a path.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the user typed something that can never work.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_usage(),
            Self::InvalidSource { .. } | Self::Several { .. } => true,
            _ => false,
        }
    }

    /// The user's next step.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Registry(error) => return error.hint(),
            Self::InvalidSource { .. } => {
                "use HOST/NAME:TAG, oci:DIR:TAG, docker-archive:FILE, oci-archive:FILE, docker-daemon:NAME, \
                 containers-storage:NAME or the directory of an unpacked image (dir:PATH)"
            }
            Self::Several { .. } => {
                "append its name to the file: docker-archive:FILE:NAME, oci-archive:FILE:TAG"
            }
            Self::NotAnImage { what, reason } if is_file(what) || reason.starts_with(UNREADABLE) => {
                "if the file is incomplete, download or save the image again"
            }
            Self::NotAnImage { .. } => "run `compat inspect` to see its type",
            Self::Layer { fault: Fault::Limit { .. }, .. } | Self::TooLarge { .. } => {
                "if you trust the image, unpack it and use the directory: dir:PATH"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}

/// Returns whether an image is an archive or a directory, which `compat inspect` does not accept.
fn is_file(what: &str) -> bool {
    ["archive:", "docker-archive:", "oci-archive:", "dir:", "docker-daemon:", "containers-storage:"]
        .iter()
        .any(|prefix| what.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_layer_and_what_is_wrong_with_it() {
        let layer = |fault| Error::Layer { layer: "sha256:12".into(), fault }.to_string();
        insta::assert_snapshot!(layer(Fault::malformed("the archive ends inside usr/bin/x")), @"cannot read layer sha256:12: the archive ends inside usr/bin/x");
        insta::assert_snapshot!(layer(Fault::Limit { what: "the decompressed size in bytes", limit: 10 }), @"cannot read layer sha256:12: the decompressed size in bytes exceeds the limit of 10");
        let several = Error::Several { what: "docker-archive:a.tar".into(), names: "a:1, b:2".into() };
        insta::assert_snapshot!(several, @"docker-archive:a.tar contains several images: choose one of a:1, b:2");
        assert!(several.is_usage() && several.hint().is_some());
        let other =
            |what: &str, reason: &str| Error::NotAnImage { what: what.into(), reason: reason.into() }.hint();
        assert_eq!(
            other("a.tar", UNREADABLE).as_deref(),
            Some("if the file is incomplete, download or save the image again")
        );
        assert_eq!(other("h/a:1", "it is a chart").as_deref(), Some("run `compat inspect` to see its type"));
    }
}
