//! The client for all registries of one run: options, one HTTP client per host, and logins.
//!
//! Each host uses plain HTTP or TLS. The choice is made once per host:
//!
//! - With `--plain-http`, plain HTTP.
//! - For a host that is not a loopback address, TLS.
//! - For a loopback host with configured certificates, TLS.
//! - For any other loopback host, plain HTTP first, so that local registries cost no extra request. If the
//!   response requires TLS, TLS.

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

/// How to talk to registries.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Whether plain HTTP is used instead of TLS.
    pub plain_http: bool,
    /// The trusted authorities and the client certificate.
    pub tls: TlsOptions,
    /// The sources of credentials.
    pub credentials: Sources,
    /// The timeout without progress: while connecting, waiting for a response, or transferring.
    pub timeout: Duration,
    /// The maximum number of retries of a request.
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

/// The client for all registries of one run. Clones share all state.
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
    /// The time that this run has waited between attempts.
    waited: Mutex<Duration>,
}

/// The protocol of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    /// Plain HTTP until a response requires TLS.
    GuessedHttp,
    Https,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each guarded map is consistent between statements, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Creates a client with the given options and observer.
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

    /// Returns the options.
    pub fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    /// Returns the observer.
    pub fn observer(&self) -> &dyn Observer {
        self.0.observer.as_ref()
    }

    /// Returns a shared reference to the observer.
    pub(crate) fn shared_observer(&self) -> Arc<dyn Observer> {
        self.0.observer.clone()
    }

    /// Waits before another attempt and prints `reason`, unless the pause is short. Returns false without
    /// waiting if the total waiting time of the run would be exceeded.
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

    /// Returns the base address of a registry's API, and its protocol.
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

    /// Remembers the protocol of a host.
    pub(super) fn settle(&self, host: &str, scheme: Scheme) {
        locked(&self.0.schemes).insert(host.to_owned(), scheme);
    }

    /// Returns the HTTP client for an address. `registry` is the host of the registry. The client certificate
    /// of the user is not presented to other hosts.
    pub(super) fn connection(&self, url: &Url, registry: &str) -> Result<reqwest::Client> {
        // A reference may contain the default port, an address does not. Therefore origins are compared.
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
            // Plain HTTP needs no authorities. Reading those of the system would take time.
            tls::add_to_plain(builder)
        };
        builder.build().map_err(|error| Error::InvalidOption {
            option: "TLS or proxy settings",
            reason: super::cause::causes(&error),
        })
    }

    /// Returns the login for a repository, if it still seems valid.
    pub(super) fn login(&self, key: &LoginKey) -> Option<Login> {
        let login = locked(&self.0.logins).get(key).cloned()?;
        login.is_current().then_some(login)
    }

    pub(super) fn remember_login(&self, key: LoginKey, login: Login) {
        locked(&self.0.logins).insert(key, login);
    }

    /// Returns whether the repository is known to have no referrers API.
    pub(super) fn lacks_referrers(&self, host: &str, name: &str) -> bool {
        locked(&self.0.without_referrers).contains(&(host.to_owned(), name.to_owned()))
    }

    pub(super) fn remember_no_referrers(&self, host: &str, name: &str) {
        locked(&self.0.without_referrers).insert((host.to_owned(), name.to_owned()));
    }
}

/// Returns host and port as in a reference, without the default port of the scheme.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns whether a host (with or without a port) is this machine: `localhost`, 127.0.0.0/8 or `::1`.
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
