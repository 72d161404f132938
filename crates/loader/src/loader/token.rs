//! Dynamic string tokens: `$ORIGIN`, `$LIB`, `$PLATFORM` (ld.so(8), "Dynamic string tokens").

use crate::host::MAXIMUM_PATH;

/// The values of the tokens for one object.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// The directory of the object.
    pub origin: &'a str,
    /// `lib`, `lib64` or `lib/<triplet>`.
    pub lib: &'a str,
    /// The kind of CPU.
    pub platform: &'a str,
}

impl Tokens<'_> {
    /// Replaces the tokens in `text`, in both forms (`$NAME`, `${NAME}`). Unknown tokens stay unchanged.
    pub fn expand(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        // The kernel refuses a longer path, and every token may be replaced by as much again.
        while expanded.len() < MAXIMUM_PATH
            && let Some(at) = rest.find('$')
        {
            expanded.push_str(&rest[..at]);
            let tail = &rest[at..];
            match self.token(tail) {
                Some((value, length)) => {
                    expanded.push_str(value);
                    rest = &tail[length..];
                }
                None => {
                    expanded.push('$');
                    rest = &tail[1..];
                }
            }
        }
        expanded.push_str(rest);
        expanded
    }

    /// Returns the value of the token at the start of `text`, and the token's length.
    fn token(&self, text: &str) -> Option<(&str, usize)> {
        let known = [("ORIGIN", self.origin), ("LIB", self.lib), ("PLATFORM", self.platform)];
        known.into_iter().find_map(|(name, value)| {
            let braced =
                text.strip_prefix("${").and_then(|t| t.strip_prefix(name)).and_then(|t| t.strip_prefix('}'));
            let plain = || {
                text.strip_prefix('$')
                    .and_then(|t| t.strip_prefix(name))
                    .filter(|t| !t.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
            };
            let rest = braced.or_else(plain)?;
            Some((value, text.len() - rest.len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_replaced_in_both_forms_and_others_stay() {
        let tokens = Tokens { origin: "/opt/app/bin", lib: "lib64", platform: "x86_64" };
        assert_eq!(tokens.expand("$ORIGIN/../lib"), "/opt/app/bin/../lib");
        assert_eq!(tokens.expand("/a/${LIB}/${PLATFORM}x$LIB"), "/a/lib64/x86_64xlib64");
        assert_eq!(tokens.expand("$ORIGINAL/$OTHER/$"), "$ORIGINAL/$OTHER/$");
        assert_eq!(tokens.expand("${ORIGIN"), "${ORIGIN");
    }
}
