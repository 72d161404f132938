//! Content digests as OCI writes them: `algorithm:hex` (image-spec, `descriptor.md`).
//!
//! Only the registered algorithms are supported (sha256, sha384, sha512), and only lower-case hex of the
//! right length is valid. A [`Digest`] can therefore be used as a file name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A valid content digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: {reason}")]
pub struct InvalidDigest {
    text: String,
    reason: &'static str,
}

/// The supported algorithms with the length of their hex.
const ALGORITHMS: &[(&str, usize)] = &[("sha256", 64), ("sha384", 96), ("sha512", 128)];

impl Digest {
    /// Parses `algorithm:hex`.
    ///
    /// # Errors
    ///
    /// If the algorithm is unknown or the hex is not lower-case hex of its length.
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = |reason| InvalidDigest { text: text.chars().take(160).collect(), reason };
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| invalid("it has no algorithm"))?;
        let (_, length) = ALGORITHMS
            .iter()
            .find(|(name, _)| *name == algorithm)
            .ok_or_else(|| invalid("the algorithm is not sha256, sha384 or sha512"))?;
        if hex.len() != *length || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid(
                "the algorithm must be followed by the right number of lower-case hex digits",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the sha256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::Sha256(Sha256::new());
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the name of the algorithm.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// Returns the hex digits.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// Returns the digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the digest for display, shortened but distinguishable.
    pub fn short(&self) -> String {
        format!("{}:{}", self.algorithm(), &self.hex()[..12])
    }

    /// Returns a hasher for this digest's algorithm.
    pub fn hasher(&self) -> Hasher {
        match self.algorithm() {
            "sha512" => Hasher::Sha512(Sha512::new()),
            "sha384" => Hasher::Sha384(Sha384::new()),
            _ => Hasher::Sha256(Sha256::new()),
        }
    }

    /// Returns the digest of `bytes` in this digest's algorithm.
    pub(crate) fn same_algorithm_of(&self, bytes: &[u8]) -> Self {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the tag under which registries without a referrers API keep the referrers of this digest
    /// (distribution-spec, "referrers tag schema").
    pub(crate) fn fallback_tag(&self) -> String {
        let (algorithm, hex) = (self.algorithm(), self.hex());
        format!("{algorithm}-{}", &hex[..hex.len().min(64)])
    }
}

/// Returns whether a tag has the form of [`Digest::fallback_tag`].
pub(crate) fn is_fallback_tag(tag: &str) -> bool {
    let Some((algorithm, hex)) = tag.split_once('-') else { return false };
    ALGORITHMS.iter().any(|(name, _)| *name == algorithm)
        && hex.len() == 64
        && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A hash in progress.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-384.
    Sha384(Sha384),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Adds bytes to the hash.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of all added bytes.
    pub fn finish(self) -> Digest {
        let (name, bytes) = match self {
            Self::Sha256(hasher) => ("sha256", hasher.finalize().to_vec()),
            Self::Sha384(hasher) => ("sha384", hasher.finalize().to_vec()),
            Self::Sha512(hasher) => ("sha512", hasher.finalize().to_vec()),
        };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Digest(format!("{name}:{hex}"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
    }

    #[test]
    fn a_digest_that_could_be_a_path_is_refused() {
        for text in ["", "sha256", "sha256:", "sha256:../../etc/passwd", "md5:00", &EMPTY.to_uppercase()] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
        assert!(Digest::parse(&EMPTY.replace("e3b0", "E3B0")).is_err());
    }

    #[test]
    fn another_algorithm_is_verified_with_itself() {
        let digest = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap();
        assert_eq!(digest.same_algorithm_of(b"x").algorithm(), "sha512");
        assert_eq!(digest.fallback_tag(), format!("sha512-{}", "0".repeat(64)));
    }
}
