//! The grammar of references in registries, `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`, and docker's normalisation
//! of short names (`xz` is `docker.io/library/xz:latest`).
//!
//! Source: `reference.go` and `normalize.go` of the distribution project. `oci_spec::distribution::Reference`
//! is not used because it first compiles a Unicode regular expression. That takes 35 ms, twice as long as the
//! rest of a check of an artifact.

/// The registry of names without a host.
const DEFAULT_HOST: &str = "docker.io";

/// The prefix of the names of official images.
pub(super) const OFFICIAL: &str = "library/";

/// The longest repository name, host included (`NameTotalLengthMax`).
const MAXIMUM_NAME: usize = 255;

/// The parts of a normalised reference. The digest is not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReferenceParts<'a> {
    pub host: &'a str,
    /// The repository's name, without the `library/` of official images.
    pub name: &'a str,
    /// Whether the name must be prefixed with `library/`.
    pub official: bool,
    pub tag: Option<&'a str>,
    pub digest: Option<&'a str>,
}

/// Splits a reference into its parts.
///
/// # Errors
///
/// If the text is invalid. The error describes the fault.
pub(super) fn parse(text: &str) -> Result<ReferenceParts<'_>, String> {
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    let (host, rest) = split_host(named);
    let (name, tag) = match rest.split_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (rest, None),
    };
    check_host(host)?;
    check_name(name)?;
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(format!("{tag:?} is not a tag"));
    }
    let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
    let official = host == DEFAULT_HOST && !name.contains('/');
    let added = if official { OFFICIAL.len() } else { 0 };
    if host.len() + 1 + added + name.len() > MAXIMUM_NAME {
        return Err(format!("the name is longer than {MAXIMUM_NAME} bytes"));
    }
    Ok(ReferenceParts { host, name, official, tag, digest })
}

/// Returns whether a text is a tag (distribution specification, "Pulling manifests").
pub(super) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// Splits off the host: the text before the first slash, if it contains a dot or colon, or is `localhost`.
fn split_host(named: &str) -> (&str, &str) {
    match named.split_once('/') {
        Some((host, rest)) if is_host(host) => (host, rest),
        _ => (DEFAULT_HOST, named),
    }
}

/// Returns whether a reference names its registry. Texts that look like paths or options do not.
pub(super) fn names_host(text: &str) -> bool {
    let is_path = text.starts_with(['/', '.', '~', '-']);
    !is_path && text.split_once('/').is_some_and(|(host, _)| is_host(host))
}

fn is_host(host: &str) -> bool {
    host.contains(['.', ':', '[']) || host == "localhost"
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(format!("{address:?} is not an IPv6 address"));
            }
            (None, if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or(port)) })
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    if let Some(port) = port
        && (port.parse::<u16>().is_err() || port.starts_with('+'))
    {
        return Err(format!("{port} is not a port"));
    }
    match name {
        Some(name) if !name.split('.').all(is_domain_label) => Err(format!("{name:?} is not a host")),
        _ => Ok(()),
    }
}

fn is_domain_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("it does not name a repository".to_owned());
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("the repository's name must be lower case".to_owned());
    }
    match name.split('/').find(|component| !is_path_component(component)) {
        Some(component) => Err(format!("{component:?} is not part of a repository's name")),
        None => Ok(()),
    }
}

/// Returns whether a component is valid: letters and digits, with one dot, one or two underscores, or any
/// number of dashes between them.
fn is_path_component(component: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let bounded = bytes.first().is_some_and(is_letter) && bytes.last().is_some_and(is_letter);
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_separator = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|byte| byte == b'-');
    bounded && separators.into_iter().all(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_separated_as_the_grammar_says() {
        for good in ["a", "a.b", "a_b", "a__b", "a---b", "0", "a-b_c.d"] {
            assert!(is_path_component(good), "{good}");
        }
        for bad in ["", ".a", "a.", "a..b", "a___b", "a._b", "-a", "a b", "ä"] {
            assert!(!is_path_component(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_is_measured_as_it_is_asked_for() {
        let longest = MAXIMUM_NAME - "docker.io/library/".len();
        assert!(parse(&"a".repeat(longest)).is_ok());
        assert!(parse(&"a".repeat(longest + 1)).is_err());
        assert!(parse(&format!("a/{}", "a".repeat(longest + 6))).is_ok());
        assert!(parse(&format!("index.docker.io/{}", "a".repeat(longest))).is_ok());
    }

    #[test]
    fn what_stands_before_the_slash_is_a_host_or_a_name() {
        let host = |text| parse(text).map(|parts| (parts.host, parts.name, parts.official));
        assert_eq!(host("xz"), Ok(("docker.io", "xz", true)));
        assert_eq!(host("org/xz"), Ok(("docker.io", "org/xz", false)));
        assert_eq!(host("a.b/xz"), Ok(("a.b", "xz", false)));
        assert_eq!(host("a:5/xz"), Ok(("a:5", "xz", false)));
        assert_eq!(host("[::1]:5000/xz"), Ok(("[::1]:5000", "xz", false)));
        assert!(host("UPPER/case").unwrap_err().contains("lower case"));
        assert!(host("a:5000000/xz").unwrap_err().contains("not a port"));
        assert!(host("-a.b/xz").unwrap_err().contains("not a host"));
        assert!(host("a.b/").is_err());
    }
}
