//! Names and paths as bytes. In JSON, valid UTF-8 is a string, and other bytes are `{"hex": "2f746d702fff"}`. Every
//! name is preserved exactly.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name, path or argument, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// The name as text for people. Invalid UTF-8 is shown as the replacement character.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut form = serializer.serialize_struct("Name", 1)?;
                form.serialize_field("hex", &to_hex(&self.0))?;
                form.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameVisitor)
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Text, or bytes in hexadecimal if they are not valid UTF-8.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": {
                        "hex": {
                            // A documented field hides the description above.
                            "description": "The bytes in hexadecimal, if they are not valid UTF-8.",
                            "type": "string",
                            "pattern": "^([0-9a-f]{2})*$",
                        },
                    },
                    "required": ["hex"],
                }
            ]
        })
    }
}

/// Reads either form directly. An untagged enum would buffer each value first.
struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
        Ok(Name(text.as_bytes().to_vec()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Name, E> {
        Ok(Name(text.into_bytes()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Name, A::Error> {
        let mut name = None;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "hex" {
                let text: String = map.next_value()?;
                let bytes = from_hex(text.as_bytes()).ok_or_else(|| de::Error::custom("not hexadecimal"))?;
                name = Some(Name(bytes));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        name.ok_or_else(|| de::Error::missing_field("hex"))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
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

    #[test]
    fn what_is_neither_form_is_refused() {
        for text in [r#"{"hex":"2"}"#, r#"{"hex":"+f"}"#, r#"{"hex":"ä"}"#, "{}", "7", "null", r#"{"hex":7}"#]
        {
            assert!(serde_json::from_str::<Name>(text).is_err(), "{text}");
        }
        let name: Name = serde_json::from_str(r#"{"new":[1],"hex":"2Fff"}"#).expect("other keys are ignored");
        assert_eq!(name.0, b"/\xff");
    }
}
