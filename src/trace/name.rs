//! Names and paths are bytes. What is valid UTF-8 stands in JSON as a string, anything else as
//! `{"hex": "2f746d702fff"}`: every name comes back as it was.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name, path or argument, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// As text for people; bytes that are none are shown as the replacement character.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Bytes { hex: String },
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Form::Bytes { hex: to_hex(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            Form::Bytes { hex } => {
                from_hex(&hex).map(Self).ok_or_else(|| D::Error::custom("not hexadecimal"))
            }
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_name_comes_back(bytes: Vec<u8>) {
            let name = Name(bytes);
            let json = serde_json::to_string(&name).expect("a name has a form");
            assert_eq!(serde_json::from_str::<Name>(&json).expect("it is read"), name);
        }
    }

    #[test]
    fn text_is_text_and_the_rest_is_hexadecimal() {
        let json = |bytes: &[u8]| serde_json::to_string(&Name::from(bytes)).expect("a name has a form");
        assert_eq!(json("/tmp/ä b\n".as_bytes()), "\"/tmp/ä b\\n\"");
        assert_eq!(json(b"/\xff"), r#"{"hex":"2fff"}"#);
    }
}
