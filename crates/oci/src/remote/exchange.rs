//! One request and its response: redirects, retries, and limits on time and size. This module does not know
//! registries.
//!
//! `Authorization` is sent only to the origin (scheme, host and port) of the request, never to the target of
//! a redirect. A redirect from TLS to plain HTTP is not followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use futures_util::StreamExt;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, StatusCode};
use url::Url;

use super::cause::{causes, is_transient};
use super::client::{Client, authority};
use super::message::{Answer, BlobPart, Request, RequestBody, start_of};
use super::redact;
use super::retry::{self, Repeat};
use crate::blob::BlobReader;
use crate::error::{Error, Result};
use crate::limit;
use crate::observer::{RequestEvent, ResponseEvent};

/// A response whose body has not been read.
pub(super) struct Opened {
    response: reqwest::Response,
    url: Url,
}

impl Client {
    /// Sends a request and reads the response, with retries.
    pub(super) async fn exchange(&self, request: &Request, login: Option<&HeaderValue>) -> Result<Answer> {
        let mut attempt = 0;
        loop {
            let outcome = match self.start(request, login).await {
                Ok(opened) => self.finish(request, opened).await,
                Err(error) => Err(error),
            };
            if !self.pause_before_next(request, &outcome, attempt).await {
                return outcome;
            }
            attempt += 1;
        }
    }

    /// Sends a request and returns the body as a stream. An unsuccessful response is read.
    pub(super) async fn exchange_stream(
        &self,
        request: &Request,
        login: Option<&HeaderValue>,
    ) -> Result<std::result::Result<BlobPart, Answer>> {
        let mut attempt = 0;
        loop {
            let outcome = match self.start(request, login).await {
                Ok(opened) if opened.response.status() == StatusCode::OK => {
                    return Ok(Ok(BlobPart { start: 0, stream: self.body_stream(request, opened) }));
                }
                Ok(opened) if opened.response.status() == StatusCode::PARTIAL_CONTENT => {
                    let range = opened.response.headers().get(CONTENT_RANGE);
                    let start = start_of(range.and_then(|value| value.to_str().ok())).ok_or_else(|| {
                        Error::malformed(
                            format!("the response to {}", request.action),
                            "its range is invalid",
                        )
                    })?;
                    return Ok(Ok(BlobPart { start, stream: self.body_stream(request, opened) }));
                }
                Ok(opened) => self.finish(request, opened).await,
                Err(error) => Err(error),
            };
            if !self.pause_before_next(request, &outcome, attempt).await {
                return outcome.map(Err);
            }
            attempt += 1;
        }
    }

    /// Waits before another attempt. Returns false if the request must not be repeated.
    async fn pause_before_next(&self, request: &Request, outcome: &Result<Answer>, attempt: u32) -> bool {
        if attempt >= self.options().retries || matches!(request.body, RequestBody::Stream(..)) {
            return false;
        }
        let now = SystemTime::now();
        match outcome {
            Ok(answer) if request.is_tentative_at(&answer.url) => false,
            Ok(answer) if retry::worth_repeating(answer.status.as_u16(), request.repeat) => {
                let wanted = answer.header(RETRY_AFTER.as_str());
                let Some(pause) = retry::pause(attempt, wanted, now) else { return false };
                let reason = format!("{} answered {}", authority(&answer.url), answer.status.as_u16());
                self.wait(pause, &reason).await
            }
            Err(error) if error.is_transient() && request.repeat == Repeat::Always => {
                let Some(pause) = retry::pause(attempt, None, now) else { return false };
                self.wait(pause, &format!("the connection to {} broke", authority(&request.url))).await
            }
            _ => false,
        }
    }

    /// Makes one attempt, including redirects, up to the end of the response's headers.
    async fn start(&self, request: &Request, login: Option<&HeaderValue>) -> Result<Opened> {
        let mut url = request.url.clone();
        for _ in 0..=limit::REDIRECTS {
            let same_origin = url.origin() == request.url.origin();
            let login = login.filter(|_| same_origin);
            let response =
                self.send(request, &url, login).await.map_err(|error| request.failed_at(&url, error))?;
            let target = match redirect_target(request, &url, &response) {
                // The requested address did not fail: the target of its redirect is unusable.
                Err(error) if request.tentative => return Err(Error::Elsewhere(Box::new(error))),
                target => target?,
            };
            let Some(target) = target else { return Ok(Opened { response, url }) };
            url = target;
        }
        let endless = refused(request, &url, format!("more than {} redirects", limit::REDIRECTS));
        Err(if request.tentative { Error::Elsewhere(Box::new(endless)) } else { endless })
    }

    async fn send(
        &self,
        request: &Request,
        url: &Url,
        login: Option<&HeaderValue>,
    ) -> Result<reqwest::Response> {
        let mut headers = request.headers.clone();
        if let Some(login) = login {
            headers.insert(AUTHORIZATION, login.clone());
        }
        let pulse = Arc::new(Pulse::new());
        let body = self.outgoing(request, &mut headers, &pulse)?;
        let connection = self.connection(url, &request.registry)?;
        let shown = redact::url(url);
        let method = request.method.as_str();
        self.observer().request(&RequestEvent { method, url: &shown, headers: &redact::headers(&headers) });
        let start = Instant::now();
        let mut builder = connection.request(request.method.clone(), url.clone()).headers(headers);
        if let Some(body) = body {
            builder = builder.body(body);
        }
        let outcome = with_idle(builder.send(), &pulse, self.patience(request, url)).await;
        let (status, headers) = match &outcome {
            Some(Ok(response)) => (Some(response.status().as_u16()), redact::headers(response.headers())),
            _ => (None, Vec::new()),
        };
        let elapsed = start.elapsed();
        self.observer().response(&ResponseEvent { method, url: &shown, status, headers: &headers, elapsed });
        match outcome {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(transport(url, request, error)),
            None => Err(self.timed_out(url, request)),
        }
    }

    fn outgoing(
        &self,
        request: &Request,
        headers: &mut HeaderMap,
        pulse: &Arc<Pulse>,
    ) -> Result<Option<reqwest::Body>> {
        match &request.body {
            RequestBody::Empty => {
                state_length(request, headers, 0);
                Ok(None)
            }
            RequestBody::Bytes(bytes) => {
                state_length(request, headers, bytes.len());
                Ok(Some(bytes.clone().into()))
            }
            RequestBody::Stream(stream, size) => {
                let stream = stream.lock().ok().and_then(|mut stream| stream.take());
                let stream = stream.ok_or_else(|| {
                    refused(request, &request.url, "the body cannot be sent a second time".into())
                })?;
                headers.insert(CONTENT_LENGTH, HeaderValue::from(*size));
                let (pulse, observer) = (pulse.clone(), self.shared_observer());
                let watched = stream.inspect(move |item| {
                    pulse.beat();
                    observer.transferred(item.as_ref().map_or(0, |chunk| chunk.len() as u64));
                });
                Ok(Some(reqwest::Body::wrap_stream(watched)))
            }
        }
    }

    /// Returns the timeout without progress.
    fn patience(&self, request: &Request, url: &Url) -> Duration {
        let timeout = self.options().timeout;
        if request.is_tentative_at(url) { timeout.min(limit::ELSEWHERE) } else { timeout }
    }

    /// Reads the body of a response within the limits.
    async fn finish(&self, request: &Request, opened: Opened) -> Result<Answer> {
        let url = opened.url.clone();
        self.read_body(request, opened).await.map_err(|error| request.failed_at(&url, error))
    }

    async fn read_body(&self, request: &Request, mut opened: Opened) -> Result<Answer> {
        let status = opened.response.status();
        let headers = opened.response.headers().clone();
        let bound = if status.is_success() { request.limit } else { limit::ERROR_BODY };
        if status.is_success() && opened.response.content_length().is_some_and(|length| length > bound) {
            return Err(Error::TooLarge {
                what: format!("the response to {}", request.action),
                limit: bound,
            });
        }
        // A body in memory is small. It must not trickle in for ever.
        let timeout = self.patience(request, &opened.url);
        let deadline = Instant::now() + timeout * 4;
        let mut body = BytesMut::new();
        loop {
            let patience = timeout.min(deadline.saturating_duration_since(Instant::now()));
            let chunk = match tokio::time::timeout(patience, opened.response.chunk()).await {
                Err(_) => return Err(self.timed_out(&opened.url, request)),
                Ok(Err(_)) if !status.is_success() => break,
                Ok(Err(error)) => return Err(transport(&opened.url, request, error)),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(chunk))) => chunk,
            };
            if body.len() as u64 + chunk.len() as u64 > bound {
                if status.is_success() {
                    let what = format!("the response to {}", request.action);
                    return Err(Error::TooLarge { what, limit: bound });
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, url: opened.url, body: body.freeze() })
    }

    fn body_stream(&self, request: &Request, opened: Opened) -> BlobReader {
        let pace = Pace::default();
        let state = (self.clone(), opened, request.action.clone(), pace);
        Box::pin(futures_util::stream::try_unfold(
            state,
            |(client, mut opened, action, mut pace)| async move {
                let timeout = client.options().timeout;
                let start = Instant::now();
                let chunk = tokio::time::timeout(timeout, opened.response.chunk()).await;
                let host = authority(&opened.url);
                match chunk {
                    Err(_) => Err(Error::TimedOut { host, action, after: timeout }),
                    Ok(Err(error)) => Err(transport_error(host, action, error)),
                    Ok(Ok(None)) => Ok(None),
                    Ok(Ok(Some(chunk))) if !pace.keeps_up(chunk.len(), start.elapsed(), timeout) => {
                        Err(Error::TooSlow { host, action, minimum: limit::MINIMUM_RATE })
                    }
                    Ok(Ok(Some(chunk))) => {
                        client.observer().transferred(chunk.len() as u64);
                        Ok(Some((chunk, (client, opened, action, pace))))
                    }
                }
            },
        ))
    }

    fn timed_out(&self, url: &Url, request: &Request) -> Error {
        let after = self.patience(request, url);
        Error::TimedOut { host: authority(url), action: request.action.clone(), after }
    }
}

/// Sets the length of the body, even if it is empty, for methods with a body. The HTTP library sends no
/// `Content-Length` for an empty body, and Google's registry then returns 411 (RFC 9110, section 8.6).
fn state_length(request: &Request, headers: &mut HeaderMap, length: usize) {
    if [Method::POST, Method::PUT, Method::PATCH].contains(&request.method) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Returns the target of a redirect, if the response has one that may be followed.
fn redirect_target(request: &Request, from: &Url, response: &reqwest::Response) -> Result<Option<Url>> {
    let status = response.status().as_u16();
    let reading = request.method == Method::GET || request.method == Method::HEAD;
    let follow = match status {
        301..=303 => reading,
        307 | 308 => reading || !matches!(request.body, RequestBody::Stream(..)),
        _ => false,
    };
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location.filter(|_| follow) else { return Ok(None) };
    let target = from
        .join(location)
        .map_err(|error| Error::malformed(format!("a redirect of {}", authority(from)), error.to_string()))?;
    check_target(&request.registry, from, &target)?;
    if request.secret && target.origin() != request.url.origin() {
        return Err(refused(request, &target, "credentials are not sent to another host".into()));
    }
    Ok(Some(target))
}

/// Checks whether an address from a registry may be used.
pub(super) fn check_target(registry: &str, from: &Url, target: &Url) -> Result<()> {
    let reason = match (from.scheme(), target.scheme()) {
        ("https", "http") => "it leads from TLS to plain HTTP",
        (_, "http" | "https") if target.host_str().is_some() => return Ok(()),
        _ => "it is not an HTTP address",
    };
    Err(Error::Redirect { host: registry.to_owned(), target: redact::url(target), reason: reason.to_owned() })
}

fn refused(request: &Request, target: &Url, reason: String) -> Error {
    Error::Redirect { host: request.registry.clone(), target: redact::url(target), reason }
}

fn transport(url: &Url, request: &Request, error: reqwest::Error) -> Error {
    transport_error(authority(url), request.action.clone(), error)
}

fn transport_error(host: String, action: String, error: reqwest::Error) -> Error {
    // If the sending side of a stream failed, that is the cause, and the broken connection only follows from
    // it.
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        if let Some(own) = source.downcast_ref::<Error>() {
            let (transient, source) = (own.is_transient(), crate::error::chain(own).into());
            return Error::Transport { host, action, transient, source };
        }
        cause = source.source();
    }
    let transient = is_transient(&error);
    // The message already contains the address, which may contain a secret.
    let text = causes(&error.without_url());
    Error::Transport { host, action, transient, source: text.into() }
}

/// The rate of a stream. A stream that trickles in must not block its reader for ever.
#[derive(Default)]
struct Pace {
    waited: Duration,
    received: u64,
}

impl Pace {
    /// Counts a received chunk. Returns whether the stream was fast enough in the last `window` of waiting.
    /// Time between chunks is not the sender's fault.
    fn keeps_up(&mut self, received: usize, waited: Duration, window: Duration) -> bool {
        self.waited += waited;
        self.received += received as u64;
        if self.waited < window {
            return true;
        }
        let is_fast = self.received as f64 >= limit::MINIMUM_RATE as f64 * self.waited.as_secs_f64();
        *self = Self::default();
        is_fast
    }
}

/// The time of the last progress.
struct Pulse {
    start: Instant,
    last: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    fn beat(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// Waits for a future while the pulse beats. Returns `None` if it has stopped for `idle`.
async fn with_idle<T>(future: impl Future<Output = T>, pulse: &Pulse, idle: Duration) -> Option<T> {
    let mut future = std::pin::pin!(future);
    loop {
        let deadline = pulse.last() + idle;
        match tokio::time::timeout_at(deadline.into(), &mut future).await {
            Ok(value) => return Some(value),
            Err(_) if pulse.last() + idle > deadline => {}
            Err(_) => return None,
        }
    }
}
