//! Transport prefixes of names: those of skopeo and podman (containers-transports(5)), of Helm (`oci://`), of
//! Apptainer (`oras://`, `library://`), and URLs. This module only parses.
//!
//! An unsupported transport is reported by name, with a supported alternative. It is never treated as a short
//! name: `docker-archive:app.tar` would otherwise be a repository of Docker Hub, and `oci://…` a directory.

use super::FormatError;

/// The kind of place that a prefix names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A registry. A reference does not need the prefix.
    Registry,
    /// An OCI image layout. `oci://HOST/…` is a registry, as in Helm.
    Layout,
    /// A tar archive, written by `docker save` or with an image layout in it.
    Archive,
    /// A directory: an unpacked root, or the output of skopeo.
    Directory,
    /// An image of docker on this machine.
    Docker,
    /// An image of podman, buildah or CRI-O on this machine.
    Podman,
    /// An image of containerd on this machine.
    Containerd,
    /// A file in the format of Apptainer.
    Sif,
    /// A library of Apptainer images.
    Library,
    /// An OSTree repository.
    Ostree,
    /// A web address.
    Web,
    /// A file URL.
    File,
}

/// The prefix for references that would otherwise be read as something else.
pub(super) const REGISTRY_PREFIX: &str = "docker://";

/// The prefixes. Some of them are the name of a host if a port follows.
const WORDS: &[(&str, Transport)] = &[
    (REGISTRY_PREFIX, Transport::Registry),
    ("oras://", Transport::Registry),
    ("oci:", Transport::Layout),
    ("docker-archive:", Transport::Archive),
    ("oci-archive:", Transport::Archive),
    ("archive:", Transport::Archive),
    ("dir:", Transport::Directory),
    ("docker-daemon:", Transport::Docker),
    ("containers-storage:", Transport::Podman),
    ("containerd:", Transport::Containerd),
    ("sif:", Transport::Sif),
    ("library://", Transport::Library),
    ("shub://", Transport::Library),
    ("ostree:", Transport::Ostree),
    ("http://", Transport::Web),
    ("https://", Transport::Web),
    ("file:", Transport::File),
];

impl Transport {
    /// Returns whether the transport names a local image. Such an image can be examined, but nothing can be
    /// attached to it.
    pub fn is_local_image(self) -> bool {
        matches!(self, Self::Archive | Self::Directory | Self::Docker | Self::Podman)
    }

    /// Returns whether the prefix is the name of a host if a port follows.
    fn yields_to_host(self) -> bool {
        matches!(self, Self::Containerd | Self::Sif | Self::Ostree | Self::File)
    }
}

/// Returns the transport of a text, and the rest. The slashes of a URL are not part of a path:
/// `docker-archive://app.tar` is `app.tar`. Those after `oci:` are kept, because they distinguish a registry
/// from a layout.
pub fn split(text: &str) -> Option<(Transport, &str)> {
    let (transport, rest) =
        WORDS.iter().find_map(|(word, transport)| Some((*transport, text.strip_prefix(word)?)))?;
    if transport.yields_to_host() && is_port(rest) {
        return None;
    }
    let slashes = if transport == Transport::Layout { None } else { rest.strip_prefix("//") };
    Some((transport, slashes.unwrap_or(rest)))
}

/// Returns whether a text is the rest of `HOST:PORT/NAME`.
fn is_port(rest: &str) -> bool {
    let port = rest.split_once('/').map(|(port, _)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the error for a text that names something other than a registry or image layout.
pub fn elsewhere(transport: Transport, text: &str, rest: &str) -> FormatError {
    let what = match transport {
        Transport::Archive => "an archive, not a registry or an image layout",
        Transport::Directory => "a directory with an image, not a registry or an image layout",
        Transport::Docker => "an image of docker on this machine, not of a registry",
        Transport::Podman => "an image of podman on this machine, not of a registry",
        Transport::Containerd => "an image of containerd, which is not supported",
        Transport::Sif => "an image of Apptainer (SIF files are not supported)",
        Transport::Library => "an image of an Apptainer library, which is not supported",
        Transport::Ostree => "an image in an OSTree repository, which is not supported",
        Transport::File => "a file as a URL",
        Transport::Registry | Transport::Layout | Transport::Web => "not a reference",
    };
    let root = "unpack it and check the root: `apptainer build --sandbox root";
    let way = match transport {
        Transport::Archive => format!(
            "read it with `compat check {text}` or `compat gen --image {text}`, or copy it to a registry with `skopeo copy \
             {text} docker://HOST/NAME:TAG` or to a layout with `skopeo copy {text} oci:DIR:TAG`"
        ),
        Transport::Directory => format!(
            "read it with `compat check {text}` or `compat gen --image {text}` (an image layout is written oci:{rest})"
        ),
        Transport::Docker => format!(
            "read it with `compat check {text}` or `compat gen --image {text}`, or push it to a registry with `docker push`"
        ),
        Transport::Podman => format!(
            "read it with `compat check {text}` or `compat gen --image {text}`, or push it to a registry with `podman push`"
        ),
        Transport::Containerd => format!(
            "export and check it: `ctr --namespace k8s.io images export app.tar {rest} && compat check \
             oci-archive:app.tar`"
        ),
        Transport::Sif => format!("{root} {rest} && compat check dir:root`"),
        Transport::Library => format!("{root} {text} && compat check dir:root`"),
        Transport::Ostree => format!("copy it to a layout: `skopeo copy {text} oci:DIR:TAG`"),
        Transport::File => format!("use its path: {}", if rest.is_empty() { "PATH" } else { rest }),
        Transport::Registry | Transport::Layout | Transport::Web => {
            "a reference is HOST/NAME:TAG, HOST/NAME@sha256:… or oci:DIR:TAG".to_owned()
        }
    };
    let shown = text.chars().take(300).collect();
    FormatError::OtherTransport { text: shown, what, way: way.chars().take(1500).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_hosts_and_paths_from_urls() {
        assert_eq!(split("docker-archive:app.tar"), Some((Transport::Archive, "app.tar")));
        assert_eq!(split("docker-archive:///srv/app.tar:1"), Some((Transport::Archive, "/srv/app.tar:1")));
        assert_eq!(split("dir://root"), Some((Transport::Directory, "root")));
        assert_eq!(split("oci://ghcr.io/a"), Some((Transport::Layout, "//ghcr.io/a")));
        assert_eq!(split("docker-daemon:5000/x"), Some((Transport::Docker, "5000/x")));
        assert_eq!(split("containerd:5000/x"), None);
        assert_eq!(
            split("containerd:docker.io/library/x:1"),
            Some((Transport::Containerd, "docker.io/library/x:1"))
        );
        for text in [
            "app:1",
            "docker:24",
            "registry:5000/app:1",
            "registry:2",
            "ghcr.io/dir:1",
            "localhost:5000/x",
            "./dir:x",
        ] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_read_is_named_with_the_way_out() {
        let shown = |text: &str| {
            let (transport, rest) = split(text).unwrap();
            let error = elsewhere(transport, text, rest);
            format!("{error}\n{}", error.hint().unwrap())
        };
        insta::assert_snapshot!(shown("containerd:docker.io/library/app:1"), @r"
        containerd:docker.io/library/app:1 is an image of containerd, which is not supported
        export and check it: `ctr --namespace k8s.io images export app.tar docker.io/library/app:1 && compat check oci-archive:app.tar`
        ");
        insta::assert_snapshot!(shown("sif:app.sif"), @r"
        sif:app.sif is an image of Apptainer (SIF files are not supported)
        unpack it and check the root: `apptainer build --sandbox root app.sif && compat check dir:root`
        ");
        insta::assert_snapshot!(shown("docker-archive:app.tar"), @r"
        docker-archive:app.tar is an archive, not a registry or an image layout
        read it with `compat check docker-archive:app.tar` or `compat gen --image docker-archive:app.tar`, or copy it to a registry with `skopeo copy docker-archive:app.tar docker://HOST/NAME:TAG` or to a layout with `skopeo copy docker-archive:app.tar oci:DIR:TAG`
        ");
        insta::assert_snapshot!(shown("file:///srv/app"), @r"
        file:///srv/app is a file as a URL
        use its path: /srv/app
        ");
    }
}
