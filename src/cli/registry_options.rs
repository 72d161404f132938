//! The options of every subcommand that talks to a registry, and the session built from them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::progress::Display;
use crate::app::{Session, SessionOptions};
use compat_oci::credential::Sources;
use compat_oci::{ClientOptions, TlsOptions, cache};

/// How to talk to registries.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Registry options")]
pub(super) struct RegistryOptions {
    /// Use plain HTTP (not needed for loopback hosts)
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

    /// Read the key of the client certificate (PEM) from this file (default: --cert-file)
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,

    /// Read credentials only from this file, not from those of podman and docker [env: REGISTRY_AUTH_FILE]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,

    /// Log in with this user name
    #[arg(long, short = 'u', value_name = "NAME", requires = "password_stdin")]
    pub username: Option<String>,

    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,

    /// Give up after this many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = 30, env = "COMPAT_TIMEOUT",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    /// Retry a request up to this many times after a reset, a 429 or a server error
    #[arg(long, value_name = "COUNT", default_value_t = 3, env = "COMPAT_RETRIES",
          value_parser = clap::value_parser!(u32).range(0..=20))]
    pub retries: u32,
}

/// Where pulled artifacts are cached.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cache options")]
pub(super) struct CacheOptions {
    /// Cache artifacts in this directory instead of $XDG_CACHE_HOME/compat
    #[arg(long, value_name = "DIR", env = "COMPAT_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Remove the oldest entries if the cache exceeds this size: bytes, or a number with K, M or G
    #[arg(long, value_name = "SIZE", env = "COMPAT_CACHE_LIMIT", value_parser = super::quantity::parse_size)]
    pub cache_limit: Option<u64>,

    /// Do not read or write the cache, even if a cache directory is given
    #[arg(long)]
    pub no_cache: bool,
}

impl RegistryOptions {
    /// Returns the session of a run without a cache.
    pub(super) fn session(&self, context: &Context) -> Session {
        self.caching_session(None, context)
    }

    /// Returns the session of a run that caches artifacts as `cache` says.
    pub(super) fn caching_session(&self, cache: Option<&CacheOptions>, context: &Context) -> Session {
        let client = ClientOptions {
            plain_http: self.plain_http,
            tls: TlsOptions {
                ca_file: self.ca_file.clone(),
                cert_file: self.cert_file.clone(),
                key_file: self.key_file.clone(),
                insecure: self.insecure,
            },
            credentials: Sources::of_environment(),
            timeout: Duration::from_secs(self.timeout),
            retries: self.retries,
        };
        let options = SessionOptions {
            client,
            username: self.username.clone(),
            authfile: self.authfile.clone(),
            cache: cache.and_then(CacheOptions::directory),
            cache_limit: cache.and_then(|cache| cache.cache_limit),
        };
        Session::new(options, Arc::new(Display::new(context)))
    }
}

impl CacheOptions {
    /// Returns the cache directory, or `None` if nothing is cached.
    fn directory(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { self.cache_dir.clone().or_else(cache::default_directory) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Failure;
    use compat_oci::Error;

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
