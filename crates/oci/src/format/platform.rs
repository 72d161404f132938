//! The platforms of an index, and the choice of one for a host.
//!
//! The names are those of Go (`linux/amd64/v3`), as the image specification requires.

use std::fmt;
use std::str::FromStr;

use compat_sys::Architecture;
use serde::{Deserialize, Serialize};

use super::FormatError;

/// The variants of architectures without a stated variant (image-spec, `image-index.md`, "Platform
/// Variants").
const FIRST_VARIANTS: &[(&str, u32)] = &[("amd64", 1), ("arm64", 8)];

/// Operating system, architecture and variant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Platform {
    /// The operating system, as in `GOOS`.
    #[serde(default)]
    pub os: String,
    /// The architecture, as in `GOARCH`.
    #[serde(default)]
    pub architecture: String,
    /// The architecture's variant (`v7` of arm, `v3` of amd64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Other fields (`os.version`, `os.features`).
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Platform {
    /// Returns the platform of this machine, with the variant of its CPU if known.
    pub fn host() -> Self {
        let little_power = std::env::consts::ARCH == "powerpc64" && cfg!(target_endian = "little");
        let machine = if little_power { "powerpc64le" } else { std::env::consts::ARCH };
        let variant = compat_sys::x86_64_level().map(|level| format!("v{level}"));
        Self { variant, ..Self::of_machine(machine) }
    }

    /// Returns the platform of a Linux machine from its name in `uname -m` or Rust.
    pub fn of_machine(machine: &str) -> Self {
        Self { os: "linux".into(), architecture: go_name(machine).into(), ..Self::default() }
    }

    /// Returns the same platform with a variant.
    #[must_use]
    pub fn with_variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// Reads the platform in the configuration of an image, if there is one (image-spec, `config.md`).
    ///
    /// # Errors
    ///
    /// If the bytes are not JSON.
    pub(crate) fn of_config(bytes: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let config: serde_json::Value = serde_json::from_slice(bytes)?;
        let text = |name: &str| config.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let named = text("os").zip(text("architecture"));
        let variant = text("variant");
        Ok(named.map(|(os, architecture)| Self { os, architecture, variant, ..Self::default() }))
    }

    /// Parses `os/architecture[/variant]`.
    ///
    /// # Errors
    ///
    /// If the text is not a platform ([`FormatError::InvalidPlatform`]).
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let invalid = || FormatError::InvalidPlatform { platform: text.chars().take(100).collect() };
        let part = |part: &str| {
            let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
            let ok = !part.is_empty() && part.bytes().all(valid);
            if ok { Ok(part.to_ascii_lowercase()) } else { Err(invalid()) }
        };
        let mut parts = text.split('/');
        let os = part(parts.next().unwrap_or_default())?;
        let architecture = go_name(&part(parts.next().unwrap_or_default())?).to_owned();
        let variant = parts.next().map(part).transpose()?;
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { os, architecture, variant, ..Self::default() })
    }

    /// Returns how well `self`, a platform of an index, fits `wanted`: `None` if it does not, otherwise
    /// higher is better.
    pub fn suits(&self, wanted: &Self) -> Option<u32> {
        if self.os != wanted.os || go_name(&self.architecture) != wanted.architecture {
            return None;
        }
        let (own, limit) = (self.level(), wanted.level());
        match (own, limit) {
            // On arm and amd64, each level runs code for the lower levels.
            (Some(own), Some(limit)) if own <= limit => Some(10 + own),
            (Some(_), Some(_)) => None,
            // The level of the host is unknown, so the lowest is the safe choice.
            (Some(own), None) => Some(10_u32.saturating_sub(own)),
            (None, None) if self.variant == wanted.variant => Some(100),
            (None, _) => wanted.variant.is_none().then_some(1),
        }
    }

    /// Returns the variant as a number that orders the variants of the architecture. No variant means the
    /// first one.
    fn level(&self) -> Option<u32> {
        match &self.variant {
            None => {
                let name = go_name(&self.architecture);
                FIRST_VARIANTS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
            }
            Some(variant) => variant.strip_prefix('v').and_then(|level| {
                level.split('.').next().and_then(|level| level.parse().ok()).filter(|level| *level < 100)
            }),
        }
    }
}

/// Returns the `GOARCH` name of an architecture from any of its names.
fn go_name(name: &str) -> &str {
    Architecture::named(name).map_or(name, |architecture| architecture.go)
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best<'a>(offered: &[&'a str], wanted: &str) -> Option<&'a str> {
        let wanted = Platform::parse(wanted).unwrap();
        let suits = |text: &&str| Platform::parse(text).unwrap().suits(&wanted);
        offered
            .iter()
            .filter_map(|text| Some((suits(text)?, *text)))
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, text)| text)
    }

    #[test]
    fn the_highest_level_not_above_the_host_is_chosen() {
        let offered = ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/arm64"];
        assert_eq!(best(&offered, "linux/amd64/v4"), Some("linux/amd64/v3"));
        assert_eq!(best(&offered, "linux/amd64/v2"), Some("linux/amd64/v2"));
        assert_eq!(best(&offered, "linux/amd64"), Some("linux/amd64"));
        assert_eq!(best(&offered, "linux/arm64/v8"), Some("linux/arm64"));
        assert_eq!(best(&offered, "linux/s390x"), None);
        assert_eq!(best(&["linux/amd64/v3"], "linux/amd64"), None);
    }

    #[test]
    fn arm_runs_what_was_built_for_older_arm() {
        let offered = ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"];
        assert_eq!(best(&offered, "linux/arm/v6"), Some("linux/arm/v6"));
        assert_eq!(best(&offered, "linux/arm"), Some("linux/arm/v5"));
    }

    #[test]
    fn a_configuration_states_a_platform_or_none() {
        let of = |text: &str| Platform::of_config(text.as_bytes());
        let platform = of(r#"{"os":"linux","architecture":"arm","variant":"v7","config":{}}"#).unwrap();
        assert_eq!(platform, Some(Platform::parse("linux/arm/v7").unwrap()));
        let platform = of(r#"{"os":"linux","architecture":"amd64","variant":""}"#).unwrap();
        assert_eq!(platform, Some(Platform::parse("linux/amd64").unwrap()));
        for text in ["{}", "null", r#"{"os":"linux"}"#, r#"{"os":null,"architecture":""}"#] {
            assert_eq!(of(text).unwrap(), None, "{text}");
        }
        assert!(of("<html>").is_err());
    }

    #[test]
    fn a_platform_is_two_or_three_words() {
        assert_eq!(Platform::parse("linux/x86_64/v3").unwrap().to_string(), "linux/amd64/v3");
        assert_eq!(Platform::parse("linux/loongarch64").unwrap(), Platform::of_machine("loongarch64"));
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }
}
