//! The names of a layer's entries as components below the root, checked for safety.

use crate::error::Fault;
use crate::limit;

/// A path below the root, component by component. Empty for the root itself.
pub(super) type Components = Vec<Box<[u8]>>;

/// The prefix of a whiteout's name (image-spec `layer.md`).
const WHITEOUT: &[u8] = b".wh.";
/// The name of an opaque whiteout.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The prefix of the names of AUFS's metadata, which is not content.
const META: &[u8] = b".wh..wh.";

/// The meaning of an entry's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Content.
    Content,
    /// A whiteout: hides this path in lower layers.
    Hides(Components),
    /// An opaque whiteout: hides the content of this directory in lower layers.
    HidesContent(Components),
    /// No meaning. The entry is ignored.
    None,
}

/// Splits a name, absolute or relative, into components. `..` never leads above the root, as in path resolution
/// for the root itself. It is applied to the text. No link is followed for it.
pub(super) fn components(name: &[u8]) -> Result<Components, Fault> {
    let shown =
        || String::from_utf8_lossy(name).chars().take(100).flat_map(char::escape_debug).collect::<String>();
    if name.len() > limit::PATH {
        return Err(Fault::malformed(format!("a path is longer than {} bytes: {}…", limit::PATH, shown())));
    }
    if name.contains(&0) {
        return Err(Fault::malformed(format!("a path has a NUL byte: {}", shown())));
    }
    let mut components: Components = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            long if long.len() > limit::NAME => {
                let limit = limit::NAME;
                return Err(Fault::malformed(format!("a name is longer than {limit} bytes: {}…", shown())));
            }
            name => components.push(name.into()),
        }
    }
    Ok(components)
}

/// The meaning of an entry with these components.
pub(super) fn meaning(components: &Components) -> Meaning {
    let Some((last, parents)) = components.split_last() else { return Meaning::Content };
    if **last == *OPAQUE {
        return Meaning::HidesContent(parents.to_vec());
    }
    if components.iter().any(|component| component.starts_with(META)) {
        return Meaning::None;
    }
    match last.strip_prefix(WHITEOUT) {
        None => Meaning::Content,
        Some(b"" | b"." | b"..") => Meaning::None,
        Some(name) => {
            let mut hidden = parents.to_vec();
            hidden.push(name.into());
            Meaning::Hides(hidden)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &[u8]) -> String {
        components(name).map_or_else(|fault| fault.to_string(), |path| crate::merge::shown(&path))
    }

    #[test]
    fn names_stay_below_the_root() {
        for name in ["etc/x", "/etc/x", "./etc/x", "../../etc/x", "a/../../etc//./x/", "etc/y/../x"] {
            assert_eq!(shown(name.as_bytes()), "etc/x", "{name}");
        }
        assert_eq!(shown(b"./"), "");
        insta::assert_snapshot!(shown(b"a\0b"), @r"a path has a NUL byte: a\0b");
        assert!(shown(&[b'a'; 256]).starts_with("a name is longer than 255 bytes: aaa"));
        assert!(shown(&b"a/".repeat(2049)).starts_with("a path is longer than 4096 bytes: a/a/"));
    }

    #[test]
    fn whiteouts_of_nothing_and_of_parents_mean_nothing() {
        let meaning = |name: &str| meaning(&components(name.as_bytes()).unwrap());
        let path = |text: &str| components(text.as_bytes()).unwrap();
        assert_eq!(meaning("a/.wh.b"), Meaning::Hides(path("a/b")));
        assert_eq!(meaning("a/.wh..wh..opq"), Meaning::HidesContent(path("a")));
        assert_eq!(meaning(".wh..wh..opq"), Meaning::HidesContent(path("")));
        for name in ["a/.wh.", "a/.wh..", "a/.wh...", "a/.wh..wh.plnk", ".wh..wh.plnk/12.34"] {
            assert_eq!(meaning(name), Meaning::None, "{name}");
        }
        assert_eq!(meaning("a/.wh"), Meaning::Content);
        assert_eq!(meaning("a/.wh.b/c"), Meaning::Content);
    }
}
