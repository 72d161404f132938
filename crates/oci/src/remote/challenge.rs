//! `WWW-Authenticate` challenges (RFC 9110, section 11.6.1). One or several headers may contain several
//! challenges, with tokens and quoted strings.

use std::collections::BTreeMap;

/// One challenge: a scheme and its parameters, both in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `basic`, `bearer`, …
    pub scheme: String,
    /// The parameters: `realm`, `service`, `scope`, `error`, …
    pub parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// Returns the value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// Parses the value of one header. Parsing stops at the first invalid part and returns the challenges before
/// it.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut scanner = Scanner { rest: header };
    loop {
        scanner.skip(|character| character == ',' || character.is_whitespace());
        let Some(word) = scanner.token() else { return challenges };
        scanner.skip(char::is_whitespace);
        // `name=` belongs to the previous challenge, anything else is the next scheme. No registry uses a
        // value without `=` after a scheme (token68).
        if scanner.take('=') {
            scanner.skip(char::is_whitespace);
            let Some(value) = scanner.value() else { return challenges };
            if let Some(challenge) = challenges.last_mut() {
                challenge.parameters.entry(word.to_ascii_lowercase()).or_insert(value);
            }
        } else {
            challenges.push(Challenge { scheme: word.to_ascii_lowercase(), ..Challenge::default() });
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn skip(&mut self, which: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(which);
    }

    fn take(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|character: char| {
                !(character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(character))
            })
            .unwrap_or(self.rest.len());
        if end == 0 {
            return None;
        }
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(token.to_owned())
    }

    fn value(&mut self) -> Option<String> {
        if !self.take('"') {
            return self.token();
        }
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn several_challenges_in_one_header_are_told_apart() {
        let challenges = parse(
            "Basic realm=\"a, b=\\\"c\\\"\", Bearer realm=\"https://auth/token\",service=reg,scope=\"repository:a/b:pull,push\"",
        );
        assert_eq!(challenges.len(), 2);
        assert_eq!(challenges[0].parameter("realm"), Some("a, b=\"c\""));
        assert_eq!(challenges[1].scheme, "bearer");
        assert_eq!(challenges[1].parameter("service"), Some("reg"));
        assert_eq!(challenges[1].parameter("scope"), Some("repository:a/b:pull,push"));
    }

    #[test]
    fn what_is_cut_short_gives_what_came_before() {
        assert_eq!(parse("Bearer realm=\"https://a").len(), 1);
        assert_eq!(parse("").len(), 0);
        assert_eq!(parse("Negotiate, Basic realm=x")[1].parameter("realm"), Some("x"));
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(header in "[a-zA-Z=\",\\\\ é(){}]{0,60}|\\PC{0,60}") {
            let _ = parse(&header);
        }
    }
}
