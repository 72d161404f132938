//! The sources of credentials.
//!
//! The first source with credentials for the host wins, in this order:
//!
//! 1. Credentials given explicitly.
//! 2. The file named with `--authfile` or `REGISTRY_AUTH_FILE`. No other file is then read.
//! 3. podman's `auth.json` in the run-time directory, then in the configuration directory.
//! 4. docker's `config.json`.
//!
//! Within a file, the helper for the host (`credHelpers`) comes first. Next are the entries of `auths`, from
//! the longest repository prefix to the host only, then the helper for all hosts (`credsStore`).
//!
//! Nothing is read before a registry has required credentials. Formats: containers-auth.json(5) and docker's
//! `config.json`.

mod file;
mod helper;
mod secret;

use std::path::PathBuf;

use crate::error::Result;
use file::AuthFile;
pub use secret::Credential;
pub(crate) use secret::FoundCredential;

/// The sources of credentials.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Credentials for this host only, given explicitly.
    pub explicit: Option<(String, Credential)>,
    /// The only file to read. It must exist.
    pub file: Option<PathBuf>,
    /// The files to read if they exist.
    pub files: Vec<PathBuf>,
}

impl Sources {
    /// Returns the files of podman and docker, as the environment defines them.
    pub fn of_environment() -> Self {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("HOME");
        let run = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| {
            PathBuf::from("/run/containers").join(rustix::process::getuid().as_raw().to_string())
        });
        let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let docker = variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let podman = if variable("XDG_RUNTIME_DIR").is_some() {
            run.join("containers/auth.json")
        } else {
            run.join("auth.json")
        };
        let files = [
            Some(podman),
            config.map(|config| config.join("containers/auth.json")),
            docker.map(|docker| docker.join("config.json")),
        ];
        Self {
            explicit: None,
            file: variable("REGISTRY_AUTH_FILE"),
            files: files.into_iter().flatten().collect(),
        }
    }

    /// Returns the credential for a repository, if any.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or parsed, or a helper fails.
    pub(crate) fn find(&self, host: &str, repository: &str) -> Result<Option<FoundCredential>> {
        if let Some((explicit_host, credential)) = &self.explicit
            && explicit_host == host
        {
            let origin = "the command line".to_owned();
            return Ok(Some(FoundCredential { credential: credential.clone(), origin }));
        }
        if let Some(file) = &self.file {
            return AuthFile::open(file)?.find(host, repository);
        }
        for file in &self.files {
            if !file.exists() {
                continue;
            }
            if let Some(found) = AuthFile::open(file)?.find(host, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
