//! The errors of a specification: violations of its JSON schema, and paths of missing objects.

use boon::{Compiler, ErrorKind, Schemas, ValidationError};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use compat_loader::spec::{Specification, schema};

/// One error and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlacedFault {
    /// The place, as a JSON pointer. Empty for the whole document.
    pub place: String,
    /// The error.
    pub message: String,
}

/// Returns every error of a document: violations of the schema, and paths of missing objects.
///
/// # Panics
///
/// Never. The schema is generated from the types, and a test compiles it.
pub(super) fn faults(document: &Value) -> Vec<PlacedFault> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource(schema::IDENTIFIER, schema::specification()).expect("the identifier is a URI");
    let compiled = compiler.compile(schema::IDENTIFIER, &mut schemas).expect("the generated schema is valid");
    let mut faults = Vec::new();
    match schemas.validate(document, compiled) {
        Ok(()) => faults.extend(dangling_names(document)),
        Err(error) => add(&mut faults, document, &error),
    }
    faults
}

/// Adds the faults of an error: the error itself, or the errors that it groups.
fn add(faults: &mut Vec<PlacedFault>, document: &Value, error: &ValidationError<'_, '_>) {
    let place = &error.instance_location;
    // The validator does not report the place of the name, only the part of the schema that rejected it.
    if let ErrorKind::PropertyName { prop } = &error.kind {
        let name = Value::String(prop.clone());
        let (_, place) = error.schema_url.split_once('#').unwrap_or_default();
        let place = place.replace("/properties/", "/");
        faults.extend(
            error
                .causes
                .iter()
                .map(|cause| PlacedFault { place: place.clone(), message: message(&cause.kind, &name) }),
        );
        return;
    }
    let meant = match &error.kind {
        // Among several forms, the intended one is the form with the deepest fault.
        ErrorKind::AnyOf | ErrorKind::OneOf(None) => {
            // If a field can be null, any other value is meant to have the other form.
            let is_meant = |cause: &&ValidationError<'_, '_>| {
                depth(cause) > place.tokens.len() || !matches!(cause.kind, ErrorKind::Type { .. })
            };
            let forms: Vec<_> = error.causes.iter().filter(is_meant).collect();
            let is_only_one = forms.len() == 1;
            let deepest = forms.into_iter().max_by_key(|cause| depth(cause));
            deepest.filter(|cause| is_only_one || depth(cause) > place.tokens.len()).into_iter().collect()
        }
        _ => error.causes.iter().collect::<Vec<_>>(),
    };
    if meant.is_empty() {
        let place = place.to_string();
        let value = document.pointer(&place).unwrap_or(&Value::Null);
        faults.push(PlacedFault { message: message(&error.kind, value), place });
    }
    meant.into_iter().for_each(|cause| add(faults, document, cause));
}

/// Returns the error message for a value.
fn message(kind: &ErrorKind<'_, '_>, value: &Value) -> String {
    match kind {
        ErrorKind::Type { want, .. } => {
            let names: Vec<String> = want.iter().map(|name| format!("\"{name}\"")).collect();
            format!("{value} is not of type {}", names.join(", "))
        }
        ErrorKind::Required { want } if want.len() > 1 => {
            format!("\"{}\" are required properties", want.join("\", \""))
        }
        ErrorKind::Required { want } => format!("\"{}\" is a required property", want.concat()),
        ErrorKind::AnyOf | ErrorKind::OneOf(_) => {
            format!("{value} is not one of the allowed values and forms")
        }
        ErrorKind::Pattern { want, .. } => format!("{value} does not match \"{want}\""),
        other => other.to_string(),
    }
}

/// Returns the depth of the deepest fault of an error in the document.
fn depth(error: &ValidationError<'_, '_>) -> usize {
    let own = error.instance_location.tokens.len();
    error.causes.iter().map(depth).fold(own, usize::max)
}

/// Returns a fault for each subject and recorded relative path that is neither an object nor a script of the
/// document.
fn dangling_names(document: &Value) -> Vec<PlacedFault> {
    let document = match serde_json::from_value::<Specification>(document.clone()) {
        Ok(document) => document,
        // The schema allows `64.0` for an integer, but the reader does not.
        Err(error) => return vec![PlacedFault { place: String::new(), message: error.to_string() }],
    };
    let known =
        |path: &String| document.object(path).is_some() || document.scripts.iter().any(|s| s.path == *path);
    let recorded = document.recorded.iter().flat_map(|recorded| recorded.programs.iter().enumerate());
    let unknown =
        |path: &String| !path.starts_with('/') && !known(path) && !document.links.contains_key(path.as_str());
    let programs = recorded.flat_map(|(index, program)| {
        let libraries = program.libraries.iter().map(|library| &library.path).enumerate();
        let of_library = |number| format!("/recorded/programs/{index}/libraries/{number}/path");
        let places = libraries.map(move |(number, path)| (of_library(number), path)).collect::<Vec<_>>();
        [(format!("/recorded/programs/{index}/path"), &program.path)].into_iter().chain(places)
    });
    let programs = programs.filter(|(_, path)| unknown(path)).map(|(place, path)| PlacedFault {
        place,
        message: format!("the document contains no object or script with the path {path:?}"),
    });
    let programs: Vec<PlacedFault> = programs.collect();
    let subjects = document.subjects.iter().enumerate().filter(|(_, path)| !known(path));
    subjects
        .map(|(index, path)| PlacedFault {
            place: format!("/subjects/{index}"),
            message: format!("the document contains no object or script with the path {path:?}"),
        })
        .chain(programs)
        .collect()
}

#[cfg(test)]
mod tests {
    use compat_loader::spec::attribute;

    use super::*;

    fn places(text: &str) -> Vec<String> {
        let document = serde_json::from_str(text).unwrap();
        faults(&document).into_iter().map(|fault| fault.place).collect()
    }

    #[test]
    fn what_the_program_writes_is_valid() {
        let document = serde_json::to_value(Specification::new()).unwrap();
        assert_eq!(faults(&document), []);
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        assert_eq!(places("[]"), [""]);
        assert_eq!(places(r#"{"attributes": {}}"#), [""]);
        assert_eq!(places(r#"{"version": "1.0"}"#), ["/version"]);
        assert_eq!(places(r#"{"version": "1.0.0", "attributes": {"org.a": 1}}"#), ["/attributes/org.a"]);
        let object = r#"{"path": "a", "kind": "executable", "machine": "x86_64", "class": 31}"#;
        assert_eq!(
            places(&format!(r#"{{"version": "1.0.0", "objects": [{object}]}}"#)),
            ["/objects/0/class"]
        );
        assert_eq!(places(r#"{"version": "1.0.0", "subjects": ["a"]}"#), ["/subjects/0"]);
        let recorded = |path: &str| {
            format!(
                r#"{{"version": "1.0.0", "recorded": {{"runs": 1, "programs": [{{"path": "/a", "seen": 1,
                "libraries": [{{"path": "{path}", "seen": 1}}]}}]}}}}"#
            )
        };
        assert_eq!(places(&recorded("b.so")), ["/recorded/programs/0/libraries/0/path"]);
        assert_eq!(places(&recorded("/b.so")), [""; 0]);
    }

    #[test]
    fn a_fault_behind_an_optional_field_or_in_a_list_of_words_is_named() {
        let shown = |text: &str| {
            let document = serde_json::from_str(text).unwrap();
            let lines =
                faults(&document).into_iter().map(|fault| format!("{}: {}", fault.place, fault.message));
            lines.collect::<Vec<_>>().join("\n")
        };
        let object = |more: &str| {
            format!(r#"{{"version": "1.0.0", "objects": [{{"path": "a", "machine": "x86_64", {more}}}]}}"#)
        };
        insta::assert_snapshot!(shown(&object(r#""kind": "foo", "class": 64"#)), @r#"/objects/0/kind: "foo" is not one of the allowed values and forms"#);
        insta::assert_snapshot!(shown(&object(r#""kind": "executable", "class": 64.0"#)), @r#": invalid type: floating point `64.0`, expected u8"#);
        insta::assert_snapshot!(shown(r#"{"version": "1.0.0", "recorded": 5}"#), @r#"/recorded: 5 is not of type "object""#);
        insta::assert_snapshot!(shown(r#"{"version": "1.0.0", "recorded": {}}"#), @r#"/recorded: "runs" is a required property"#);
        insta::assert_snapshot!(shown(r#"{"version": "1.0.0", "objects": [{}]}"#), @r#"/objects/0: "path", "kind", "machine", "class" are required properties"#);
    }

    #[test]
    fn the_pattern_and_the_function_for_keys_agree() {
        for key in ["org.example.mpi", "io.x", "mpi", "org..mpi", "org.-mpi", "org.mpi-", "a.b_c"] {
            let text = format!(r#"{{"version": "1.0.0", "attributes": {{"{key}": ""}}}}"#);
            assert_eq!(places(&text).is_empty(), attribute::is_key(key), "{key}");
        }
    }
}
