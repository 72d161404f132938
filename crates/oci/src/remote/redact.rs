//! Removes secrets from displayed addresses and headers.

use reqwest::header::HeaderMap;
use url::Url;

/// The query parameters that are shown. Any other value may be a token or a signature.
const SHOWN_PARAMETERS: &[&str] =
    &["digest", "artifactType", "n", "last", "mount", "from", "scope", "service", "client_id"];

/// The headers that are shown. Any other value may be a secret.
const SHOWN_HEADERS: &[&str] = &[
    "accept",
    "accept-ranges",
    "cache-control",
    "connection",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "etag",
    "host",
    "last-modified",
    "oci-chunk-min-length",
    "oci-filters-applied",
    "oci-subject",
    "range",
    "ratelimit-limit",
    "ratelimit-remaining",
    "retry-after",
    "server",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "warning",
];

/// Headers that contain an address.
const ADDRESS_HEADERS: &[&str] = &["location", "link"];

/// Returns an address without user information and without the values of unknown parameters.
pub(crate) fn url(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    if url.query().is_some() {
        let pairs: Vec<String> = url
            .query_pairs()
            .map(|(name, value)| {
                let known = SHOWN_PARAMETERS.contains(&name.as_ref());
                let value = if known { value.into_owned() } else { "***".to_owned() };
                format!("{name}={value}")
            })
            .collect();
        shown.set_query(Some(&pairs.join("&")));
    }
    shown.into()
}

/// Returns headers as name and value. Secret values are removed.
pub(crate) fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let text = value.to_str().unwrap_or("(not text)");
            let shown = match name.as_str() {
                name if SHOWN_HEADERS.contains(&name) => text.to_owned(),
                name if ADDRESS_HEADERS.contains(&name) => address(text),
                "www-authenticate" => text.to_owned(),
                "authorization" => {
                    format!("{} ***", text.split(' ').next().filter(|_| text.contains(' ')).unwrap_or(""))
                }
                _ => "***".to_owned(),
            };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}

fn address(text: &str) -> String {
    match Url::parse(text) {
        Ok(parsed) => url(&parsed),
        Err(_) => text.split_once('?').map_or(text.to_owned(), |(path, _)| format!("{path}?***")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_addresses_are_not_shown() {
        let shown = |text: &str| url(&Url::parse(text).unwrap());
        assert_eq!(shown("https://u:p@h/v2/?token=t&digest=d"), "https://h/v2/?token=***&digest=d");
        assert_eq!(shown("https://s3/x?X-Amz-Signature=abc"), "https://s3/x?X-Amz-Signature=***");
    }

    #[test]
    fn secrets_in_headers_are_not_shown() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Basic c2VjcmV0"),
            ("set-cookie", "secret"),
            ("location", "/v2/a/blobs/uploads/1?_state=secret"),
            ("content-type", "text/plain"),
        ] {
            map.insert(name, value.parse().unwrap());
        }
        let shown = format!("{:?}", headers(&map));
        assert!(!shown.contains("secret") && !shown.contains("c2Vj"), "{shown}");
        assert!(shown.contains("text/plain") && shown.contains("Basic ***"), "{shown}");
    }
}
