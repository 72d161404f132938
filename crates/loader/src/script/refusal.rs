//! Why the first line of a script starts nothing.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// Why the first line of a script starts nothing. A document has its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// What `env`, or the shell, prints of its argument, or would have to say.
    Words(String),
    /// `env` takes the path of the script for the value of this option, and nothing is left to be started.
    ScriptIsValue(String),
    /// `env` starts the script again, and that `env` once more. Nothing is printed.
    Endless,
}

const ENDLESS: &str = "env starts the script itself again, without an end";
const SCRIPT_IS_VALUE: &str = "env: the script itself becomes the value of ";

impl Refusal {
    /// Whether something is printed when the script is started.
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
        // What a script names decides nothing.
        assert!(Refusal::from("env: cannot change directory to 'the script itself'").is_printed());
    }
}
