//! The JSON schema of the document, generated from its types.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::spec::{Specification, attribute};

/// The identifier of the schema of major version 1.
pub const IDENTIFIER: &str = "urn:compatlib:schema:specification:1";

/// Returns the schema of a type as JSON (draft 2020-12), with the given identifier.
pub fn of<T: JsonSchema>(identifier: &str) -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), identifier.into());
    schema.to_value()
}

/// Returns the schema of a type that is only written, as JSON (draft 2020-12). A field that may be left out is
/// not required.
pub fn of_output<T: JsonSchema>(identifier: &str) -> Value {
    let settings = schemars::generate::SchemaSettings::default().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), identifier.into());
    schema.to_value()
}

/// Returns the schema of the specification.
pub fn specification() -> Value {
    of::<Specification>(IDENTIFIER)
}

pub(super) fn attributes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": attribute::KEY_PATTERN },
        "additionalProperties": { "type": "string" }
    })
}

pub(super) fn class(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "enum": [32, 64] })
}
