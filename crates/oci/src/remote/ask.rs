//! Requests to a repository: addresses, logins, plain HTTP or TLS, and error responses.

use std::fmt::Write as _;
use std::time::SystemTime;

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::access::Login;
use super::client::Scheme;
use super::login;
use super::message::{Answer, Request, RequestBody};
use super::refusal::error_text;
use super::repository::Repository;
use super::retry::{Repeat, retry_after_of};
use crate::error::{Error, Result};
use crate::format::manifest;
use crate::format::text::shown;

/// A request in the terms of a repository.
pub(super) struct Ask {
    pub method: Method,
    pub target: AskTarget,
    pub headers: Vec<(HeaderName, String)>,
    pub body: RequestBody,
    pub repeat: Repeat,
    /// The purpose, as a verb with its object.
    pub action: String,
    /// The limit on the body of a successful response, in bytes.
    pub limit: u64,
    /// Whether a fallback exists if a redirect leads to another origin that fails.
    pub tentative: bool,
}

/// The target of a request.
pub(super) enum AskTarget {
    /// A path and query below `/v2/NAME/`.
    Path(String),
    /// An address that the registry returned.
    Url(Url),
}

impl Ask {
    /// Creates a request that only reads.
    pub(super) fn read(path: String, what: &str, limit: u64) -> Self {
        Self {
            method: Method::GET,
            target: AskTarget::Path(path),
            headers: Vec::new(),
            body: RequestBody::Empty,
            repeat: Repeat::Always,
            action: format!("read {what}"),
            limit,
            tentative: false,
        }
    }

    /// Returns the same request with the supported manifest types.
    pub(super) fn accepting_manifests(mut self) -> Self {
        self.headers.push((ACCEPT, manifest::ACCEPT.to_owned()));
        self
    }
}

impl Repository {
    /// Sends a request that must succeed. A 404 means "not found".
    pub(super) async fn ask_ok(&self, ask: Ask, what: &str) -> Result<Answer> {
        let action = ask.action.clone();
        let answer = self.ask(ask).await?;
        match answer.status.as_u16() {
            200 => Ok(answer),
            404 => Err(self.not_found(&answer, what)),
            _ => Err(self.failure(&answer, &action)),
        }
    }

    /// Sends a request and logs in if necessary. A 401 is returned only for a body that cannot be sent again.
    /// The login has then been renewed.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer> {
        let mut request = self.request(ask)?;
        let mut rounds = 0;
        loop {
            let login = self.client.login(&self.key);
            let answer = self.send_guessing(&mut request, login.as_ref()).await?;
            if answer.status != 401 || self.is_foreign(&answer)? {
                return Ok(answer);
            }
            let again = rounds == 0
                || (rounds == 1
                    && login.as_ref().is_some_and(|login| {
                        login::may_go_without(&self.key, login) || login::wants_more(login, &answer)
                    }));
            if !again {
                return Err(login::refused_login(&self.key.host, &request, &answer, login.as_ref()));
            }
            self.client.log_in(&self.key, &request, &answer, login.as_ref()).await?;
            if matches!(request.body, RequestBody::Stream(..)) {
                return Ok(answer);
            }
            rounds += 1;
        }
    }

    /// Returns whether the response came from another origin than the registry. Its challenge receives no
    /// credentials.
    pub(super) fn is_foreign(&self, answer: &Answer) -> Result<bool> {
        let (base, _) = self.client.base(&self.key.host)?;
        Ok(answer.url.origin() != base.origin())
    }

    /// Sends a request. If plain HTTP was only a guess and the host requires TLS, the request is sent again
    /// over TLS.
    async fn send_guessing(&self, request: &mut Request, login: Option<&Login>) -> Result<Answer> {
        let (base, scheme) = self.client.base(&self.key.host)?;
        // The login belongs to the registry. An address at another origin receives none.
        let own = request.url.origin() == base.origin();
        let header = login.and_then(|login| login.header.as_ref()).filter(|_| own);
        let outcome = self.client.exchange(request, header).await;
        if scheme != Scheme::GuessedHttp || !own {
            return outcome;
        }
        let hint = tls_hint(request, &outcome);
        if hint == TlsHint::None {
            if outcome.is_ok() {
                self.client.settle(&self.key.host, Scheme::Http);
            }
            return outcome;
        }
        let plain = request.url.clone();
        self.client.settle(&self.key.host, Scheme::Https);
        let _ = request.url.set_scheme("https");
        match self.client.exchange(request, None).await {
            // A vague error may not have been about TLS. If TLS fails too, the first outcome counts.
            Err(error) if hint == TlsHint::Vague && !error.is_about_certificates() => {
                self.client.settle(&self.key.host, Scheme::GuessedHttp);
                request.url = plain;
                outcome
            }
            second => second,
        }
    }

    pub(super) fn request(&self, ask: Ask) -> Result<Request> {
        let (base, _) = self.client.base(&self.key.host)?;
        let url = match ask.target {
            AskTarget::Path(path) => base
                .join(&format!("v2/{}/{path}", self.key.name))
                .map_err(|error| Error::malformed(self.display(&path), error.to_string()))?,
            AskTarget::Url(url) => url,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in ask.headers {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| Error::malformed(format!("header {name}"), "it is not plain text"))?;
            headers.insert(name, value);
        }
        let registry = self.key.host.clone();
        let Ask { method, body, repeat, action, limit, tentative, .. } = ask;
        let secret = false;
        Ok(Request { method, url, headers, body, repeat, action, limit, registry, secret, tentative })
    }

    /// Returns the failure for a 404: the content or the whole repository does not exist.
    pub(super) fn not_found(&self, answer: &Answer, what: &str) -> Error {
        let all = error_text(answer).contains("NAME_UNKNOWN");
        let what =
            if all { format!("the repository {}/{}", self.key.host, self.key.name) } else { what.to_owned() };
        Error::NotFound { what }
    }

    /// Returns the failure for a response.
    pub(super) fn failure(&self, answer: &Answer, action: &str) -> Error {
        let host = self.key.host.clone();
        let action = action.to_owned();
        let said = error_text(answer);
        let or = |default: &str| if said.is_empty() { default.to_owned() } else { said.clone() };
        match answer.status.as_u16() {
            401 => {
                let detail = or("the credentials were not accepted");
                Error::Unauthorized { host, action, detail, offers_login: true }
            }
            403 => {
                let login = self.client.login(&self.key);
                // A login of the registry has no effect at the target of a redirect.
                let anonymous = login.is_none_or(|login| login.is_anonymous())
                    && !self.is_foreign(answer).unwrap_or(false);
                let login_at = anonymous.then(|| self.key.host.clone());
                Error::Denied { host, action, detail: or("no reason was given"), login_at }
            }
            status => {
                let mut detail = if said.is_empty() { said } else { format!(": {said}") };
                let wait = answer.header("retry-after").filter(|_| status == 429 || status == 503);
                let retry_after = wait.and_then(|wait| retry_after_of(wait, SystemTime::now()));
                if let Some(wait) = wait {
                    let _ = write!(detail, " (retry after: {})", shown(wait, 40));
                }
                Error::Status { host, action, status, detail, retry_after }
            }
        }
    }
}

/// The evidence for TLS in the outcome of a plain HTTP request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TlsHint {
    None,
    Vague,
    Clear,
}

fn tls_hint(request: &Request, outcome: &Result<Answer>) -> TlsHint {
    match outcome {
        Ok(answer) if answer.status == 400 && is_tls_complaint(&answer.body) => TlsHint::Clear,
        // The response to HEAD has no body with a reason.
        Ok(answer) if answer.status == 400 && request.method == Method::HEAD => TlsHint::Vague,
        Err(Error::Transport { transient: true, .. }) => TlsHint::Vague,
        _ => TlsHint::None,
    }
}

/// Returns whether a 400 is the response of a TLS server (Go, nginx, Apache) to plain HTTP.
fn is_tls_complaint(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    [
        "http request to an https server",
        "plain http request was sent to https port",
        "speaking plain http to an ssl",
    ]
    .iter()
    .any(|complaint| text.contains(complaint))
}
