//! TLS: the trusted authorities and the client certificate.
//!
//! The authorities of the system are trusted, or Mozilla's bundled ones if the system has none (an image
//! built `FROM scratch`). Those of `--ca-file` are added, and for each host those in its `certs.d` directory
//! (containers-certs.d(5), docker's "verify repository client with certificates"). There, `*.crt` is an
//! authority, and `NAME.cert` with `NAME.key` a client certificate. An invalid file is an error, because
//! ignoring it would silently change the trusted authorities.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::tls::{Certificate, Identity};

use crate::error::{Error, Result};
use crate::limit;

/// Returns the directories that have a sub-directory for each host. The first file of each kind is used.
fn certs_d(host: &str) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/containers/certs.d"));
    let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    home.into_iter().chain(system).map(|directory| directory.join(host)).collect()
}

/// The TLS options of the user.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Additional authorities, as PEM.
    pub ca_file: Option<PathBuf>,
    /// The client certificate, as PEM.
    pub cert_file: Option<PathBuf>,
    /// The key, as PEM. Without it, the key is expected in the certificate's file.
    pub key_file: Option<PathBuf>,
    /// Whether any certificate is accepted.
    pub insecure: bool,
}

/// The TLS settings for one host.
#[derive(Debug, Default)]
pub(crate) struct HostTls {
    /// The authorities in addition to those of the system.
    pub authorities: Vec<Certificate>,
    /// The client certificate.
    pub identity: Option<Identity>,
}

impl HostTls {
    /// Reads the settings for `host`. The client certificate of the user is for the registry itself (`own`),
    /// not for the hosts that it points to.
    ///
    /// # Errors
    ///
    /// If a file is invalid ([`Error::Settings`] with its path).
    pub(crate) fn read(host: &str, options: &TlsOptions, own: bool) -> Result<Self> {
        let mut tls = Self::default();
        if let Some(path) = &options.ca_file {
            tls.authorities.extend(read_authorities(path)?);
        }
        for directory in certs_d(host) {
            tls.read_directory(&directory)?;
        }
        if own && let Some(cert) = &options.cert_file {
            tls.identity = Some(read_identity(cert, options.key_file.as_deref())?);
        }
        Ok(tls)
    }

    /// Returns whether the host has no settings. A host with settings always uses TLS.
    pub(crate) fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.identity.is_none()
    }

    fn read_directory(&mut self, directory: &Path) -> Result<()> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fault(directory, format!("could not be read: {error}"))),
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.authorities.extend(read_authorities(&path)?),
                Some("cert") if self.identity.is_none() => {
                    self.identity = Some(read_identity(&path, Some(&path.with_extension("key")))?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn fault(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Settings { path: path.to_owned(), reason: reason.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    compat_sys::open_stream(path)
        .and_then(|file| file.take(limit::SETTINGS_FILE).read_to_end(&mut bytes))
        .map_err(|error| fault(path, format!("could not be read: {error}")))?;
    Ok(bytes)
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate>> {
    let certificates =
        Certificate::from_pem_bundle(&read(path)?).map_err(|_| fault(path, "not PEM certificates"))?;
    if certificates.is_empty() {
        return Err(fault(path, "it contains no PEM certificate"));
    }
    Ok(certificates)
}

fn read_identity(cert: &Path, key: Option<&Path>) -> Result<Identity> {
    let mut pem = read(cert)?;
    if let Some(key) = key {
        pem.push(b'\n');
        pem.extend(read(key)?);
    }
    Identity::from_pem(&pem).map_err(|_| fault(cert, "not a PEM certificate with its PEM key"))
}

/// Builds the client for one host.
///
/// # Errors
///
/// If the settings are invalid ([`Error::Settings`] or [`Error::InvalidOption`]).
pub(crate) fn add_to(
    builder: reqwest::ClientBuilder,
    tls: HostTls,
    options: &TlsOptions,
) -> Result<reqwest::ClientBuilder> {
    // Installed once per process. It is no error if it is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = builder;
    if let Some(identity) = tls.identity {
        builder = builder.identity(identity);
    }
    if options.insecure {
        return Ok(builder.tls_danger_accept_invalid_certs(true));
    }
    if !system_has_authorities() {
        let mut trusted = bundled()?;
        trusted.extend(tls.authorities);
        return Ok(builder.tls_certs_only(trusted));
    }
    Ok(if tls.authorities.is_empty() { builder } else { builder.tls_certs_merge(tls.authorities) })
}

/// Configures a client that never uses TLS. It trusts nobody, so no authorities need to be read.
pub(crate) fn add_to_plain(builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder.tls_certs_only([])
}

/// Returns whether the system has authorities, in the places that rustls-native-certs reads on Linux.
fn system_has_authorities() -> bool {
    let given = |name: &str| std::env::var_os(name).is_some_and(|value| Path::new(&value).exists());
    let files = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/cacert.pem",
        "/etc/ssl/cert.pem",
    ];
    let filled = |directory: &str| fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    given("SSL_CERT_FILE")
        || given("SSL_CERT_DIR")
        || files.iter().any(|file| Path::new(file).exists())
        || ["/etc/ssl/certs", "/etc/pki/tls/certs"].into_iter().any(filled)
}

fn bundled() -> Result<Vec<Certificate>> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|certificate| {
            Certificate::from_der(certificate)
                .map_err(|error| Error::malformed("a bundled certificate", error.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let shown = |options: &TlsOptions| {
            let text = HostTls::read("h.invalid", options, true).unwrap_err().to_string();
            text.replace(&directory.path().display().to_string(), "DIR")
        };
        let ca = TlsOptions { ca_file: Some(path.clone()), ..TlsOptions::default() };
        insta::assert_snapshot!(shown(&ca), @"DIR/ca.pem: could not be read: No such file or directory (os error 2)");
        fs::write(&path, "nothing").unwrap();
        insta::assert_snapshot!(shown(&ca), @"DIR/ca.pem: it contains no PEM certificate");
        let cert = TlsOptions { cert_file: Some(path), ..TlsOptions::default() };
        insta::assert_snapshot!(shown(&cert), @"DIR/ca.pem: not a PEM certificate with its PEM key");
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_an_error_and_a_missing_one_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = HostTls::default().read_directory(file.path()).unwrap_err();
        assert!(matches!(error, Error::Settings { .. }), "{error}");
        HostTls::default().read_directory(&file.path().with_extension("missing")).unwrap();
    }
}
