//! Logins, when a registry requires them (distribution's "token authentication").
//!
//! A request is sent with the last successful login, or without one. On a 401, the challenge is parsed and
//! the credentials are looked up. For a bearer challenge, one token is fetched that covers all access of this
//! run to the repository. The token is used until its `expires_in` has passed, which is only a hint, or until
//! the registry returns 401 again.
//!
//! Credentials are sent to the registry that they belong to. They are also sent to its realm if the realm
//! uses TLS, or is on the registry's host, or if both are this machine. If a registry uses TLS, a realm in
//! plain HTTP is not used at all.
//!
//! If the token service refuses the credentials for read access, an anonymous token is tried, with a note. An
//! expired login must not hide public content.

use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;

use super::access::{Access, Login, LoginKey};
use super::challenge::{self, Challenge};
use super::client::{Client, authority, is_loopback};
use super::message::{Answer, Request, RequestBody};
use super::redact;
use super::refusal::{error_text, status_error};
use super::retry::Repeat;
use crate::credential::{Credential, FoundCredential};
use crate::error::{Error, Result};
use crate::format::text::listed;
use crate::limit;

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    /// A number in the specification, but some services write text. It is only a hint, so anything else is
    /// ignored.
    #[serde(default, deserialize_with = "lenient_seconds")]
    expires_in: Option<f64>,
}

fn lenient_seconds<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<f64>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(match value {
        Some(serde_json::Value::Number(number)) => number.as_f64(),
        Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    })
}

impl Client {
    /// Answers a 401: finds credentials and fetches a token. `before` is the refused login.
    pub(super) async fn log_in(
        &self,
        key: &LoginKey,
        request: &Request,
        refusal: &Answer,
        before: Option<&Login>,
    ) -> Result<Login> {
        let challenges: Vec<Challenge> = refusal
            .headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let found = self.options().credentials.find(&key.host, &key.name)?;
        let login = if let Some(challenge) = find("bearer") {
            self.log_in_with_token(key, request, challenge, found, before.is_some_and(|login| login.kept))
                .await?
        } else if find("basic").is_some() && before.is_none_or(|login| login.header.is_none()) {
            basic_login(request, refusal, found)?
        } else if find("basic").is_none() {
            return Err(no_way(&key.host, request, refusal, &challenges));
        } else {
            return Err(unauthorized(
                &key.host,
                request,
                refusal,
                before.and_then(|login| login.origin.as_deref()),
            ));
        };
        self.remember_login(key.clone(), login.clone());
        Ok(login)
    }

    async fn log_in_with_token(
        &self,
        key: &LoginKey,
        request: &Request,
        challenge: &Challenge,
        found: Option<FoundCredential>,
        was_refused: bool,
    ) -> Result<Login> {
        let scope = merge_scopes(&wanted_scope(key), challenge.parameter("scope").unwrap_or_default());
        if let Some(FoundCredential { credential: Credential::Bearer(token), origin }) = &found {
            if was_refused {
                return self.log_in_without(key, request, challenge, scope, origin).await;
            }
            let header = secret_header(&format!("Bearer {token}"))?;
            let origin = Some(origin.clone());
            return Ok(Login { header: Some(header), scope, origin, expires: None, kept: true });
        }
        let realm = realm_of(request, challenge, found.is_some())?;
        let service = challenge.parameter("service").unwrap_or_default();
        let anonymous = token_request(request, &realm, service, &scope, None)?;
        let answer = match &found {
            Some(found) => {
                let with = token_request(request, &realm, service, &scope, Some(&found.credential))?;
                let answer = self.exchange(&with.0, with.1.as_ref()).await?;
                if matches!(answer.status.as_u16(), 400 | 401 | 403) && key.access == Access::Pull {
                    let second = self.exchange(&anonymous.0, None).await?;
                    if second.status.is_success() {
                        self.note_refusal(&key.host, &found.origin);
                    }
                    if second.status.is_success() { second } else { answer }
                } else {
                    answer
                }
            }
            None => self.exchange(&anonymous.0, None).await?,
        };
        let origin = found.map(|found| found.origin);
        token_login(&realm, request, &answer, scope, origin)
    }
}

impl Client {
    /// Returns an anonymous token after a stored token was refused.
    async fn log_in_without(
        &self,
        key: &LoginKey,
        request: &Request,
        challenge: &Challenge,
        scope: String,
        origin: &str,
    ) -> Result<Login> {
        let realm = realm_of(request, challenge, false)?;
        let service = challenge.parameter("service").unwrap_or_default();
        let anonymous = token_request(request, &realm, service, &scope, None)?;
        let answer = self.exchange(&anonymous.0, None).await?;
        if answer.status.is_success() {
            self.note_refusal(&key.host, origin);
        }
        token_login(&realm, request, &answer, scope, Some(origin.to_owned()))
    }

    fn note_refusal(&self, host: &str, origin: &str) {
        self.observer()
            .note(&format!("{host} refused the credentials from {origin}: continuing without them"));
    }
}

/// Returns whether another login could help after a refusal: a stored token may have expired, and reading may
/// need no token.
pub(super) fn may_go_without(key: &LoginKey, login: &Login) -> bool {
    login.kept && key.access == Access::Pull
}

/// Returns whether another login could help after a refusal: the registry may have requested a new scope.
pub(super) fn wants_more(login: &Login, refusal: &Answer) -> bool {
    let asked = refusal
        .headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(challenge::parse)
        .find_map(|challenge| challenge.parameter("scope").map(str::to_owned));
    asked.is_some_and(|asked| merge_scopes(&login.scope, &asked) != login.scope)
}

/// Returns the failure for a 401 if no login helps.
pub(super) fn unauthorized(host: &str, request: &Request, refusal: &Answer, origin: Option<&str>) -> Error {
    let tried = match origin {
        Some(origin) => format!("the credentials from {origin} were not accepted"),
        None => "no credentials were found".to_owned(),
    };
    let said = error_text(refusal);
    let detail = if said.is_empty() { tried } else { format!("{tried}: {said}") };
    Error::Unauthorized { host: host.to_owned(), action: request.action.clone(), detail, offers_login: true }
}

/// Returns the failure for a 401 that offers no way to log in, or only unsupported ones.
fn no_way(host: &str, request: &Request, refusal: &Answer, challenges: &[Challenge]) -> Error {
    let schemes: Vec<String> = challenges.iter().map(|challenge| challenge.scheme.clone()).collect();
    let way = if schemes.is_empty() {
        "it offers no way to log in".to_owned()
    } else {
        format!("it requires a login by {}, but only basic and bearer are supported", listed(&schemes))
    };
    let said = error_text(refusal);
    let detail = if said.is_empty() { way } else { format!("{way}: {said}") };
    Error::Unauthorized { host: host.to_owned(), action: request.action.clone(), detail, offers_login: false }
}

pub(super) fn refused_login(host: &str, request: &Request, refusal: &Answer, login: Option<&Login>) -> Error {
    unauthorized(host, request, refusal, login.and_then(|login| login.origin.as_deref()))
}

fn basic_login(request: &Request, refusal: &Answer, found: Option<FoundCredential>) -> Result<Login> {
    let Some(FoundCredential { credential, origin }) = found else {
        return Err(unauthorized(&request.registry, request, refusal, None));
    };
    let header = match &credential {
        Credential::Password { username, password } => basic_header(username, password)?,
        Credential::Bearer(token) | Credential::Identity(token) => secret_header(&format!("Bearer {token}"))?,
    };
    let origin = Some(origin);
    Ok(Login { header: Some(header), scope: String::new(), origin, expires: None, kept: false })
}

/// Returns the address of the realm, if it may be used.
fn realm_of(request: &Request, challenge: &Challenge, credentials: bool) -> Result<Url> {
    let text = challenge.parameter("realm").unwrap_or_default();
    let realm = request.url.join(text).map_err(|error| {
        Error::malformed(format!("the token realm of {}", request.registry), error.to_string())
    })?;
    if text.is_empty() {
        return Err(Error::malformed(
            format!("the challenge of {}", request.registry),
            "it does not name a realm",
        ));
    }
    check_realm(&request.url, &realm, credentials).map_err(|reason| Error::Redirect {
        host: request.registry.clone(),
        target: redact::url(&realm),
        reason: reason.to_owned(),
    })?;
    Ok(realm)
}

/// Applies the rule in the module documentation.
fn check_realm(registry: &Url, realm: &Url, credentials: bool) -> std::result::Result<(), &'static str> {
    if realm.scheme() == "https" && realm.host_str().is_some() {
        return Ok(());
    }
    if realm.scheme() != "http" {
        return Err("a token realm must be an HTTP address");
    }
    if registry.scheme() == "https" {
        return Err("a registry that speaks TLS must not ask for tokens from plain HTTP");
    }
    let same = registry.host_str() == realm.host_str();
    if same || (is_loopback(&authority(registry)) && is_loopback(&authority(realm))) || !credentials {
        return Ok(());
    }
    Err("credentials are not sent to another host over plain HTTP")
}

/// Returns the request for a token, and the header with the credentials.
fn token_request(
    request: &Request,
    realm: &Url,
    service: &str,
    scope: &str,
    credential: Option<&Credential>,
) -> Result<(Request, Option<HeaderValue>)> {
    let mut url = realm.clone();
    let mut headers = HeaderMap::new();
    let mut login = None;
    let (method, body) = if let Some(Credential::Identity(token)) = credential {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("service", service)
            .append_pair("client_id", "compat")
            .append_pair("scope", scope)
            .append_pair("refresh_token", token);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        (Method::POST, RequestBody::Bytes(Bytes::from(form.finish())))
    } else {
        if let Some(Credential::Password { username, password }) = credential {
            login = Some(basic_header(username, password)?);
        }
        let mut query = url.query_pairs_mut();
        if !service.is_empty() {
            query.append_pair("service", service);
        }
        for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
            query.append_pair("scope", scope);
        }
        drop(query);
        (Method::GET, RequestBody::Empty)
    };
    let repeat = if method == Method::GET { Repeat::Always } else { Repeat::IfRefused };
    let (action, registry) = (request.action.clone(), request.registry.clone());
    let (limit, secret) = (limit::TOKEN_ANSWER, credential.is_some());
    let tentative = false;
    Ok((Request { method, url, headers, body, repeat, action, limit, registry, secret, tentative }, login))
}

fn token_login(
    realm: &Url,
    request: &Request,
    answer: &Answer,
    scope: String,
    origin: Option<String>,
) -> Result<Login> {
    let host = authority(realm);
    match answer.status.as_u16() {
        200..=299 => {}
        // The error names the registry that requires the login, which may differ from the token service.
        400 | 401 => return Err(unauthorized(&request.registry, request, answer, origin.as_deref())),
        403 => {
            let detail = error_text(answer);
            let login_at = origin.is_none().then(|| request.registry.clone());
            return Err(Error::Denied { host, action: request.action.clone(), detail, login_at });
        }
        status => return Err(status_error(&host, request, answer, status)),
    }
    let malformed = |reason: &str| Error::malformed(format!("the token response of {host}"), reason);
    // The reason of a syntax error is not shown, because it could quote the token.
    let parsed: TokenAnswer =
        serde_json::from_slice(&answer.body).map_err(|_| malformed("it is not the expected JSON"))?;
    let tokens = [parsed.token, parsed.access_token];
    let token = tokens.into_iter().flatten().find(|token| !token.is_empty());
    let token = token.ok_or_else(|| malformed("it has no token"))?;
    let seconds = parsed.expires_in.filter(|seconds| (1.0..1e9).contains(seconds));
    let expires = seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let header = Some(secret_header(&format!("Bearer {token}"))?);
    Ok(Login { header, scope, origin, expires, kept: false })
}

fn basic_header(username: &str, password: &str) -> Result<HeaderValue> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    secret_header(&format!("Basic {encoded}"))
}

fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(text).map_err(|_| {
        Error::malformed(
            AUTHORIZATION.as_str(),
            "a token or password contains characters that are not allowed in a header",
        )
    })?;
    header.set_sensitive(true);
    Ok(header)
}

fn wanted_scope(key: &LoginKey) -> String {
    let own = format!("repository:{}:{}", key.name, key.access.actions());
    match &key.from {
        Some(from) => format!("{own} repository:{from}:{}", Access::Pull.actions()),
        None => own,
    }
}

/// Returns the union of two scopes. Actions on the same resource are combined.
fn merge_scopes(ours: &str, theirs: &str) -> String {
    let mut merged: Vec<(String, Vec<String>)> = Vec::new();
    // A scope without actions (`aws`) is returned unchanged.
    let mut others: Vec<&str> = Vec::new();
    for scope in ours.split(' ').chain(theirs.split(' ')).filter(|scope| !scope.is_empty()) {
        let parts = scope.rsplit_once(':').filter(|(_, actions)| !actions.is_empty());
        let Some((resource, actions)) = parts else {
            if !others.contains(&scope) {
                others.push(scope);
            }
            continue;
        };
        let at = merged.iter().position(|(known, _)| known == resource).unwrap_or_else(|| {
            merged.push((resource.to_owned(), Vec::new()));
            merged.len() - 1
        });
        for action in actions.split(',').filter(|action| !action.is_empty()) {
            if !merged[at].1.iter().any(|known| known == action) {
                merged[at].1.push(action.to_owned());
            }
        }
    }
    let text = |(resource, actions): &(String, Vec<String>)| format!("{resource}:{}", actions.join(","));
    let others = others.into_iter().map(str::to_owned);
    merged.iter().map(text).chain(others).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_asked_once_for_all_that_is_wanted() {
        let merged = merge_scopes("repository:a/b:pull,push", "repository:a/b:pull");
        assert_eq!(merged, "repository:a/b:pull,push");
        let merged = merge_scopes("repository:a/b:pull", "repository:a/b:pull,push repository:c:pull");
        assert_eq!(merged, "repository:a/b:pull,push repository:c:pull");
        assert_eq!(merge_scopes("repository:h:80/a:pull", ""), "repository:h:80/a:pull");
        assert_eq!(merge_scopes("repository:a:pull", "aws"), "repository:a:pull aws");
        assert_eq!(merge_scopes("repository:a:pull aws", "aws x:"), "repository:a:pull aws x:");
    }

    #[test]
    fn tokens_of_every_form_are_understood() {
        for (text, seconds) in [
            (r#"{"expires_in":"300"}"#, Some(300.0)),
            (r#"{"expires_in":300,"issued_at":"2024-01-01T00:00:00Z"}"#, Some(300.0)),
            (r#"{"expires_in":null}"#, None),
            (r#"{"expires_in":"soon"}"#, None),
            (r#"{"expires_in":{}}"#, None),
            ("{}", None),
        ] {
            let answer: TokenAnswer = serde_json::from_str(text).unwrap();
            assert_eq!(answer.expires_in, seconds, "{text}");
        }
    }

    #[test]
    fn credentials_go_to_no_foreign_realm_in_the_clear() {
        let check = |registry: &str, realm: &str, credentials| {
            check_realm(&Url::parse(registry).unwrap(), &Url::parse(realm).unwrap(), credentials).is_ok()
        };
        assert!(check("https://registry-1.docker.io/", "https://auth.docker.io/token", true));
        assert!(!check("https://r/", "http://r/token", false));
        assert!(check("http://localhost:5000/", "http://127.0.0.1:5001/token", true));
        assert!(check("http://r:5000/", "http://r/token", true));
        assert!(!check("http://r:5000/", "http://evil/token", true));
        assert!(check("http://r:5000/", "http://other/token", false));
        assert!(!check("http://localhost/", "http://evil/token", true));
        assert!(!check("http://localhost/", "ftp://localhost/token", false));
    }
}
