//! The client of all registries of one run: options, one HTTP client a host, logins.
//!
//! Plain HTTP or TLS, found out per host and remembered: `--plain-http` means plain HTTP; a host that
//! is not a loopback address speaks TLS; a loopback host for which certificates are configured speaks
//! TLS; any other loopback host is first asked in plain HTTP (no request is lost on the registries
//! that people run on their own machine), and in TLS where it answers that it wants that.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::{Host, Url};

use super::access::{Login, LoginKey};
use super::proxy;
use super::tls::{self, HostTls, TlsOptions};
use crate::credential::Sources;
use crate::error::{Error, Result};
use crate::limit;
use crate::observer::Observer;

/// How registries are talked to.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Plain HTTP instead of TLS.
    pub plain_http: bool,
    /// Whom to trust, and the client certificate.
    pub tls: TlsOptions,
    /// Where credentials are looked for.
    pub credentials: Sources,
    /// How long nothing may move: while connecting, waiting for an answer, transferring.
    pub timeout: Duration,
    /// How often a request is repeated.
    pub retries: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            plain_http: false,
            tls: TlsOptions::default(),
            credentials: Sources::default(),
            timeout: Duration::from_secs(30),
            retries: 3,
        }
    }
}

/// The client of all registries of one run; clones share everything.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: ClientOptions,
    observer: Arc<dyn Observer>,
    schemes: Mutex<HashMap<String, Scheme>>,
    connections: Mutex<HashMap<String, reqwest::Client>>,
    logins: Mutex<HashMap<LoginKey, Login>>,
    without_referrers: Mutex<HashSet<(String, String)>>,
    /// How long this run has waited between tries.
    waited: Mutex<Duration>,
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    /// Plain HTTP until the host says otherwise.
    GuessedHttp,
    Https,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each guarded map is whole between statements, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// A client with the given options; whoever watches is told through `observer`.
    pub fn new(options: ClientOptions, observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Shared {
            options,
            observer,
            schemes: Mutex::default(),
            connections: Mutex::default(),
            logins: Mutex::default(),
            without_referrers: Mutex::default(),
            waited: Mutex::default(),
        }))
    }

    /// The options.
    pub fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    /// Whoever watches.
    pub fn observer(&self) -> &dyn Observer {
        self.0.observer.as_ref()
    }

    /// Whoever watches, to hand on.
    pub(crate) fn shared_observer(&self) -> Arc<dyn Observer> {
        self.0.observer.clone()
    }

    /// Waits before another try, because of `reason`, which is said unless it takes a moment only. False, without
    /// waiting, if that would be more than one run waits in all.
    pub(super) async fn wait(&self, pause: Duration, reason: &str) -> bool {
        {
            let mut waited = locked(&self.0.waited);
            if *waited + pause > limit::WAITING {
                return false;
            }
            *waited += pause;
        }
        if pause >= limit::SILENCE {
            self.observer().note(&format!("{reason}: waiting {} s", pause.as_secs_f64().ceil()));
        }
        tokio::time::sleep(pause).await;
        true
    }

    /// The address that a registry's API starts from, and how sure that is.
    pub(super) fn base(&self, host: &str) -> Result<(Url, Scheme)> {
        let known = locked(&self.0.schemes).get(host).copied();
        let scheme = match known {
            Some(scheme) => scheme,
            None => {
                let scheme = self.first_scheme(host)?;
                locked(&self.0.schemes).insert(host.to_owned(), scheme);
                scheme
            }
        };
        let name = if scheme == Scheme::Https { "https" } else { "http" };
        let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let url = Url::parse(&format!("{name}://{address}/"))
            .map_err(|error| Error::malformed(format!("host {host}"), error.to_string()))?;
        Ok((url, scheme))
    }

    fn first_scheme(&self, host: &str) -> Result<Scheme> {
        if self.0.options.plain_http {
            return Ok(Scheme::Http);
        }
        if !is_loopback(host) {
            return Ok(Scheme::Https);
        }
        let configured = !HostTls::read(host, &self.0.options.tls, true)?.is_empty();
        Ok(if configured { Scheme::Https } else { Scheme::GuessedHttp })
    }

    /// Remembers how a host is spoken to.
    pub(super) fn settle(&self, host: &str, scheme: Scheme) {
        locked(&self.0.schemes).insert(host.to_owned(), scheme);
    }

    /// The HTTP client for an address. `registry` is the host of the registry that is talked to;
    /// where it points elsewhere, the client certificate given by the user stays at home.
    pub(super) fn connection(&self, url: &Url, registry: &str) -> Result<reqwest::Client> {
        // A reference may name the scheme's own port, an address does not: origins are compared.
        let own = self.base(registry)?.0.origin() == url.origin();
        let authority = if own { registry.to_owned() } else { authority(url) };
        let key = format!("{}://{authority} {own}", url.scheme());
        if let Some(client) = locked(&self.0.connections).get(&key) {
            return Ok(client.clone());
        }
        let client = self.connect(url, &authority, own)?;
        locked(&self.0.connections).insert(key, client.clone());
        Ok(client)
    }

    fn connect(&self, url: &Url, authority: &str, own: bool) -> Result<reqwest::Client> {
        let options = &self.0.options;
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("compat/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(options.timeout)
            .referer(false)
            .resolve_to_addrs("localhost", &loopback.map(|address| SocketAddr::new(address, 0)));
        if is_loopback(authority) {
            builder = builder.no_proxy();
        } else {
            proxy::check(url.scheme(), |name| std::env::var(name).ok())?;
        }
        builder = if url.scheme() == "https" {
            tls::add_to(builder, HostTls::read(authority, &options.tls, own)?, &options.tls)?
        } else {
            // No authority is ever asked for plain HTTP: reading the system's would cost time.
            tls::add_to_plain(builder)
        };
        builder.build().map_err(|error| Error::InvalidOption {
            option: "TLS or proxy settings",
            reason: super::cause::causes(&error),
        })
    }

    /// The login for a repository, where it is still good as far as one can tell.
    pub(super) fn login(&self, key: &LoginKey) -> Option<Login> {
        let login = locked(&self.0.logins).get(key).cloned()?;
        login.is_current().then_some(login)
    }

    pub(super) fn remember_login(&self, key: LoginKey, login: Login) {
        locked(&self.0.logins).insert(key, login);
    }

    /// Whether the repository is known to have no referrers API.
    pub(super) fn lacks_referrers(&self, host: &str, name: &str) -> bool {
        locked(&self.0.without_referrers).contains(&(host.to_owned(), name.to_owned()))
    }

    pub(super) fn remember_no_referrers(&self, host: &str, name: &str) {
        locked(&self.0.without_referrers).insert((host.to_owned(), name.to_owned()));
    }
}

/// Host and port as a reference writes them: no port where it is the scheme's own.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether a host (with or without a port) is this machine: `localhost`, 127.0.0.0/8 or `::1`.
pub(crate) fn is_loopback(host: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{host}/")) else { return false };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Silent;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:80", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.org", "127.0.0.1.evil.org", "10.0.0.1", "[::2]", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_or_when_asked_for() {
        let base = |options: ClientOptions, host: &str| {
            let (url, scheme) = Client::new(options, Arc::new(Silent)).base(host).unwrap();
            (url.to_string(), scheme)
        };
        let plain = || ClientOptions { plain_http: true, ..ClientOptions::default() };
        assert_eq!(base(ClientOptions::default(), "ghcr.io"), ("https://ghcr.io/".into(), Scheme::Https));
        assert_eq!(base(ClientOptions::default(), "localhost:5000").1, Scheme::GuessedHttp);
        assert_eq!(base(plain(), "ghcr.io:80"), ("http://ghcr.io/".into(), Scheme::Http));
        assert_eq!(base(ClientOptions::default(), "docker.io").0, "https://registry-1.docker.io/");
    }
}
