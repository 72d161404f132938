//! The `Link` header of a paged listing (RFC 8288): the target of `rel="next"`.

use reqwest::header::{HeaderMap, LINK};
use url::Url;

/// Returns the address of the next page, resolved against the current page, or `None` if no header names one.
///
/// A listing never leads to another host. A registry behind a proxy may state another origin because it does
/// not know its public name. Only the path and query of the address are used.
pub fn next(headers: &HeaderMap, page: &Url) -> Result<Option<Url>, String> {
    for value in headers.get_all(LINK) {
        if let Some(target) = target_of(&String::from_utf8_lossy(value.as_bytes()))? {
            let fault = |reason: &str| format!("the address of its next page is invalid: {reason}");
            let url = page.join(target.trim()).map_err(|error| fault(&error.to_string()))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(fault("it is not an HTTP address"));
            }
            // Not joined, because a path that begins with two slashes would name another host.
            let mut own = page.clone();
            own.set_path(url.path());
            own.set_query(url.query());
            own.set_fragment(None);
            return Ok(Some(own));
        }
    }
    Ok(None)
}

/// Returns the target of `rel="next"` in one header.
fn target_of(header: &str) -> Result<Option<String>, String> {
    if !header.contains('<') {
        return Ok(bare_target_of(header));
    }
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let Some((target, after)) = rest[start + 1..].split_once('>') else {
            return Err("its Link header is incomplete".to_owned());
        };
        let parameters = after.split_once('<').map_or(after, |(parameters, _)| parameters);
        if has_next(parameters) {
            return Ok(Some(target.to_owned()));
        }
        rest = after;
    }
    Ok(None)
}

/// Returns the target of a header without angle brackets, which some registries write: `/v2/a?last=b;
/// rel="next"`.
fn bare_target_of(header: &str) -> Option<String> {
    let (target, parameters) = header.split_once(';')?;
    let target = target.trim().trim_matches('"');
    (!target.is_empty() && has_next(parameters)).then(|| target.to_owned())
}

fn has_next(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel")
            && value.split_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page() -> Url {
        Url::parse("https://h:5000/v2/a/tags/list?n=1").unwrap()
    }

    fn next_in(headers: &[&str]) -> Result<Option<String>, String> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(LINK, reqwest::header::HeaderValue::from_bytes(header.as_bytes()).unwrap());
        }
        next(&map, &page()).map(|url| url.map(Into::into))
    }

    fn next_of(header: &str) -> Option<String> {
        next_in(&[header]).unwrap()
    }

    #[test]
    fn a_path_with_two_slashes_leads_to_no_other_host() {
        let next = next_of("<https://proxy//evil.example/v2/x?n=1#f>; rel=\"next\"").unwrap();
        assert_eq!(next, "https://h:5000//evil.example/v2/x?n=1");
    }

    #[test]
    fn relative_and_absolute_targets_are_followed_on_the_same_host() {
        assert_eq!(
            next_of("</v2/a/x?last=b&n=1>; rel=\"next\"").unwrap(),
            "https://h:5000/v2/a/x?last=b&n=1"
        );
        assert_eq!(next_of("<?last=b>; rel=next").unwrap(), "https://h:5000/v2/a/tags/list?last=b");
        assert_eq!(
            next_of("<https://h:5000/y>;rel=\"prev\", <https://h:5000/z>; rel=\"next\"").unwrap(),
            "https://h:5000/z"
        );
        assert_eq!(next_of("</z>; rel=\"last\""), None);
    }

    #[test]
    fn a_target_without_angle_brackets_is_followed() {
        let next = "https://h:5000/v2/a/x?last=b&n=1";
        assert_eq!(next_of("/v2/a/x?last=b&n=1; rel=\"next\"").as_deref(), Some(next));
        assert_eq!(next_of("http://internal/v2/a/x?last=b&n=1;rel=next").as_deref(), Some(next));
        assert_eq!(next_of("/v2/a/x; rel=\"last\""), None);
        assert_eq!(next_of("; rel=next"), None);
        assert_eq!(next_of("/v2/a/x"), None);
    }

    #[test]
    fn another_spelling_of_the_host_is_not_the_end_of_the_listing() {
        for origin in ["https://elsewhere", "http://h:5000", "http://127.0.0.1", "//h"] {
            let next = next_of(&format!("<{origin}/v2/z?last=b>; rel=\"next\""));
            assert_eq!(next.as_deref(), Some("https://h:5000/v2/z?last=b"), "{origin}");
        }
        let second = next_in(&["</a>; rel=\"first\"", "</b>; rel=\"next\""]).unwrap();
        assert_eq!(second.as_deref(), Some("https://h:5000/b"));
    }

    #[test]
    fn a_next_page_that_cannot_be_reached_is_an_error() {
        assert!(next_in(&["<http://[>; rel=\"next\""]).is_err());
        assert!(next_in(&["<mailto:a>; rel=\"next\""]).is_err());
        assert!(next_in(&["</z; rel=\"next\""]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(header in "[<>;=,\"a-z:/é ]{0,60}") {
            let _ = next_in(&[&header]);
        }
    }
}
