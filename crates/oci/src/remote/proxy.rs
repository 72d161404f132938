//! Checks the proxies of the environment. The HTTP client ignores an invalid proxy, so a request would bypass
//! it.
//!
//! The variables are those of curl(1): `https_proxy` and `http_proxy` for the scheme of the request, and
//! `all_proxy`, also in capitals.

use url::Url;

use crate::error::{Error, Result};

const FOR_TLS: &[&str] = &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const FOR_PLAIN: &[&str] = &["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"];
const SCHEMES: &[&str] = &["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// Checks the proxies for a scheme. `variable` reads the environment.
pub(super) fn check(scheme: &str, variable: impl Fn(&str) -> Option<String>) -> Result<()> {
    for name in if scheme == "https" { FOR_TLS } else { FOR_PLAIN } {
        let fault = variable(name).filter(|value| !value.is_empty()).and_then(|value| fault(&value));
        if let Some(reason) = fault {
            return Err(Error::InvalidOption { option: name, reason });
        }
    }
    Ok(())
}

/// Returns the fault of a proxy address. The address is not shown, because it may contain a password.
fn fault(value: &str) -> Option<String> {
    let whole = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    match Url::parse(&whole) {
        Err(error) => Some(format!("it is not the address of a proxy: {error}")),
        Ok(url) if !SCHEMES.contains(&url.scheme()) => {
            Some(format!("the scheme of a proxy is one of {}, not {}", SCHEMES.join(", "), url.scheme()))
        }
        Ok(url) if url.host_str().is_none_or(str::is_empty) => Some("it does not name a host".to_owned()),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_cannot_be_understood_is_named_and_not_shown() {
        let with = |name: &'static str, value: &'static str| {
            check("https", move |asked| (asked == name).then(|| value.to_owned()))
        };
        for value in ["", "proxy.example:3128", "http://user:secret@proxy.example", "socks5h://[::1]:1080"] {
            assert!(with("HTTPS_PROXY", value).is_ok(), "{value}");
        }
        for value in ["http://[bad", "http://secret:x@host:99999", "ftp://proxy.example", "http://"] {
            let error = with("https_proxy", value).unwrap_err().to_string();
            assert!(error.contains("https_proxy") && !error.contains("secret"), "{error}");
        }
        assert!(with("http_proxy", "http://[bad").is_ok());
    }
}
