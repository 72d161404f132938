//! The words before a name that say where it lies: those of skopeo and podman (containers-transports(5)), of
//! Helm (`oci://`), Apptainer (`oras://`, `library://`) and URLs. Parsing only.
//!
//! What is not read is named as what it is, with the way to something that is read. It is never taken for a short
//! name: `docker-archive:app.tar` would be a repository of Docker Hub otherwise, and `oci://…` a directory.

use super::FormatError;

/// Where something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A registry, although a reference needs no word.
    Registry,
    /// An OCI image layout; `oci://HOST/…` is a registry, as Helm writes it.
    Layout,
    /// A tar archive: of `docker save`, or with an image layout in it.
    Archive,
    /// A directory: an unpacked root, or what skopeo writes into one.
    Directory,
    /// The images of docker on this machine.
    Docker,
    /// The images of podman, buildah and CRI-O on this machine.
    Podman,
    /// The images of containerd on this machine.
    Containerd,
    /// A file in Apptainer's format.
    Sif,
    /// A library of Apptainer's images.
    Library,
    /// A repository of OSTree.
    Ostree,
    /// A web address.
    Web,
    /// A file, as a URL.
    File,
}

/// What starts the text of a reference that would be read as something else without it.
pub(super) const REGISTRY_PREFIX: &str = "docker://";

/// The words. After some of them a port may stand: then they are a host's name.
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
    /// Whether it means something of this machine that is looked at as an image, and that nothing can be attached
    /// to.
    pub fn is_local_image(self) -> bool {
        matches!(self, Self::Archive | Self::Directory | Self::Docker | Self::Podman)
    }

    /// Whether a host of this name is taken for one if a port follows.
    fn yields_to_host(self) -> bool {
        matches!(self, Self::Containerd | Self::Sif | Self::Ostree | Self::File)
    }
}

/// The transport that a text begins with, and the rest. The slashes of a URL are no part of a path:
/// `docker-archive://app.tar` is `app.tar`; those after `oci:` are left, since they tell a registry from a layout.
pub fn split(text: &str) -> Option<(Transport, &str)> {
    let (transport, rest) =
        WORDS.iter().find_map(|(word, transport)| Some((*transport, text.strip_prefix(word)?)))?;
    if transport.yields_to_host() && is_port(rest) {
        return None;
    }
    let slashes = if transport == Transport::Layout { None } else { rest.strip_prefix("//") };
    Some((transport, slashes.unwrap_or(rest)))
}

/// Whether a text is the rest of `HOST:PORT/NAME`.
fn is_port(rest: &str) -> bool {
    let port = rest.split_once('/').map(|(port, _)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The error for a text that names something else than a registry or image layout.
pub fn elsewhere(transport: Transport, text: &str, rest: &str) -> FormatError {
    let what = match transport {
        Transport::Archive => "an archive, not a registry or an image layout",
        Transport::Directory => "a directory with an image, not a registry or an image layout",
        Transport::Docker => "an image of docker on this machine, not of a registry",
        Transport::Podman => "an image of podman on this machine, not of a registry",
        Transport::Containerd => "an image of containerd, whose store is not read",
        Transport::Sif => "an image of Apptainer, and SIF files are not read",
        Transport::Library => "an image of an Apptainer library, which is not read",
        Transport::Ostree => "an image in an OSTree repository, which is not read",
        Transport::File => "a file as a URL",
        Transport::Registry | Transport::Layout | Transport::Web => "no reference",
    };
    let root = "unpack it and check the root: `apptainer build --sandbox root";
    let way = match transport {
        Transport::Archive => format!(
            "`compat check {text}` and `compat gen --image {text}` read it; `skopeo copy {text} \
             docker://HOST/NAME:TAG` puts it into a registry, `skopeo copy {text} oci:DIR:TAG` into a layout"
        ),
        Transport::Directory => format!(
            "`compat check {text}` and `compat gen --image {text}` read it; an image layout is written oci:{rest}"
        ),
        Transport::Docker => format!(
            "`compat check {text}` and `compat gen --image {text}` read it; `docker push` puts it into a registry"
        ),
        Transport::Podman => format!(
            "`compat check {text}` and `compat gen --image {text}` read it; `podman push` puts it into a registry"
        ),
        Transport::Containerd => format!(
            "export and check it: `ctr --namespace k8s.io images export app.tar {rest} && compat check \
             oci-archive:app.tar`"
        ),
        Transport::Sif => format!("{root} {rest} && compat check dir:root`"),
        Transport::Library => format!("{root} {text} && compat check dir:root`"),
        Transport::Ostree => format!("copy it into a layout: `skopeo copy {text} oci:DIR:TAG`"),
        Transport::File => format!("write its path: {}", if rest.is_empty() { "PATH" } else { rest }),
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
        containerd:docker.io/library/app:1 is an image of containerd, whose store is not read
        export and check it: `ctr --namespace k8s.io images export app.tar docker.io/library/app:1 && compat check oci-archive:app.tar`
        ");
        insta::assert_snapshot!(shown("sif:app.sif"), @r"
        sif:app.sif is an image of Apptainer, and SIF files are not read
        unpack it and check the root: `apptainer build --sandbox root app.sif && compat check dir:root`
        ");
        insta::assert_snapshot!(shown("docker-archive:app.tar"), @r"
        docker-archive:app.tar is an archive, not a registry or an image layout
        `compat check docker-archive:app.tar` and `compat gen --image docker-archive:app.tar` read it; `skopeo copy docker-archive:app.tar docker://HOST/NAME:TAG` puts it into a registry, `skopeo copy docker-archive:app.tar oci:DIR:TAG` into a layout
        ");
        insta::assert_snapshot!(shown("file:///srv/app"), @r"
        file:///srv/app is a file as a URL
        write its path: /srv/app
        ");
    }
}
