//! A request to a registry, its token service or a storage service, and the response.

use std::sync::Mutex;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use url::Url;

use super::retry::Repeat;
use crate::blob::BlobReader;
use crate::error::Error;

/// The body of a request.
pub(super) enum RequestBody {
    /// Nothing.
    Empty,
    /// Bytes, which can be sent repeatedly.
    Bytes(Bytes),
    /// A stream of known length, which can be sent once.
    Stream(Mutex<Option<BlobReader>>, u64),
}

/// A request.
pub(super) struct Request {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: Url,
    /// The headers, without `Authorization`.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
    /// Whether it may be sent twice.
    pub repeat: Repeat,
    /// The purpose, as a verb with its object: `read a/b:1`.
    pub action: String,
    /// The limit on the body of a successful response, in bytes.
    pub limit: u64,
    /// The registry on whose behalf the request is sent.
    pub registry: String,
    /// Whether the request contains credentials. It then follows no redirect to another origin.
    pub secret: bool,
    /// Whether a fallback exists if a redirect leads to another origin that fails. That origin is asked once,
    /// with a short timeout, and its failure is [`Error::Elsewhere`].
    pub tentative: bool,
}

impl Request {
    /// Returns whether `url` is at another origin and a fallback exists.
    pub(super) fn is_tentative_at(&self, url: &Url) -> bool {
        self.tentative && url.origin() != self.url.origin()
    }

    /// Returns the failure of a request at `url`.
    pub(super) fn failed_at(&self, url: &Url, error: Error) -> Error {
        let elsewhere = self.is_tentative_at(url) && !error.is_usage();
        if elsewhere { Error::Elsewhere(Box::new(error)) } else { error }
    }
}

/// A response with its body.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The address of the response, after redirects.
    pub url: Url,
    /// The body, or the beginning of an error body.
    pub body: Bytes,
}

impl Answer {
    /// Returns the value of a header, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The bytes of a blob from a position.
pub(super) struct BlobPart {
    /// The position of the first byte.
    pub start: u64,
    /// The bytes.
    pub stream: BlobReader,
}

/// Returns the position of a partial response from its `Content-Range` (`bytes 5-9/10`).
pub(super) fn start_of(content_range: Option<&str>) -> Option<u64> {
    let range = content_range?.trim().strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_says_where_it_begins() {
        assert_eq!(start_of(Some("bytes 5-9/10")), Some(5));
        assert_eq!(start_of(Some("bytes 0-9/*")), Some(0));
        for wrong in [None, Some(""), Some("bytes */10"), Some("lines 5-9/10"), Some("bytes -1-2/3")] {
            assert_eq!(start_of(wrong), None, "{wrong:?}");
        }
    }
}
