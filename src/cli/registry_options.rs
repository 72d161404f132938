//! The options of every subcommand that talks to a registry, and what is made of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::progress::Display;
use crate::app::{Session, SessionOptions};
use compat_oci::credential::Sources;
use compat_oci::{ClientOptions, TlsOptions, cache};

/// How registries are talked to.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Registry options")]
pub(super) struct RegistryOptions {
    /// Use plain HTTP (loopback hosts need no flag)
    #[arg(long, env = "COMPAT_PLAIN_HTTP", value_parser = clap::builder::FalseyValueParser::new())]
    pub plain_http: bool,

    /// Accept any TLS certificate
    #[arg(long, visible_alias = "insecure-skip-tls-verify")]
    pub insecure: bool,

    /// Trust the certificate authorities in this PEM file too
    #[arg(long, value_name = "FILE", env = "COMPAT_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Present this client certificate (PEM) to the registry
    #[arg(long, value_name = "FILE")]
    pub cert_file: Option<PathBuf>,

    /// The client certificate's key (PEM), where it is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,

    /// Read credentials from this file only, else from those of podman and docker [env:
    /// REGISTRY_AUTH_FILE]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,

    /// Log in with this name
    #[arg(long, short = 'u', value_name = "NAME", requires = "password_stdin")]
    pub username: Option<String>,

    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,

    /// Give up when nothing has moved for this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, env = "COMPAT_TIMEOUT",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    /// Repeat a request this often after a reset, 429 or a server's fault
    #[arg(long, value_name = "COUNT", default_value_t = 3, env = "COMPAT_RETRIES",
          value_parser = clap::value_parser!(u32).range(0..=20))]
    pub retries: u32,
}

/// Where artifacts are kept once they are pulled.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cache options")]
pub(super) struct CacheOptions {
    /// Keep artifacts in this directory instead of $XDG_CACHE_HOME/compat
    #[arg(long, value_name = "DIR", env = "COMPAT_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Keep no more than this: what was written longest ago goes first. Bytes, or a number with K, M or G
    #[arg(long, value_name = "SIZE", env = "COMPAT_CACHE_LIMIT", value_parser = parse_size)]
    pub cache_limit: Option<u64>,

    /// Keep nothing, and use nothing that was kept, whatever directory is named
    #[arg(long)]
    pub no_cache: bool,
}

impl RegistryOptions {
    /// The session of a run that keeps nothing.
    pub(super) fn session(&self, context: &Context) -> Session {
        self.caching_session(None, context)
    }

    /// The session of a run that keeps artifacts where `cache` says.
    pub(super) fn caching_session(&self, cache: Option<&CacheOptions>, context: &Context) -> Session {
        let mut credentials = Sources::of_environment();
        if let Some(file) = &self.authfile {
            credentials.file = Some(file.clone());
        }
        let client = ClientOptions {
            plain_http: self.plain_http,
            tls: TlsOptions {
                ca_file: self.ca_file.clone(),
                cert_file: self.cert_file.clone(),
                key_file: self.key_file.clone(),
                insecure: self.insecure,
            },
            credentials,
            timeout: Duration::from_secs(self.timeout),
            retries: self.retries,
        };
        let options = SessionOptions {
            client,
            username: self.username.clone(),
            cache: cache.and_then(CacheOptions::directory),
            cache_limit: cache.and_then(|cache| cache.cache_limit),
        };
        Session::new(options, Arc::new(Display::new(context)))
    }
}

impl CacheOptions {
    /// The directory that these options mean; none if nothing is kept.
    fn directory(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { self.cache_dir.clone().or_else(cache::default_directory) }
    }
}

/// A size as typed: `500000`, `64K`, `64M`, `1G`; units of 1024.
///
/// # Errors
///
/// If it is not a size.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as 500000, 64K, 64M or 1G");
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G', 'k', 'm', 'g']) {
        Some(number) => (number, text[number.len()..].to_ascii_uppercase()),
        None => (text, String::new()),
    };
    let factor = match unit.as_str() {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => 1,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Failure;
    use compat_oci::Error;

    #[test]
    fn sizes_may_have_a_unit() {
        let sizes = ["0", "500000", "64K", "64m", "2G"].map(|text| parse_size(text).unwrap());
        assert_eq!(sizes, [0, 500_000, 64 << 10, 64 << 20, 2 << 30]);
        for text in
            ["", "K", "-1", "+1", "1.5G", "1T", "64MB", "1é", "99999999999999999999", "99999999999999G"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_registry_wrote_does_not_steer_the_terminal() {
        let error = Error::NotFound { what: "h/a\u{1b}[2K\nerror: b".into() };
        assert!(!Failure::from(&error).message.contains(char::is_control));
    }

    #[test]
    fn a_name_is_taken_from_the_command_line_only() {
        let command = <RegistryOptions as clap::Args>::augment_args(clap::Command::new("x"));
        let name = command.get_arguments().find(|argument| argument.get_id() == "username").unwrap();
        assert!(name.get_env().is_none());
    }
}
