//! Debian's `docker-registry` (distribution 2.8) with a generated YAML configuration.

use std::path::PathBuf;
use std::process::Command;

use super::Workspace;
use super::case::tool;
use super::http::{Request, send};
use super::process::{Guard, run, start_server};

/// The authentication that the registry requires.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// No authentication.
    #[default]
    None,
    /// User and password.
    Basic(String, String),
    /// Signed tokens from a realm. The certificates verify the signatures.
    Token { realm: String, certificates: PathBuf },
}

/// Certificates.
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authority of client certificates. If it is set, clients must present a certificate.
    pub client_authority: Option<PathBuf>,
}

/// The settings of the registry.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub auth: Auth,
    pub tls: Option<ServerTls>,
}

/// A running registry.
pub struct DockerRegistry {
    port: u16,
    _guard: Guard,
}

impl DockerRegistry {
    /// Starts the registry on a free port with an empty store.
    pub fn start(workspace: &Workspace, settings: &Settings) -> Self {
        let password_file = password_file(workspace, &settings.auth);
        let plain = settings.tls.is_none();
        let (guard, port) = start_server(
            workspace,
            "docker-registry",
            |port| {
                let yaml = configuration(workspace, settings, password_file.as_ref(), port);
                let file = workspace.write("docker-registry.yml", yaml);
                let mut command = Command::new(tool("docker-registry"));
                command.arg("serve").arg(file).env_remove("REGISTRY_HTTP_ADDR");
                command
            },
            |port| answers(port, plain),
        );
        Self { port, _guard: guard }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `localhost:PORT`.
    pub fn local_name(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

/// Whether the port answers: over plain HTTP with a complete response, over TLS with a connection.
pub fn answers(port: u16, plain: bool) -> bool {
    let address = format!("127.0.0.1:{port}");
    if plain {
        send(&address, &Request::new("GET", "/v2/")).is_ok()
    } else {
        std::net::TcpStream::connect(address).is_ok()
    }
}

/// Writes the password file. The registry accepts only bcrypt hashes.
fn password_file(workspace: &Workspace, auth: &Auth) -> Option<PathBuf> {
    let Auth::Basic(user, password) = auth else { return None };
    let mut command = Command::new(tool("htpasswd"));
    let entry = run(workspace, command.args(["-Bbn", user, password]));
    Some(workspace.write("htpasswd", entry))
}

fn configuration(
    workspace: &Workspace,
    settings: &Settings,
    password_file: Option<&PathBuf>,
    port: u16,
) -> String {
    let store = workspace.directory("docker-registry-store");
    let mut yaml = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  delete:\n    enabled: true\n  \
         filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: tests\n",
        store.display()
    );
    if let Some(tls) = &settings.tls {
        yaml.push_str(&format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            tls.certificate.display(),
            tls.key.display()
        ));
        if let Some(authority) = &tls.client_authority {
            yaml.push_str(&format!("    clientcas:\n      - {}\n", authority.display()));
        }
    }
    match &settings.auth {
        Auth::None => {}
        Auth::Basic(..) => {
            let file = password_file.expect("basic auth has a password file").display();
            yaml.push_str(&format!("auth:\n  htpasswd:\n    realm: tests\n    path: {file}\n"));
        }
        Auth::Token { realm, certificates } => yaml.push_str(&format!(
            "auth:\n  token:\n    realm: {realm}\n    service: tests\n    issuer: tests\n    \
             rootcertbundle: {}\n",
            certificates.display()
        )),
    }
    yaml
}
