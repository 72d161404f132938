//! The location of a manifest: in a registry (`ghcr.io/org/app:tag`) or in an image layout (`oci:DIR:TAG`).
//! This module only parses. It does not access the network or files.
//!
//! Registry references follow distribution's grammar and docker's normalisation of short names (`reference`).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::FormatError;
use super::digest::Digest;
use super::reference::{self, is_tag};
use super::transport::{self, Transport, elsewhere};

/// The prefix of a location in an image layout.
pub const LAYOUT_PREFIX: &str = "oci:";

/// The selection of a manifest in a repository or layout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The manifest with this tag.
    Tag(String),
    /// The manifest with this digest.
    Digest(Digest),
    /// The only manifest (image layouts only).
    Only,
}

/// The name under which a manifest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestName<'a> {
    /// Under a tag.
    Tag(&'a str),
    /// Under its digest, to be found by it (a layout lists it).
    Digest,
    /// Under its digest, because another manifest names it (a layout does not list it).
    Child,
}

/// The repository part of a location, which contains manifests and blobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A repository of a registry.
    Repository {
        /// The host, with its port if one is given.
        host: String,
        /// The name of the repository.
        name: String,
    },
    /// A directory in the OCI image layout.
    Layout(PathBuf),
}

/// A place and a manifest in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The repository or layout.
    pub place: Place,
    /// The manifest in it.
    pub selector: Selector,
}

impl Location {
    /// Parses a location as typed.
    ///
    /// # Errors
    ///
    /// If the text is invalid ([`FormatError::InvalidReference`]) or names something else
    /// ([`FormatError::OtherTransport`]).
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        match transport::split(text) {
            None | Some((Transport::Web, _)) => parse_reference(text),
            Some((Transport::Registry, reference)) => parse_reference(reference),
            Some((Transport::Layout, layout)) => match layout.strip_prefix("//") {
                // Helm writes registries in this way.
                Some(reference) if reference::names_host(reference) => parse_reference(reference),
                Some(path) if !path.starts_with('/') => {
                    let reason =
                        format!("it does not name a registry (an image layout is written oci:{path})");
                    Err(invalid(text, reason))
                }
                _ => parse_layout(text, layout),
            },
            Some((transport, rest)) => Err(elsewhere(transport, text, rest)),
        }
    }

    /// Parses a reference that names its registry. Local names and short names are refused.
    ///
    /// # Errors
    ///
    /// If the text is invalid ([`FormatError::InvalidReference`]).
    pub fn parse_remote(text: &str) -> Result<Self, FormatError> {
        if transport::split(text).is_some() || !reference::names_host(text) {
            return Err(invalid(text, "only HOST/NAME:TAG and HOST/NAME@DIGEST are accepted"));
        }
        parse_reference(text)
    }

    /// Returns another manifest in the same place.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { place: self.place.clone(), selector: Selector::Digest(digest.clone()) }
    }

    /// Returns the tag, if the manifest is selected by one.
    pub fn tag(&self) -> Option<&str> {
        match &self.selector {
            Selector::Tag(tag) => Some(tag),
            _ => None,
        }
    }

    /// Returns whether the location is in a registry.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.place, Place::Repository { .. })
    }

    /// Returns the host of the registry, if any.
    pub fn host(&self) -> Option<&str> {
        match &self.place {
            Place::Repository { host, .. } => Some(host),
            Place::Layout(_) => None,
        }
    }
}

/// Returns the text of a repository. If the host has the name of a transport, the text begins with the
/// transport of registries, because `dir:80/app` would name a directory.
pub(crate) fn repository_text(host: &str, name: &str) -> String {
    let text = format!("{host}/{name}");
    if transport::split(&text).is_some() { format!("{}{text}", transport::REGISTRY_PREFIX) } else { text }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { host, name } => formatter.write_str(&repository_text(host, name)),
            Self::Layout(path) => write!(formatter, "{LAYOUT_PREFIX}{}", path.display()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Tag(tag) => write!(formatter, "{}:{tag}", self.place),
            Selector::Digest(digest) => write!(formatter, "{}@{digest}", self.place),
            Selector::Only => write!(formatter, "{}", self.place),
        }
    }
}

impl FromStr for Location {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn invalid(text: &str, reason: impl Into<String>) -> FormatError {
    FormatError::InvalidReference { reference: text.chars().take(300).collect(), reason: reason.into() }
}

fn parse_layout(text: &str, layout: &str) -> Result<Location, FormatError> {
    let (path, selector) = match layout.rsplit_once('@') {
        Some((path, digest)) if digest.contains(':') && !digest.contains('/') => {
            let digest = Digest::parse(digest).map_err(|error| invalid(text, error.to_string()))?;
            (path, Selector::Digest(digest))
        }
        _ => match layout.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Selector::Tag(layout_tag(text, tag)?)),
            _ => (layout, Selector::Only),
        },
    };
    if path.is_empty() {
        return Err(invalid(text, "it does not name a directory"));
    }
    if path.contains('\0') {
        return Err(invalid(text, "the name of the directory contains a NUL byte"));
    }
    Ok(Location { place: Place::Layout(PathBuf::from(path)), selector })
}

/// Checks a tag against the distribution specification. Layouts allow more (image-spec, `annotations.md`),
/// but such tags could not be copied to a registry.
fn layout_tag(text: &str, tag: &str) -> Result<String, FormatError> {
    if is_tag(tag) { Ok(tag.to_owned()) } else { Err(invalid(text, format!("{tag:?} is not a tag"))) }
}

fn parse_reference(text: &str) -> Result<Location, FormatError> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(invalid(text, web_address(scheme, rest)));
    }
    if text.trim() != text {
        return Err(invalid(text, "it begins or ends with white space"));
    }
    if text.is_empty() {
        return Err(invalid(text, "it is empty"));
    }
    let parts = reference::parse(text).map_err(|reason| invalid(text, reason))?;
    let selector = match parts.digest {
        Some(digest) => {
            Selector::Digest(Digest::parse(digest).map_err(|error| invalid(text, error.to_string()))?)
        }
        None => Selector::Tag(parts.tag.unwrap_or("latest").to_owned()),
    };
    let name =
        if parts.official { format!("{}{}", reference::OFFICIAL, parts.name) } else { parts.name.to_owned() };
    Ok(Location { place: Place::Repository { host: parts.host.to_owned(), name }, selector })
}

/// Returns the fault of a web address. A page of Docker Hub names an image.
fn web_address(scheme: &str, rest: &str) -> String {
    let hub = rest.strip_prefix("hub.docker.com/").map(|page| page.trim_end_matches('/'));
    let name = hub.and_then(|page| page.strip_prefix("_/").or_else(|| page.strip_prefix("r/")));
    match name {
        Some(name) => format!("it is a web page about an image: use docker.io/{name}"),
        None => format!("omit {scheme}:// (a reference is HOST/NAME:TAG)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn shown(text: &str) -> String {
        Location::parse(text).map_or_else(|error| error.to_string(), |location| location.to_string())
    }

    #[test]
    fn short_names_are_normalised_as_docker_does() {
        assert_eq!(shown("xz"), "docker.io/library/xz:latest");
        assert_eq!(shown("org/xz:5"), "docker.io/org/xz:5");
        assert_eq!(shown("index.docker.io/xz"), "docker.io/library/xz:latest");
        assert_eq!(shown("localhost/xz"), "localhost/xz:latest");
    }

    #[test]
    fn hosts_ports_and_digests_are_kept() {
        assert_eq!(shown("localhost:5000/x:1"), "localhost:5000/x:1");
        assert_eq!(shown("127.0.0.1:5000/a/b/c"), "127.0.0.1:5000/a/b/c:latest");
        assert_eq!(shown("[::1]:5000/x:1"), "[::1]:5000/x:1");
        assert_eq!(shown(&format!("ghcr.io/a/b:1@sha256:{HEX}")), format!("ghcr.io/a/b@sha256:{HEX}"));
    }

    #[test]
    fn layouts_are_named_by_directory_and_tag_or_digest() {
        assert_eq!(shown("oci:/a/b:v1"), "oci:/a/b:v1");
        assert_eq!(shown("oci:a:b/c"), "oci:a:b/c");
        assert_eq!(Location::parse("oci:a:b/c").unwrap().selector, Selector::Only);
        assert_eq!(Location::parse("oci:dir").unwrap().selector, Selector::Only);
        assert_eq!(shown(&format!("oci:../d@sha256:{HEX}")), format!("oci:../d@sha256:{HEX}"));
    }

    #[test]
    fn transports_are_read_or_named_and_never_taken_for_short_names() {
        assert_eq!(shown("docker://ghcr.io/org/app:1"), "ghcr.io/org/app:1");
        assert_eq!(shown("docker://xz"), "docker.io/library/xz:latest");
        assert_eq!(shown("oras://localhost:5000/x:1"), "localhost:5000/x:1");
        assert_eq!(shown("oci://ghcr.io/org/app:1"), "ghcr.io/org/app:1");
        assert_eq!(shown("oci://localhost:5000/x"), "localhost:5000/x:latest");
        assert_eq!(shown("oci:///srv/layout:1"), "oci:///srv/layout:1");
        insta::assert_snapshot!(shown("oci://org/app:1"), @r#"invalid reference "oci://org/app:1": it does not name a registry (an image layout is written oci:org/app:1)"#);
        insta::assert_snapshot!(shown("oci://./layout:1"), @r#"invalid reference "oci://./layout:1": it does not name a registry (an image layout is written oci:./layout:1)"#);
        insta::assert_snapshot!(shown("https://hub.docker.com/r/org/app/"), @r#"invalid reference "https://hub.docker.com/r/org/app/": it is a web page about an image: use docker.io/org/app"#);
        for text in [
            "docker-archive:a.tar",
            "oci-archive:a:1",
            "dir:x",
            "docker-daemon:app:1",
            "containers-storage:app",
            "containerd:app",
            "sif:app.sif",
            "library://org/app",
            "ostree:app@/ostree",
            "file:///srv/app",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(
                matches!(error, FormatError::OtherTransport { .. })
                    && error.is_usage()
                    && error.hint().is_some(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_registry_with_the_name_of_a_transport_is_shown_with_its_own() {
        for host in
            ["archive:3", "dir:80", "oci:5000", "oci-archive:1", "docker-daemon:5000", "containers-storage:9"]
        {
            let text = format!("docker://{host}/org/app:1");
            let location = Location::parse(&text).unwrap();
            assert_eq!(location.host(), Some(host));
            assert_eq!(location.to_string(), text);
            assert_eq!(Location::parse(&location.to_string()).unwrap(), location);
        }
        assert_eq!(shown("docker://sif:80/app:1"), "sif:80/app:1");
    }

    #[test]
    fn a_remote_reference_names_its_registry_and_nothing_of_this_machine() {
        let taken = |text: &str| Location::parse_remote(text).map(|location| location.to_string()).ok();
        assert_eq!(taken("ghcr.io/org/app:1").as_deref(), Some("ghcr.io/org/app:1"));
        assert_eq!(taken("localhost:5000/x").as_deref(), Some("localhost:5000/x:latest"));
        assert_eq!(taken("[::1]:5000/x:1").as_deref(), Some("[::1]:5000/x:1"));
        for text in [
            "",
            "-",
            "--insecure",
            "-x.y/z",
            "app",
            "org/app:1",
            "/etc/passwd",
            "./app/x",
            "../app/x",
            "~/app",
            "oci:dir",
            "oci:/dir:1",
            "oci:5000/x",
            "docker-archive:5000/x",
            "oci-archive:/a",
            "archive:1/x",
            "dir:/x",
            "dir:80/x",
            "https://ghcr.io/a",
            "docker://ghcr.io/a",
            "oci://ghcr.io/a",
            "docker-daemon:5000/x",
            "containers-storage:localhost/x",
            "file:///etc/passwd",
            " ghcr.io/a",
            "ghcr.io//a",
        ] {
            assert_eq!(taken(text), None, "{text}");
        }
        let error = Location::parse_remote("oci:dir").unwrap_err();
        insta::assert_snapshot!(error, @r#"invalid reference "oci:dir": only HOST/NAME:TAG and HOST/NAME@DIGEST are accepted"#);
    }

    #[test]
    fn faults_are_explained() {
        insta::assert_snapshot!(shown(""), @r#"invalid reference "": it is empty"#);
        insta::assert_snapshot!(shown("https://ghcr.io/a"), @r#"invalid reference "https://ghcr.io/a": omit https:// (a reference is HOST/NAME:TAG)"#);
        insta::assert_snapshot!(shown("ghcr.io/Org/App:1"), @r#"invalid reference "ghcr.io/Org/App:1": the repository's name must be lower case"#);
        insta::assert_snapshot!(shown("localhost:99999/x"), @r#"invalid reference "localhost:99999/x": 99999 is not a port"#);
        insta::assert_snapshot!(shown("oci::tag"), @r#"invalid reference "oci::tag": it does not name a directory"#);
        insta::assert_snapshot!(shown("oci:dir:"), @r#"invalid reference "oci:dir:": "" is not a tag"#);
        insta::assert_snapshot!(shown("a@sha256:12"), @r#"invalid reference "a@sha256:12": "sha256:12" is not a digest: the algorithm must be followed by the right number of lower-case hex digits"#);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_parses_again(text in "(oci:)?[\\[a-zA-Z0-9:/@._\\]-]{0,40}|\\PC{0,40}") {
            if let Ok(location) = Location::parse(&text) {
                let shown = location.to_string();
                prop_assert_eq!(Location::parse(&shown).unwrap().to_string(), shown);
            }
        }
    }
}
