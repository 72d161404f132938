//! A request to a registry, its token service or a storage service, and the answer.

use std::sync::Mutex;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use url::Url;

use super::retry::Repeat;
use crate::blob::BlobReader;
use crate::error::Error;

/// What is sent with a request.
pub(super) enum RequestBody {
    /// Nothing.
    Empty,
    /// These bytes, as often as needed.
    Bytes(Bytes),
    /// A stream of known length; it can be sent once.
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
    /// What it is for, as a verb with its object: `read a/b:1`.
    pub action: String,
    /// The most bytes of a successful answer's body.
    pub limit: u64,
    /// The registry on whose behalf this is sent.
    pub registry: String,
    /// Whether it carries credentials of its own: then no redirect leads it to another origin.
    pub secret: bool,
    /// Whether there is another way if a redirect leads to another origin that fails: that one is asked once, not
    /// for long, and its failure is [`Error::Elsewhere`].
    pub tentative: bool,
}

impl Request {
    /// Whether it is another origin that is asked at `url`, with another way left.
    pub(super) fn is_tentative_at(&self, url: &Url) -> bool {
        self.tentative && url.origin() != self.url.origin()
    }

    /// The failure of what was asked at `url`.
    pub(super) fn failed_at(&self, url: &Url, error: Error) -> Error {
        let elsewhere = self.is_tentative_at(url) && !error.is_usage();
        if elsewhere { Error::Elsewhere(Box::new(error)) } else { error }
    }
}

/// An answer with its body.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The address that answered, after redirects.
    pub url: Url,
    /// The body; of an error, its beginning.
    pub body: Bytes,
}

impl Answer {
    /// A header's value, where it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A blob's bytes from some position on.
pub(super) struct BlobPart {
    /// The first byte that comes.
    pub start: u64,
    /// The bytes.
    pub stream: BlobReader,
}

/// Where the part begins that an answer holds, by its `Content-Range` (`bytes 5-9/10`).
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
