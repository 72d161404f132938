//! Sources of images, as users name them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};
use compat_oci::transport::{self, Transport};
use compat_oci::{EngineKind, Location, Place, Selector};

/// The source of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A registry or an image layout.
    Location(Location),
    /// An archive in a file: the output of `docker save`, or an image layout in a tar file.
    Archive {
        /// The file.
        path: PathBuf,
        /// The image in the archive, by tag, name or digest.
        name: Option<String>,
    },
    /// The directory of an unpacked image.
    Directory(PathBuf),
    /// The directory that skopeo wrote (`skopeo copy … dir:PATH`), with the manifest and the blobs.
    Exported(PathBuf),
    /// An image of a container engine on this machine.
    Engine {
        /// The engine.
        kind: EngineKind,
        /// Its name or ID.
        name: String,
    },
}

/// The endings of the names of archives.
const ENDINGS: &[&str] = &[".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"];

impl Source {
    /// Parses the text of a user. The file system is consulted only to distinguish directories, files and
    /// references.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSource`] if the text names nothing or a missing file, or the error of the reference.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid =
            |reason: &str| Error::InvalidSource { text: text.to_owned(), reason: reason.to_owned() };
        let engine = |kind, name: &str| match name {
            "" => Err(invalid("the image name is missing")),
            name => Ok(Self::Engine { kind, name: name.to_owned() }),
        };
        match transport::split(text) {
            // The type of the archive is detected from its content.
            Some((Transport::Archive, rest)) => {
                archive(rest).ok_or_else(|| invalid("the file name is missing"))
            }
            Some((Transport::Directory, "")) => Err(invalid("the directory is missing")),
            Some((Transport::Directory, path)) => Ok(directory(Path::new(path))),
            Some((Transport::Docker, name)) => engine(EngineKind::Docker, name),
            Some((Transport::Podman, name)) => engine(EngineKind::Podman, name),
            Some(_) => Ok(Self::Location(Location::parse(text)?)),
            None => Self::of_path_or_reference(text),
        }
    }

    fn of_path_or_reference(text: &str) -> Result<Self> {
        let invalid =
            |reason: &str| Error::InvalidSource { text: text.to_owned(), reason: reason.to_owned() };
        let path = Path::new(text);
        let is_path =
            ["/", "./", "../"].iter().any(|start| text.starts_with(start)) || matches!(text, "." | "..");
        if is_path && path.is_dir() {
            return Ok(if path.join("oci-layout").is_file() { layout(path) } else { directory(path) });
        }
        if is_sif(path) {
            return Err(transport::elsewhere(Transport::Sif, text, text).into());
        }
        if (is_path || has_archive_name(text)) && path.is_file() {
            return Ok(Self::Archive { path: path.into(), name: None });
        }
        if is_path {
            return Err(invalid("no such file or directory"));
        }
        Ok(Self::Location(Location::parse(text)?))
    }

    /// Whether it is an image on this machine that artifacts cannot be attached to.
    pub fn is_local(&self) -> bool {
        !matches!(self, Self::Location(_))
    }

    /// The location in a registry or layout, if the source has one. Artifacts can be attached there.
    pub fn location(&self) -> Option<&Location> {
        if let Self::Location(location) = self { Some(location) } else { None }
    }
}

/// Parses `FILE`, or `FILE:NAME` if there is no file with that whole name.
fn archive(text: &str) -> Option<Source> {
    let (path, name) = match text.split_once(':') {
        Some((path, name)) if !Path::new(text).exists() && !name.is_empty() => (path, Some(name.to_owned())),
        _ => (text, None),
    };
    (!path.is_empty()).then(|| Source::Archive { path: path.into(), name })
}

/// Returns the source for a directory. Skopeo marks its directories with a `version` file.
fn directory(path: &Path) -> Source {
    let exported = begins_with(&path.join("version"), b"Directory Transport Version:")
        && path.join("manifest.json").is_file();
    if exported { Source::Exported(path.into()) } else { Source::Directory(path.into()) }
}

/// Whether a text has an ending of an archive's name.
pub fn has_archive_name(text: &str) -> bool {
    ENDINGS.iter().any(|ending| text.ends_with(ending))
}

/// Whether a regular file begins with a text.
fn begins_with(path: &Path, text: &[u8]) -> bool {
    use std::io::Read as _;
    let mut head = vec![0; text.len()];
    let read = compat_sys::open_regular(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == text
}

/// Whether a file is an Apptainer image (SIF, `pkg/sif/sif.go`: 32 bytes of launch script, then the magic).
pub fn is_sif(path: &Path) -> bool {
    use std::io::Read as _;
    let mut head = [0; 42];
    let read = compat_sys::open_regular(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head[32..] == *b"SIF_MAGIC\0"
}

fn layout(path: &Path) -> Source {
    Source::Location(Location { place: Place::Layout(path.to_owned()), selector: Selector::Only })
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Location(location) => location.fmt(formatter),
            Self::Archive { path, name: None } => write!(formatter, "archive:{}", path.display()),
            Self::Archive { path, name: Some(name) } => {
                write!(formatter, "archive:{}:{name}", path.display())
            }
            Self::Directory(path) | Self::Exported(path) => write!(formatter, "dir:{}", path.display()),
            Self::Engine { kind, name } => write!(formatter, "{}{name}", kind.prefix()),
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Source::parse(text).map_or_else(|error| error.to_string(), |source| source.to_string())
    }

    #[test]
    fn every_form_is_told_by_its_text() {
        assert_eq!(shown("ghcr.io/a/b:1"), "ghcr.io/a/b:1");
        assert_eq!(shown("oci:/a/b:1"), "oci:/a/b:1");
        assert_eq!(shown("docker-archive:a.tar:x/y:1"), "archive:a.tar:x/y:1");
        assert_eq!(shown("oci-archive:a.tar"), "archive:a.tar");
        assert_eq!(shown("dir:root"), "dir:root");
        assert_eq!(shown("app.tar:1"), "docker.io/library/app.tar:1");
        assert_eq!(shown("docker-archive:///srv/a.tar:x"), "archive:/srv/a.tar:x");
        assert_eq!(shown("dir://root"), "dir:root");
        assert_eq!(shown("docker-daemon:ghcr.io/a/b:1"), "docker-daemon:ghcr.io/a/b:1");
        assert_eq!(shown("containers-storage:localhost/b"), "containers-storage:localhost/b");
        assert_eq!(shown("docker://ghcr.io/a/b:1"), "ghcr.io/a/b:1");
        assert!(shown("containerd:a").contains("which is not supported"));
        insta::assert_snapshot!(shown("docker-daemon:"), @r#"invalid image "docker-daemon:": the image name is missing"#);
        insta::assert_snapshot!(shown("/no/such/place"), @r#"invalid image "/no/such/place": no such file or directory"#);
        insta::assert_snapshot!(shown("dir:"), @r#"invalid image "dir:": the directory is missing"#);
        insta::assert_snapshot!(shown("archive:"), @r#"invalid image "archive:": the file name is missing"#);
    }

    #[test]
    fn paths_are_told_by_what_lies_there() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("root")).unwrap();
        std::fs::create_dir(at("layout")).unwrap();
        std::fs::write(at("layout/oci-layout"), "{}").unwrap();
        std::fs::write(at("a.tar"), "").unwrap();
        std::fs::write(at("b:c"), "").unwrap();
        std::fs::create_dir(at("exported")).unwrap();
        std::fs::write(at("exported/version"), "Directory Transport Version: 1.1\n").unwrap();
        std::fs::write(at("exported/manifest.json"), "{}").unwrap();
        assert!(matches!(Source::parse(&format!("dir:{}", at("exported"))).unwrap(), Source::Exported(_)));
        let sif = [&b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0"[..], &[0; 100]].concat();
        std::fs::write(at("app.sif"), sif).unwrap();
        assert!(shown(&at("app.sif")).ends_with("is an image of Apptainer (SIF files are not supported)"));
        assert!(matches!(Source::parse(&at("root")).unwrap(), Source::Directory(_)));
        assert!(matches!(Source::parse(&at("layout")).unwrap(), Source::Location(_)));
        assert!(matches!(Source::parse(&at("a.tar")).unwrap(), Source::Archive { name: None, .. }));
        let named = Source::parse(&format!("archive:{}", at("b:c"))).unwrap();
        assert!(matches!(named, Source::Archive { name: None, .. }));
    }
}
