//! What can go wrong when an image is read.

use std::io;
use std::path::PathBuf;

/// The result of reading an image.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry or the layout failed.
    #[error(transparent)]
    Registry(#[from] compat_oci::Error),
    /// What was typed names no image.
    #[error("invalid image {text:?}: {reason}")]
    InvalidSource {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is there, but it is no container image.
    #[error("{what} is not a container image: {reason}")]
    NotAnImage {
        /// What it was looked for in.
        what: String,
        /// What it is.
        reason: String,
    },
    /// An archive or layout holds several images and none was named.
    #[error("{what} holds several images: name one of {names}")]
    Several {
        /// The archive.
        what: String,
        /// What it holds.
        names: String,
    },
    /// A layer cannot be read.
    #[error("layer {layer}: {fault}")]
    Layer {
        /// The digest of the layer, or its name in the archive.
        layer: String,
        /// Why not.
        fault: Fault,
    },
    /// An image is larger than what is read of one.
    #[error("{what}: {fault}")]
    TooLarge {
        /// The image or directory.
        what: String,
        /// Which bound it breaks.
        fault: Fault,
    },
    /// A file could not be read.
    #[error("could not {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It contradicts its format.
    #[error("{0}")]
    Malformed(String),
    /// It breaks a bound.
    #[error("{what} is more than {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// Its uncompressed form is not what the configuration says.
    #[error("its uncompressed form is {actual}, but the image's configuration says {expected}")]
    DiffId {
        /// What the configuration says.
        expected: compat_oci::Digest,
        /// What it is.
        actual: compat_oci::Digest,
    },
    /// It lies elsewhere, or only those with a key can read it.
    #[error("{0}")]
    Unsupported(String),
    /// This machine failed: memory or temporary space.
    #[error("{0}")]
    Machine(io::Error),
}

impl Fault {
    /// A contradiction of the format.
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
    /// An [`Error::Io`] for a path.
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

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Registry(error) => return error.hint(),
            Self::InvalidSource { .. } => {
                "an image is HOST/NAME:TAG, oci:DIR:TAG, docker-archive:FILE, oci-archive:FILE, docker-daemon:NAME, \
                 containers-storage:NAME or the directory of an unpacked root (dir:PATH)"
            }
            Self::Several { .. } => "add it after the file: docker-archive:FILE:NAME, oci-archive:FILE:TAG",
            Self::NotAnImage { .. } => "see what it is with `compat inspect`",
            Self::Layer { fault: Fault::Limit { .. }, .. } | Self::TooLarge { .. } => {
                "if the image is to be trusted, unpack it and name the directory: dir:PATH"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_layer_and_what_is_wrong_with_it() {
        let layer = |fault| Error::Layer { layer: "sha256:12".into(), fault }.to_string();
        insta::assert_snapshot!(layer(Fault::malformed("the archive ends in the middle of usr/bin/x")), @"layer sha256:12: the archive ends in the middle of usr/bin/x");
        insta::assert_snapshot!(layer(Fault::Limit { what: "its decompressed size in bytes", limit: 10 }), @"layer sha256:12: its decompressed size in bytes is more than 10");
        let several = Error::Several { what: "docker-archive:a.tar".into(), names: "a:1, b:2".into() };
        insta::assert_snapshot!(several, @"docker-archive:a.tar holds several images: name one of a:1, b:2");
        assert!(several.is_usage() && several.hint().is_some());
    }
}
