//! olareg: a small registry with the referrers API, which can be disabled, and opaque tokens.

use std::path::PathBuf;
use std::process::Command;

use super::Workspace;
use super::case::tool;
use super::docker_registry::answers;
use super::process::{Guard, run, start_server};

/// The settings of the registry.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether the referrers API returns 405.
    pub without_referrers: bool,
    /// The user and password with all rights, by basic authentication.
    pub basic: Option<(String, String)>,
    /// The same, by tokens from the registry's endpoint. Everybody may read.
    pub token: Option<(String, String)>,
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The maximum number of requests per second from each address.
    pub rate_limit: Option<u32>,
}

/// A running registry.
pub struct Olareg {
    port: u16,
    _guard: Guard,
}

impl Olareg {
    /// Starts the registry on a free port with an empty store.
    pub fn start(workspace: &Workspace, settings: &Settings) -> Self {
        let users = settings.basic.as_ref().or(settings.token.as_ref());
        let auth = users.map(|(user, password)| auth_file(workspace, user, password));
        let store = workspace.directory("olareg-store");
        let plain = settings.tls.is_none();
        let (guard, port) = start_server(
            workspace,
            "olareg",
            |port| {
                let mut command = Command::new(tool("olareg"));
                command.args(["serve", "--addr", "127.0.0.1", "--port", &port.to_string()]);
                command.arg("--dir").arg(&store);
                command.args(["--api-delete", "--api-blob-delete", "--verbosity", "info"]);
                arguments(&mut command, settings, auth.as_ref(), port);
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
}

fn arguments(command: &mut Command, settings: &Settings, auth: Option<&PathBuf>, port: u16) {
    if settings.without_referrers {
        command.arg("--api-referrer=false");
    }
    if let Some(limit) = settings.rate_limit {
        command.args(["--rate-limit", &limit.to_string()]);
    }
    if let Some((certificate, key)) = &settings.tls {
        command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
    }
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    match auth {
        Some(file) if settings.token.is_some() => {
            command.arg("--auth-token-opaque").arg(file);
            command.args(["--external-url", &format!("{scheme}://127.0.0.1:{port}")]);
        }
        Some(file) => {
            command.arg("--auth-basic").arg(file);
        }
        None => {}
    }
}

fn auth_file(workspace: &Workspace, user: &str, password: &str) -> PathBuf {
    let mut command = Command::new(tool("htpasswd"));
    let entry = run(workspace, command.args(["-Bbn", user, password]));
    let hash = entry.trim().split_once(':').expect("an entry is USER:HASH").1;
    let yaml = format!(
        "users:\n  {user}:\n    cred: \"{hash}\"\ngroups:\n  all:\n    members: [\"{user}\"]\nacls:\n  \
         - repo: \"*\"\n    members: [\"all\"]\n    access: [\"*\"]\n  \
         - repo: \"\"\n    members: [\"all\"]\n    access: [\"read\"]\n  \
         - repo: \"public/*\"\n    anonymous: true\n    access: [\"read\"]\n"
    );
    workspace.write("olareg-auth.yml", yaml)
}
