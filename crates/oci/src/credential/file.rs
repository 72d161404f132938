//! Files with credentials: containers-auth.json(5) and docker's `config.json` have the same format.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Deserialize;

use super::helper;
use super::secret::{Credential, FoundCredential};
use crate::error::{Error, Result};
use crate::limit;

/// The content of one file.
#[derive(Debug, Clone)]
pub(crate) struct AuthFile {
    path: PathBuf,
    content: AuthContent,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthContent {
    auths: Option<BTreeMap<String, AuthEntry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Entry(…)")
    }
}

impl AuthFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not such a file ([`Error::Settings`]).
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fault = |reason: String| Error::Settings { path: path.to_owned(), reason };
        let mut bytes = Vec::new();
        compat_sys::open_stream(path)
            .and_then(|file| file.take(limit::SETTINGS_FILE).read_to_end(&mut bytes))
            .map_err(|error| fault(format!("could not read the credentials: {error}")))?;
        Self::parse(path, &bytes)
    }

    /// Parses the bytes of a file.
    ///
    /// # Errors
    ///
    /// If they are invalid ([`Error::Settings`] with `path`).
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let blank = bytes.iter().all(u8::is_ascii_whitespace);
        // The message of a syntax error contains a position but no content.
        let content = if blank {
            AuthContent::default()
        } else {
            serde_json::from_slice(bytes).map_err(|error| Error::Settings {
                path: path.to_owned(),
                reason: format!("not a file with credentials: {}", position(&error)),
            })?
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// Returns the credential for a repository, if the file has one.
    ///
    /// # Errors
    ///
    /// If an entry is malformed or a helper fails.
    pub(crate) fn find(&self, host: &str, repository: &str) -> Result<Option<FoundCredential>> {
        if let Some(name) = self.content.cred_helpers.as_ref().and_then(|helpers| lookup(helpers, host)) {
            return self.ask(name, host);
        }
        let auths = self.content.auths.as_ref();
        for key in keys(host, repository) {
            let entries = auths.into_iter().flatten();
            for (_, entry) in entries.filter(|(name, _)| normal_key(name) == key) {
                if let Some(credential) = self.credential(&key, entry)? {
                    let origin = self.path.display().to_string();
                    return Ok(Some(FoundCredential { credential, origin }));
                }
            }
        }
        match &self.content.creds_store {
            Some(name) if !name.is_empty() => self.ask(name, host),
            _ => Ok(None),
        }
    }

    fn ask(&self, name: &str, host: &str) -> Result<Option<FoundCredential>> {
        let credential = helper::ask(name, host)?;
        let origin = format!("docker-credential-{name} ({})", self.path.display());
        Ok(credential.map(|credential| FoundCredential { credential, origin }))
    }

    fn credential(&self, key: &str, entry: &AuthEntry) -> Result<Option<Credential>> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = given(&entry.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(token) = given(&entry.registrytoken) {
            return Ok(Some(Credential::Bearer(token)));
        }
        if let Some(auth) = given(&entry.auth) {
            let (username, password) = decode(&auth).ok_or_else(|| Error::Settings {
                path: self.path.clone(),
                reason: format!("the entry for {key} is not base64 of NAME:PASSWORD"),
            })?;
            return Ok(Some(Credential::Password { username, password }));
        }
        match (given(&entry.username), given(&entry.password)) {
            (Some(username), Some(password)) => Ok(Some(Credential::Password { username, password })),
            _ => Ok(None),
        }
    }
}

fn position(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// Decodes `auth`. Docker's old files end the password with NUL bytes.
fn decode(auth: &str) -> Option<(String, String)> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Returns the keys to look up, the most specific first.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for host in aliases(host) {
        let mut prefix = repository;
        while !prefix.is_empty() {
            keys.push(format!("{host}/{prefix}"));
            prefix = prefix.rsplit_once('/').map_or("", |(prefix, _)| prefix);
        }
    }
    keys.extend(aliases(host).into_iter().map(str::to_owned));
    keys
}

/// Returns the names under which the credentials of a host are stored.
fn aliases(host: &str) -> Vec<&str> {
    match host {
        "docker.io" => vec!["docker.io", "index.docker.io", "registry-1.docker.io"],
        host => vec![host],
    }
}

fn lookup<'a>(helpers: &'a BTreeMap<String, String>, host: &str) -> Option<&'a str> {
    let names = aliases(host);
    let (_, helper) = helpers.iter().find(|(key, _)| names.contains(&normal_key(key).as_str()))?;
    Some(helper.as_str()).filter(|helper| !helper.is_empty())
}

/// Returns a key without the parts that old versions of docker added to the host: `https://HOST/v1/`.
fn normal_key(key: &str) -> String {
    let bare = key.trim().trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    match bare.split_once('/') {
        Some((host, "v1" | "v2" | "v1/_ping" | "v2/_catalog")) => host.to_owned(),
        _ => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(text: &str, host: &str, repository: &str) -> Option<Credential> {
        let file = AuthFile::parse(Path::new("auth.json"), text.as_bytes()).unwrap();
        file.find(host, repository).unwrap().map(|found| found.credential)
    }

    fn user(credential: Option<Credential>) -> Option<String> {
        match credential {
            Some(Credential::Password { username, password }) => Some(format!("{username}:{password}")),
            _ => None,
        }
    }

    #[test]
    fn the_longest_repository_key_wins() {
        let text = r#"{"auths":{
            "quay.io":{"auth":"aG9zdDpw"}, "quay.io/org":{"auth":"b3JnOnA="},
            "quay.io/org/app":{"auth":"YXBwOnA="}, "other":{"auth":"eDp5"}}}"#;
        assert_eq!(user(find(text, "quay.io", "org/app")).unwrap(), "app:p");
        assert_eq!(user(find(text, "quay.io", "org/application")).unwrap(), "org:p");
        assert_eq!(user(find(text, "quay.io", "else")).unwrap(), "host:p");
        assert_eq!(find(text, "quay.io:443", "org/app"), None);
    }

    #[test]
    fn legacy_keys_of_docker_are_understood() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnA="},"https://old.example/v1/":{"username":"u","password":"p"}}}"#;
        assert_eq!(user(find(text, "docker.io", "library/xz")).unwrap(), "hub:p");
        assert_eq!(user(find(text, "old.example", "x")).unwrap(), "u:p");
    }

    #[test]
    fn tokens_are_told_apart_from_passwords() {
        let text = r#"{"auths":{"a":{"auth":"dTpw","identitytoken":"i"},"b":{"registrytoken":"r"},"c":{}}}"#;
        assert_eq!(find(text, "a", "x"), Some(Credential::Identity("i".into())));
        assert_eq!(find(text, "b", "x"), Some(Credential::Bearer("r".into())));
        assert_eq!(find(text, "c", "x"), None);
        assert_eq!(find("", "c", "x"), None);
    }

    #[test]
    fn a_bad_file_is_an_error_that_shows_no_secret() {
        let error = AuthFile::parse(Path::new("/etc/auth.json"), b"{\"auths\": secret").unwrap_err();
        insta::assert_snapshot!(error, @"/etc/auth.json: not a file with credentials: line 1, column 11");
        let file = AuthFile::parse(Path::new("/a"), br#"{"auths":{"h":{"auth":"hidden"}}}"#).unwrap();
        insta::assert_snapshot!(file.find("h", "r").unwrap_err(), @"/a: the entry for h is not base64 of NAME:PASSWORD");
        assert!(!format!("{file:?}").contains("hidden"));
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic(text in "\\PC{0,60}", key in "\\PC{0,30}", auth in "[A-Za-z0-9=+/]{0,20}") {
            let _ = AuthFile::parse(Path::new("a"), text.as_bytes());
            let json = serde_json::json!({"auths": {key: {"auth": auth}}}).to_string();
            let _ = AuthFile::parse(Path::new("a"), json.as_bytes()).unwrap().find("a", "b");
        }
    }
}
