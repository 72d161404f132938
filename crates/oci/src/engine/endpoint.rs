//! The address of a container engine.
//!
//! docker: `DOCKER_HOST`, then the context, then the usual sockets, with that of a rootless engine last. The
//! context is `DOCKER_CONTEXT`, or else `currentContext` in docker's `config.json`. Its address is in
//! `contexts/meta/SHA256-OF-NAME/meta.json`. podman: `CONTAINER_HOST`, then the sockets of its service
//! (podman-system-service(1)), the user's first.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::kind::EngineKind;
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::limit;
use crate::remote::TlsOptions;

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Socket(PathBuf),
    /// Host and port.
    Server(String),
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(formatter),
            Self::Server(host) => formatter.write_str(host),
        }
    }
}

/// An address, with certificates if the engine uses TLS.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub address: Address,
    pub tls: Option<TlsOptions>,
}

/// The variables of the environment.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Returns the engine that responds.
///
/// # Errors
///
/// If none responds ([`Error::Engine`] with a hint).
pub(super) fn find(kind: EngineKind, image: &str, variables: Variables<'_>) -> Result<Endpoint> {
    if let Some(named) = named(kind, image, variables)? {
        if let Address::Socket(path) = &named.address {
            connect(path).map_err(|error| no_engine(kind, image, path, error, variables))?;
        }
        return Ok(named);
    }
    let mut worst: Option<(PathBuf, std::io::Error)> = None;
    for path in usual(kind, variables) {
        match connect(&path) {
            Ok(()) => return Ok(Endpoint { address: Address::Socket(path), tls: None }),
            // A socket that refuses is a better reason than one that does not exist.
            Err(error)
                if worst.as_ref().is_none_or(|(_, worst)| {
                    worst.kind() == ErrorKind::NotFound && error.kind() != ErrorKind::NotFound
                }) =>
            {
                worst = Some((path, error));
            }
            Err(_) => {}
        }
    }
    let (path, error) = worst.unwrap_or_else(|| (PathBuf::from("/"), ErrorKind::NotFound.into()));
    Err(no_engine(kind, image, &path, error, variables))
}

fn connect(path: &Path) -> std::io::Result<()> {
    UnixStream::connect(path).map(drop)
}

fn text(variables: Variables<'_>, name: &str) -> Option<String> {
    variables(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// Returns the usual sockets of an engine.
fn usual(kind: EngineKind, variables: Variables<'_>) -> Vec<PathBuf> {
    let own = text(variables, "XDG_RUNTIME_DIR").map(PathBuf::from);
    match kind {
        EngineKind::Docker => {
            let rootless = own.map(|directory| directory.join("docker.sock"));
            [PathBuf::from("/var/run/docker.sock")].into_iter().chain(rootless).collect()
        }
        EngineKind::Podman => {
            let own = own.map(|directory| directory.join("podman/podman.sock"));
            own.into_iter().chain([PathBuf::from("/run/podman/podman.sock")]).collect()
        }
    }
}

/// Returns the engine that the environment or docker's context names.
fn named(kind: EngineKind, image: &str, variables: Variables<'_>) -> Result<Option<Endpoint>> {
    let variable = if kind == EngineKind::Docker { "DOCKER_HOST" } else { "CONTAINER_HOST" };
    if let Some(host) = text(variables, variable) {
        let directory =
            text(variables, "DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| configuration(variables));
        let verify = text(variables, "DOCKER_TLS_VERIFY").is_some();
        let wants_tls = kind == EngineKind::Docker && (verify || text(variables, "DOCKER_TLS").is_some());
        let tls = directory.filter(|_| wants_tls).map(|directory| certificates(&directory, !verify));
        return parse(kind, image, &host, variable, tls).map(Some);
    }
    let directory = configuration(variables).filter(|_| kind == EngineKind::Docker);
    let Some(directory) = directory else { return Ok(None) };
    let current = || {
        let config = read(&directory.join("config.json")).ok()?;
        let config: DockerConfig = serde_json::from_slice(&config).ok()?;
        config.current_context
    };
    let context = text(variables, "DOCKER_CONTEXT").or_else(current);
    match context.filter(|context| !context.is_empty() && context != "default") {
        Some(context) => of_context(image, &directory, &context).map(Some),
        None => Ok(None),
    }
}

/// Reads a settings file of docker.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    compat_sys::open_regular(path)?.take(limit::SETTINGS_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn configuration(variables: Variables<'_>) -> Option<PathBuf> {
    let own = text(variables, "DOCKER_CONFIG").map(PathBuf::from);
    own.or_else(|| text(variables, "HOME").map(|home| Path::new(&home).join(".docker")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    current_context: Option<String>,
}

/// The used part of docker's `meta.json` of a context.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContext {
    endpoints: ContextEndpoints,
}

#[derive(Deserialize)]
struct ContextEndpoints {
    docker: ContextEndpoint,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verification: bool,
}

fn of_context(image: &str, directory: &Path, context: &str) -> Result<Endpoint> {
    let digest = Digest::of(context.as_bytes());
    let file = directory.join("contexts/meta").join(digest.hex()).join("meta.json");
    let unusable = |reason: String| {
        Error::Engine {
        message: format!("docker's context {context:?} cannot be used: {reason}"),
        hint:
            "list the contexts with `docker context ls`, or name an engine with DOCKER_HOST=unix:///var/run/docker.sock"
                .to_owned(),
    }
    };
    let bytes = read(&file).map_err(|error| unusable(format!("{}: {error}", file.display())))?;
    let parsed: DockerContext =
        serde_json::from_slice(&bytes).map_err(|error| unusable(format!("{}: {error}", file.display())))?;
    let ContextEndpoint { host, skip_verification } = parsed.endpoints.docker;
    let tls = directory.join("contexts/tls").join(digest.hex()).join("docker");
    let tls = tls.is_dir().then(|| certificates(&tls, skip_verification));
    parse(EngineKind::Docker, image, &host, &format!("docker's context {context:?}"), tls)
}

/// Returns docker's certificate files.
fn certificates(directory: &Path, insecure: bool) -> TlsOptions {
    let file = |name: &str| Some(directory.join(name)).filter(|file| file.is_file());
    TlsOptions { ca_file: file("ca.pem"), cert_file: file("cert.pem"), key_file: file("key.pem"), insecure }
}

/// Parses an address in the syntax of docker and podman. `origin` is the place that defines it.
fn parse(
    kind: EngineKind,
    image: &str,
    host: &str,
    origin: &str,
    tls: Option<TlsOptions>,
) -> Result<Endpoint> {
    let unusable = |reason: &str| Error::Engine {
        message: format!("{origin} is {host:?}, {reason}"),
        hint: format!("use an archive instead: {}", kind.archive(image)),
    };
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    if rest.is_empty() {
        return Err(unusable("which does not name an engine"));
    }
    let server = || rest.trim_end_matches('/').to_owned();
    let (address, tls) = match scheme {
        "unix" => (Address::Socket(rest.into()), None),
        "tcp" => (Address::Server(server()), tls),
        "http" => (Address::Server(server()), None),
        "https" => (Address::Server(server()), Some(tls.unwrap_or_default())),
        "ssh" => return Err(unusable("but ssh is not supported")),
        _ => return Err(unusable("which is neither unix:// nor tcp://")),
    };
    Ok(Endpoint { address, tls })
}

/// Returns the failure if no engine responds at a socket.
fn no_engine(
    kind: EngineKind,
    image: &str,
    path: &Path,
    error: std::io::Error,
    variables: Variables<'_>,
) -> Error {
    let (program, place) = (kind.program(), path.display());
    let archive = kind.archive(image);
    let elsewhere = format!("use an archive from a machine with {program}: {archive}");
    let (what, hint) = match (error.kind(), kind) {
        (ErrorKind::PermissionDenied, EngineKind::Docker) => (
            format!("this user may not access {place}"),
            format!(
                "run the command as root or as a member of the group docker, or use an archive: {archive}"
            ),
        ),
        (ErrorKind::PermissionDenied, EngineKind::Podman) => (
            format!("this user may not access {place}"),
            format!("run the command as root for images of root, or use an archive: {archive}"),
        ),
        (ErrorKind::NotFound, EngineKind::Podman) => (
            format!("its service is not running ({place} does not exist)"),
            format!(
                "use an archive: {archive}, or start the service: `systemctl --user start podman.socket`"
            ),
        ),
        (ErrorKind::NotFound, EngineKind::Docker) => {
            let podman = usual(EngineKind::Podman, variables).into_iter().find(|path| connect(path).is_ok());
            let hint = match podman {
                Some(_) => format!("podman is running, so use containers-storage:{image}"),
                None => format!("start docker, name its socket with DOCKER_HOST=unix://PATH, or {elsewhere}"),
            };
            (format!("docker is not running ({place} does not exist)"), hint)
        }
        _ => (format!("{place}: {error}"), format!("start {program}, or {elsewhere}")),
    };
    Error::Engine { message: format!("could not get {image} from {program}: {what}"), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the address found with these variables, or the error with its hint.
    fn found(kind: EngineKind, variables: &[(&str, &str)]) -> String {
        let value = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        match named(kind, "app:1", &value) {
            Ok(Some(Endpoint { address, tls })) => {
                format!("{address}{}", if tls.is_some() { " with TLS" } else { "" })
            }
            Ok(None) => "none".to_owned(),
            Err(error) => format!("{error}\n{}", error.hint().unwrap_or_default()),
        }
    }

    #[test]
    fn the_environment_names_an_engine() {
        let docker = |variables: &[(&str, &str)]| found(EngineKind::Docker, variables);
        assert_eq!(docker(&[("DOCKER_HOST", "unix:///x/engine.sock")]), "/x/engine.sock");
        assert_eq!(docker(&[("DOCKER_HOST", "tcp://node:2375")]), "node:2375");
        assert_eq!(docker(&[("DOCKER_HOST", "node:2375")]), "node:2375");
        let tls = [("DOCKER_HOST", "tcp://node:2376"), ("DOCKER_TLS_VERIFY", "1"), ("HOME", "/nowhere")];
        assert_eq!(docker(&tls), "node:2376 with TLS");
        assert_eq!(docker(&[("DOCKER_HOST", "")]), "none");
        assert_eq!(
            found(EngineKind::Podman, &[("CONTAINER_HOST", "unix:///x"), ("DOCKER_HOST", "unix:///y")]),
            "/x"
        );
        insta::assert_snapshot!(docker(&[("DOCKER_HOST", "ssh://me@node")]), @r#"
        DOCKER_HOST is "ssh://me@node", but ssh is not supported
        use an archive instead: `docker save -o app.tar app:1 && compat check docker-archive:app.tar`
        "#);
    }

    #[test]
    fn a_context_of_docker_names_an_engine() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().to_str().unwrap();
        let docker = directory.path().join(".docker");
        let meta = docker.join("contexts/meta").join(Digest::of(b"rootless").hex());
        std::fs::create_dir_all(&meta).unwrap();
        let host = r#"{"Name": "rootless", "Metadata": {}, "Endpoints": {"docker": {"Host": "unix:///run/user/7/docker.sock", "SkipTLSVerify": false}}}"#;
        std::fs::write(meta.join("meta.json"), host).unwrap();
        assert_eq!(found(EngineKind::Docker, &[("HOME", home)]), "none");
        std::fs::write(docker.join("config.json"), r#"{"auths": {}, "currentContext": "rootless"}"#).unwrap();
        assert_eq!(found(EngineKind::Docker, &[("HOME", home)]), "/run/user/7/docker.sock");
        assert_eq!(found(EngineKind::Docker, &[("HOME", home), ("DOCKER_CONTEXT", "default")]), "none");
        assert_eq!(found(EngineKind::Docker, &[("HOME", home), ("DOCKER_HOST", "unix:///x")]), "/x");
        assert!(
            found(EngineKind::Docker, &[("HOME", home), ("DOCKER_CONTEXT", "other")])
                .starts_with("docker's context \"other\" cannot be used: ")
        );
        assert_eq!(found(EngineKind::Podman, &[("HOME", home)]), "none");
    }

    #[test]
    fn an_engine_that_does_not_answer_is_named_with_the_way_out() {
        let told = |kind, error: ErrorKind| {
            let error = no_engine(kind, "app:1", Path::new("/x.sock"), error.into(), &|_| None);
            format!("{error}\n{}", error.hint().unwrap())
        };
        insta::assert_snapshot!(told(EngineKind::Docker, ErrorKind::PermissionDenied), @r"
        could not get app:1 from docker: this user may not access /x.sock
        run the command as root or as a member of the group docker, or use an archive: `docker save -o app.tar app:1 && compat check docker-archive:app.tar`
        ");
        insta::assert_snapshot!(told(EngineKind::Podman, ErrorKind::NotFound), @r"
        could not get app:1 from podman: its service is not running (/x.sock does not exist)
        use an archive: `podman save --format oci-archive -o app.tar app:1 && compat check oci-archive:app.tar`, or start the service: `systemctl --user start podman.socket`
        ");
        insta::assert_snapshot!(told(EngineKind::Docker, ErrorKind::ConnectionRefused), @r"
        could not get app:1 from docker: /x.sock: connection refused
        start docker, or use an archive from a machine with docker: `docker save -o app.tar app:1 && compat check docker-archive:app.tar`
        ");
    }
}
