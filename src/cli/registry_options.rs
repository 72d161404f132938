//! The options of every subcommand that talks to a registry, and what is made of them.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::progress::Display;
use super::{Context, Exit, Failure};
use compat_oci::credential::{Credential, Sources};
use compat_oci::text::shown;
use compat_oci::{Cache, Client, ClientOptions, Error, TlsOptions, cache};

/// How registries are talked to.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Registry options")]
pub struct RegistryOptions {
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
pub struct CacheOptions {
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

/// A client with what shows its work, and the runtime it works on.
pub struct Session {
    /// The client.
    pub client: Client,
    display: Arc<Display>,
    runtime: tokio::runtime::Runtime,
}

impl RegistryOptions {
    /// Makes these options ready to run. Credentials given with them are for `host` only.
    ///
    /// # Errors
    ///
    /// Where the password cannot be read.
    pub fn session(&self, host: Option<&str>, context: &Context) -> Result<Session, Failure> {
        let mut credentials = Sources::of_environment();
        if let Some(file) = &self.authfile {
            credentials.file = Some(file.clone());
        }
        if let (Some(username), Some(host)) = (&self.username, host) {
            let credential = Credential::Password { username: username.clone(), password: password()? };
            credentials.explicit = Some((host.to_owned(), credential));
        }
        let options = ClientOptions {
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
        let display = Arc::new(Display::new(context));
        let client = Client::new(options, display.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::undecided(&error))?;
        Ok(Session { client, display, runtime })
    }
}

impl CacheOptions {
    /// The cache that these options mean.
    pub fn open(&self, session: &Session) -> Cache {
        let root = if self.no_cache { None } else { self.cache_dir.clone().or_else(cache::default_folder) };
        Cache::new(root, session.display.clone()).with_limit(self.cache_limit)
    }
}

/// A size as typed: `500000`, `64K`, `64M`, `1G`; units of 1024.
///
/// # Errors
///
/// Where it is none.
pub fn parse_size(text: &str) -> Result<u64, String> {
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

impl Session {
    /// Runs a task of the registry to its end; its error becomes the subcommand's failure.
    ///
    /// # Errors
    ///
    /// What the task failed with.
    pub fn run<T>(&self, task: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        self.run_any(task).map_err(|error| failure(&error))
    }

    /// Runs any task to its end.
    pub fn run_any<T>(&self, task: impl Future<Output = T>) -> T {
        let outcome = self.runtime.block_on(task);
        self.display.finish();
        outcome
    }
}

/// What a registry's error means for a subcommand.
pub fn failure(error: &Error) -> Failure {
    let exit = if error.is_usage() { Exit::Usage } else { Exit::Undecided };
    let failure = Failure::undecided(error);
    // What a registry wrote may be in it.
    Failure { exit, message: shown(&failure.message, 4000), ..failure }.with_hint(error.hint())
}

/// The password: standard input is read once, however many sources are asked.
fn password() -> Result<String, Failure> {
    static PASSWORD: OnceLock<String> = OnceLock::new();
    once(&PASSWORD, read_password)
}

fn once(cell: &OnceLock<String>, read: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
    match cell.get() {
        Some(known) => Ok(known.clone()),
        None => read().map(|read| cell.get_or_init(|| read).clone()),
    }
}

/// Takes standard input, which only one reader can have.
///
/// # Errors
///
/// Wrong usage where it was taken already.
pub fn claim_stdin() -> Result<(), Failure> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    claim(&TAKEN)
}

fn claim(taken: &AtomicBool) -> Result<(), Failure> {
    if taken.swap(true, Ordering::Relaxed) {
        return Err(Failure::usage("standard input is wanted twice, as `-` or for --password-stdin")
            .with_hint("name a file instead of `-`".to_owned()));
    }
    Ok(())
}

/// Reads the password as `docker login --password-stdin` does: all of standard input without its
/// final line end.
fn read_password() -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage("--password-stdin: standard input is a terminal")
            .with_hint("pipe the password in: `… --password-stdin < FILE`".to_owned()));
    }
    claim_stdin()?;
    let mut text = String::new();
    stdin.lock().take(1 << 20).read_to_string(&mut text).map_err(|error| Failure::undecided(&error))?;
    let password =
        text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if password.is_empty() {
        return Err(Failure::usage("--password-stdin: standard input is empty"));
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_password_is_read_once() {
        let cell = OnceLock::new();
        assert_eq!(once(&cell, || Ok("secret".into())).unwrap(), "secret");
        assert_eq!(once(&cell, || Err(Failure::usage("read twice"))).unwrap(), "secret");
    }

    #[test]
    fn standard_input_is_read_for_one_purpose() {
        let taken = AtomicBool::new(false);
        claim(&taken).unwrap();
        let failure = claim(&taken).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("--password-stdin"), "{}", failure.message);
    }

    #[test]
    fn what_a_registry_wrote_does_not_steer_the_terminal() {
        let error = Error::NotFound { what: "h/a\u{1b}[2K\nerror: b".into() };
        assert!(!failure(&error).message.contains(char::is_control));
    }

    #[test]
    fn a_name_is_taken_from_the_command_line_only() {
        let command = <RegistryOptions as clap::Args>::augment_args(clap::Command::new("x"));
        let name = command.get_arguments().find(|argument| argument.get_id() == "username").unwrap();
        assert!(name.get_env().is_none());
    }
}
