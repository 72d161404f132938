//! The configuration of an image: its command and its platform.
//!
//! Source: image-spec `config.md`. Docker's own form has the same fields. The types of `oci-spec` refuse
//! configurations that engines run (`docs/decisions.md`).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use compat_oci::manifest::null_is_empty;
use compat_oci::{Digest, Platform};
use compat_sys::raw;

/// The configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Environment variables, as `NAME=value`.
    pub env: Vec<String>,
    /// The command's first words, before [`Config::cmd`].
    pub entrypoint: Vec<String>,
    /// The default arguments, or the whole command if there is no entrypoint.
    pub cmd: Vec<String>,
    /// The working directory of the command.
    pub working_dir: String,
    /// The user of the command.
    pub user: String,
    /// Labels, in the order of their keys.
    pub labels: BTreeMap<String, String>,
    /// The architecture, in Go's names.
    pub architecture: String,
    /// The variant of the architecture.
    pub variant: Option<String>,
    /// The operating system, in Go's names.
    pub os: String,
    /// The digests of the uncompressed layers, bottom first.
    pub(super) diff_ids: Vec<Digest>,
}

impl Config {
    /// Parses a configuration. `what` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnImage`] if the bytes are not a configuration.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        let read: ConfigDocument = serde_json::from_slice(bytes).map_err(|error| Error::NotAnImage {
            what: what.to_owned(),
            reason: format!("its configuration cannot be read: {error}"),
        })?;
        let text = |text: String| raw::string(text.as_bytes());
        let all = |texts: Vec<String>| texts.into_iter().map(text).collect();
        Ok(Self {
            env: all(read.config.env),
            entrypoint: all(read.config.entrypoint),
            cmd: all(read.config.cmd),
            working_dir: text(read.config.working_dir),
            user: read.config.user,
            labels: read.config.labels,
            architecture: read.architecture,
            variant: read.variant.filter(|variant| !variant.is_empty()),
            os: read.os,
            diff_ids: read.rootfs.diff_ids,
        })
    }

    /// The value of an environment variable. If it is set several times, the last value.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let value = |entry: &'_ String| entry.split_once('=').is_some_and(|(key, _)| key == name);
        self.env
            .iter()
            .rev()
            .find(|entry| value(entry))
            .and_then(|entry| entry.split_once('='))
            .map(|(_, v)| v)
    }

    /// The command of the image: the entrypoint, then the arguments.
    pub fn command(&self) -> Vec<&str> {
        self.entrypoint.iter().chain(&self.cmd).map(String::as_str).collect()
    }

    /// Returns the absolute form of a path. A relative path starts at the working directory.
    pub(crate) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        format!("{}/{path}", self.working_dir.trim_end_matches('/'))
    }

    /// The platform, if the configuration states one.
    pub fn platform(&self) -> Option<Platform> {
        let known = !self.os.is_empty() && !self.architecture.is_empty();
        known.then(|| Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
            ..Platform::default()
        })
    }
}

#[derive(Deserialize)]
struct ConfigDocument {
    #[serde(default, deserialize_with = "null_is_empty")]
    config: RunSection,
    #[serde(default, deserialize_with = "null_is_empty")]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    os: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunSection {
    #[serde(default, deserialize_with = "null_is_empty")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    cmd: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    working_dir: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    user: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    diff_ids: Vec<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_writes_is_read() {
        let text = br#"{"architecture":"amd64","variant":"v3","os":"linux","history":null,
            "config":{"Env":["A=1","LD_LIBRARY_PATH=/x","A=2"],"Entrypoint":["/e"],"Cmd":null,"Labels":null,
            "WorkingDir":"/w"},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = Config::parse("x", text).unwrap();
        assert_eq!(config.platform().unwrap().to_string(), "linux/amd64/v3");
        assert_eq!((config.variable("A"), config.variable("B")), (Some("2"), None));
        assert_eq!(config.command(), ["/e"]);
        assert_eq!(config.working_dir, "/w");
    }

    #[test]
    fn what_is_none_is_refused_with_its_name() {
        let error = Config::parse("oci:a:1", b"<html>").unwrap_err().to_string();
        insta::assert_snapshot!(error, @"oci:a:1 is not a container image: its configuration cannot be read: expected value at line 1 column 1");
        assert_eq!(Config::parse("x", b"{}").unwrap().platform(), None);
    }

    #[test]
    fn the_types_of_oci_spec_refuse_what_engines_run() {
        for text in [
            // Go writes `null` for an empty list of layers.
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":null}}"#,
            r#"{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
            r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sh"]}}"#,
        ] {
            assert!(serde_json::from_str::<oci_spec::image::ImageConfiguration>(text).is_err(), "{text}");
            assert!(Config::parse("x", text.as_bytes()).is_ok(), "{text}");
        }
    }
}
