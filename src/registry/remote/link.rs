//! The `Link` header of a paged listing (RFC 8288): the target of `rel="next"`.

use url::Url;

/// The next page's address, resolved against the page it came from. Only one on the same host is
/// an answer: a listing does not send its readers elsewhere.
pub fn next(header: &str, page: &Url) -> Option<Url> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let (target, after) = rest[start + 1..].split_once('>')?;
        let parameters = after.split_once('<').map_or(after, |(parameters, _)| parameters);
        if has_next(parameters) {
            let url = page.join(target.trim()).ok()?;
            return (url.origin() == page.origin()).then_some(url);
        }
        rest = after;
    }
    None
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

    fn next_of(header: &str) -> Option<String> {
        next(header, &Url::parse("https://h:5000/v2/a/tags/list?n=1").unwrap()).map(Into::into)
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
        assert_eq!(next_of("<https://evil/z>; rel=\"next\""), None);
        assert_eq!(next_of("<http://h:5000/z>; rel=\"next\""), None);
        assert_eq!(next_of("</z>; rel=\"last\""), None);
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(header in "[<>;=,\"a-z:/é ]{0,60}") {
            let _ = next_of(&header);
        }
    }
}
