//! Whoever wants to know what happens on the wire: progress bars, `-v`, tests that count requests.
//!
//! What is handed out has its secrets taken out already (`remote/redact.rs`): an observer
//! can print everything it is told.

use std::fmt::Debug;
use std::time::Duration;

/// One request about to be sent.
#[derive(Debug)]
pub struct RequestEvent<'a> {
    /// The method.
    pub method: &'a str,
    /// The address, without secrets.
    pub url: &'a str,
    /// The headers, without secrets.
    pub headers: &'a [(String, String)],
}

/// How one request was answered.
#[derive(Debug)]
pub struct ResponseEvent<'a> {
    /// The method.
    pub method: &'a str,
    /// The address, without secrets.
    pub url: &'a str,
    /// The status, or none where no answer came.
    pub status: Option<u16>,
    /// The headers, without secrets.
    pub headers: &'a [(String, String)],
    /// From sending to the end of the answer's headers.
    pub elapsed: Duration,
}

/// Told of requests, bytes and remarks. Every method does nothing unless implemented.
pub trait Observer: Send + Sync + Debug {
    /// A request is about to be sent.
    fn request(&self, _event: &RequestEvent<'_>) {}
    /// A request was answered, or failed.
    fn response(&self, _event: &ResponseEvent<'_>) {}
    /// Something the user should know that is no failure.
    fn note(&self, _text: &str) {}
    /// So many more bytes are going to be transferred.
    fn expect(&self, _bytes: u64) {}
    /// So many bytes of content were transferred.
    fn transferred(&self, _bytes: u64) {}
}

/// An observer that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
