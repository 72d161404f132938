//! The message of a registry, its token service or a proxy about a refusal, as one short line.
//!
//! The specification defines the form `{"errors": [{"code", "message", "detail"}]}` (distribution-spec,
//! "error codes"). In practice there are also bare strings, `null`s, single objects, other names, and HTML
//! pages. Every message is shortened and made safe for display ([`shown`]).

use serde_json::Value;

use super::message::{Answer, Request};
use crate::error::Error;
use crate::format::text::shown;

/// The longest line.
const LONGEST: usize = 300;
/// The longest text in any other form.
const LONGEST_TEXT: usize = 120;
/// The maximum number of errors of one response to show.
const ERRORS: usize = 3;

/// Returns the message about a failure without control characters. It is empty if the response contains no message.
pub(super) fn error_text(answer: &Answer) -> String {
    if let Ok(body) = serde_json::from_slice::<Value>(&answer.body)
        && let Some(text) = of_json(&body)
    {
        return shown(&text, LONGEST);
    }
    let text = String::from_utf8_lossy(&answer.body);
    let html = answer.header("content-type").is_some_and(|kind| kind.contains("html"));
    if html || text.trim_start().to_ascii_lowercase().starts_with("<!doctype html") {
        return page(&text);
    }
    shown(text.trim(), LONGEST_TEXT)
}

/// Returns the failure for a status without a special meaning.
pub(super) fn status_error(host: &str, request: &Request, answer: &Answer, status: u16) -> Error {
    let said = error_text(answer);
    let detail = if said.is_empty() { said } else { format!(": {said}") };
    Error::Status { host: host.to_owned(), action: request.action.clone(), status, detail, retry_after: None }
}

/// Returns the description of an HTML page: its title.
fn page(html: &str) -> String {
    // ASCII lower case keeps the position of every byte.
    let lower = html.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|start| {
        let start = start + lower[start..].find('>')? + 1;
        let end = start + lower[start..].find("</title")?;
        Some(html[start..end].trim())
    });
    match title.filter(|title| !title.is_empty()) {
        Some(title) => format!("an HTML page, \"{}\"", shown(title, LONGEST_TEXT)),
        None => "an HTML page".to_owned(),
    }
}

/// Returns the message in a JSON body, if it has a known form.
fn of_json(body: &Value) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    match &body["errors"] {
        Value::Array(errors) => parts.extend(errors.iter().filter_map(of_error).take(ERRORS)),
        other => parts.extend(of_error(other)),
    }
    if parts.is_empty() {
        // The forms of token services, GitLab, GitHub and proxies.
        let names = ["details", "message", "error_description", "error"];
        parts.extend(names.iter().find_map(|name| text_of(&body[*name])));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn of_error(error: &Value) -> Option<String> {
    if let Some(text) = text_of(error) {
        return Some(text);
    }
    let code = text_of(&error["code"]).unwrap_or_default();
    let message = text_of(&error["message"]).unwrap_or_default();
    let mut text = match (code.is_empty(), message.is_empty()) {
        (false, false) => format!("{code}: {message}"),
        _ => format!("{code}{message}"),
    };
    let detail = text_of(&error["detail"]).or_else(|| text_of(&error["detail"]["message"]));
    if let Some(detail) = detail.filter(|detail| !text.contains(detail.as_str())) {
        text = if text.is_empty() { detail } else { format!("{text} ({detail})") };
    }
    (!text.is_empty()).then_some(text)
}

/// Returns a non-empty text or a number.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(kind: &str, body: &str) -> String {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        let url = url::Url::parse("https://h/").unwrap();
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        error_text(&Answer { status: reqwest::StatusCode::BAD_REQUEST, headers, url, body })
    }

    #[test]
    fn errors_of_every_form_are_understood() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"A","message":"b"}]}"#, "A: b"),
            (r#"{"errors":[{"code":"A","message":null,"detail":{"digest":"x"}}]}"#, "A"),
            (r#"{"errors":[{"code":"A","message":"b","detail":{"message":"c"}}]}"#, "A: b (c)"),
            (r#"{"errors":[{"code":"A","message":"b","detail":"c"}]}"#, "A: b (c)"),
            (r#"{"errors":[{"status":403,"message":"Forbidden"}]}"#, "Forbidden"),
            (r#"{"errors":["quota"]}"#, "quota"),
            (r#"{"errors":{"code":"A","message":"b"}}"#, "A: b"),
            (r#"{"errors":null,"message":"not here"}"#, "not here"),
            (r#"{"errors":[],"details":"wrong"}"#, "wrong"),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, "expired"),
            (r#"{"errors":[{"code":1}]}"#, "1"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            ("plain\u{1b}[2K\nwords", r"plain\u{1b}[2K words"),
            ("", ""),
        ] {
            assert_eq!(said("application/json", body), expected, "{body}");
        }
    }

    #[test]
    fn a_page_is_its_title() {
        let page = "<!DOCTYPE HTML><HTML><head><Title lang=x> 503 \u{1b}[2J Busy </Title></head>";
        assert_eq!(said("text/html; charset=utf-8", page), r#"an HTML page, "503 \u{1b}[2J Busy""#);
        assert_eq!(said("text/plain", "<!doctype html><p>x"), "an HTML page");
        assert_eq!(said("text/html", "<title>"), "an HTML page");
    }

    proptest! {
        #[test]
        fn hostile_bodies_never_panic(body in "\\PC{0,80}|<title>\\PC{0,40}</title>|[{}\\[\\]\":a-zé]{0,60}") {
            let text = said("text/html", &body);
            prop_assert!(!text.contains(char::is_control));
        }
    }
}
