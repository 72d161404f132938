//! Observers of network traffic: progress bars, `-v`, and tests that count requests.
//!
//! Secrets are already removed from all arguments (`remote/redact.rs`), so an observer can print them.

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
    /// The status, or `None` if no response arrived.
    pub status: Option<u16>,
    /// The headers, without secrets.
    pub headers: &'a [(String, String)],
    /// The time from sending the request to the end of the response's headers.
    pub elapsed: Duration,
}

/// Receives requests, bytes and notes. By default, every method does nothing.
pub trait Observer: Send + Sync + Debug {
    /// A request is about to be sent.
    fn request(&self, _event: &RequestEvent<'_>) {}
    /// A request was answered, or failed.
    fn response(&self, _event: &ResponseEvent<'_>) {}
    /// Receives a note: the user should know it, but nothing failed.
    fn note(&self, _text: &str) {}
    /// Adds to the number of bytes that will be transferred.
    fn expect(&self, _bytes: u64) {}
    /// Adds to the number of bytes of content that were transferred.
    fn transferred(&self, _bytes: u64) {}
}

/// An observer that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
