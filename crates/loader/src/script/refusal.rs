//! Reasons for a script's first line to start nothing.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// Why the first line of a script starts nothing. Documents contain its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The message of `env` or the shell about its argument, or an equivalent text.
    Words(String),
    /// `env` uses the path of the script as the value of this option, so nothing is left to start.
    ScriptIsValue(String),
    /// `env` starts the script again, which runs `env` again, endlessly. Nothing is printed.
    Endless,
}

const ENDLESS: &str = "env starts the script itself again, without an end";
const SCRIPT_IS_VALUE: &str = "env: the script itself becomes the value of ";

impl Refusal {
    /// Whether a message is printed when the script is started.
    pub fn is_printed(&self) -> bool {
        matches!(self, Self::Words(_))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => formatter.write_str(words),
            Self::ScriptIsValue(option) => write!(formatter, "{SCRIPT_IS_VALUE}{option}"),
            Self::Endless => formatter.write_str(ENDLESS),
        }
    }
}

impl From<String> for Refusal {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<&str> for Refusal {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

impl<'de> Deserialize<'de> for Refusal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = String::deserialize(deserializer)?;
        Ok(match words.strip_prefix(SCRIPT_IS_VALUE) {
            Some(option) => Self::ScriptIsValue(option.to_owned()),
            None if words == ENDLESS => Self::Endless,
            None => Self::Words(words),
        })
    }
}

written_as_text!(Refusal);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_its_text_in_a_report_and_its_type_again_when_read() {
        for refusal in [
            Refusal::Endless,
            Refusal::ScriptIsValue("-- 'C'".to_owned()),
            Refusal::from("env: cannot change directory to 'the script itself'"),
        ] {
            let text = serde_json::to_string(&refusal).unwrap();
            assert_eq!(text, format!("\"{refusal}\""));
            assert_eq!(serde_json::from_str::<Refusal>(&text).unwrap(), refusal);
        }
        // A name in the script does not affect the type.
        assert!(Refusal::from("env: cannot change directory to 'the script itself'").is_printed());
    }
}
