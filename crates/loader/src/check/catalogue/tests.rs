use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::*;
use crate::loader::Reason;

/// Values for the fields of a kind. Each call of [`Samples::value`] fills the fields with these choices.
#[derive(Clone, Copy)]
struct Samples {
    /// The value of every boolean.
    truth: bool,
    /// Whether optional fields and members of lists are present.
    is_full: bool,
    /// The text of every string.
    text: &'static str,
    /// The index of one of several words or forms.
    choice: usize,
}

impl Samples {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for choice in 0..6 {
            for (truth, is_full) in [(false, false), (false, true), (true, false), (true, true)] {
                for text in ["x", "not recorded in the host profile"] {
                    all.push(Self { truth, is_full, text, choice });
                }
            }
        }
        all
    }

    /// Returns a value that the schema allows.
    fn value(self, schema: &Value, root: &Value) -> Value {
        if let Some(place) = schema["$ref"].as_str() {
            let place = root.pointer(&place[1..]).expect("the schema has what it refers to");
            return self.value(place, root);
        }
        if let Some(word) = schema.get("const") {
            return word.clone();
        }
        for several in ["enum", "oneOf", "anyOf"] {
            if let Some(forms) = schema[several].as_array() {
                let form = &forms[self.choice % forms.len()];
                return if several == "enum" { form.clone() } else { self.value(form, root) };
            }
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
        match kind {
            Some("string") => self.text.into(),
            Some("integer") => 1.into(),
            Some("boolean") => self.truth.into(),
            Some("array") if self.is_full => json!([self.value(&schema["items"], root)]),
            Some("array") => json!([]),
            _ => self.object(schema, root).into(),
        }
    }

    fn object(self, schema: &Value, root: &Value) -> Map<String, Value> {
        let mut object = Map::new();
        if schema.get("$ref").is_some() {
            object.extend(
                self.value(&json!({"$ref": schema["$ref"]}), root).as_object().cloned().unwrap_or_default(),
            );
        }
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            if self.is_full || required.contains(&name.as_str()) || field["type"] == "boolean" {
                object.insert(name.clone(), self.value(field, root));
            }
        }
        object
    }
}

/// Returns examples of each kind by the name in a report, made from the schema of the type.
fn samples<T: JsonSchema + serde::de::DeserializeOwned>() -> BTreeMap<String, Vec<T>> {
    let root = schemars::schema_for!(T).to_value();
    let mut found = BTreeMap::new();
    for form in root["oneOf"].as_array().expect("one form a kind") {
        let name = form["properties"]["kind"]["const"].as_str().expect("a kind").to_owned();
        let values = Samples::all().into_iter().map(|samples| {
            let mut value = samples.object(form, &root);
            value.insert("kind".into(), name.clone().into());
            serde_json::from_value(Value::Object(value.clone()))
                .unwrap_or_else(|error| panic!("{error}: {value:?}"))
        });
        found.insert(name.clone(), values.collect());
    }
    found
}

#[test]
fn every_kind_of_a_report_has_an_entry_of_its_own_name() {
    let (problems, remarks) = (samples::<Problem>(), samples::<Remark>());
    for (name, found) in &problems {
        assert!(found.iter().all(|problem| of_problem(problem).name == name), "{name}");
    }
    for (name, found) in &remarks {
        assert!(found.iter().all(|remark| of_remark(remark).name == name), "{name}");
    }
    let kinds: BTreeSet<&str> = problems.keys().chain(remarks.keys()).map(String::as_str).collect();
    let entries: BTreeSet<&str> = all().iter().map(|entry| entry.name).collect();
    assert_eq!(kinds, entries);
    assert_eq!(entries.len(), all().len(), "a name is there twice");
    assert!(all().iter().all(|entry| find(entry.name) == Some(*entry)));
    assert!(all().is_sorted_by_key(|entry| entry.topic));
}

#[test]
fn an_entry_has_the_impacts_that_its_problem_can_have() {
    for (name, found) in samples::<Problem>() {
        let mut impacts: BTreeSet<Impact> = found.iter().map(|problem| problem.effect().into()).collect();
        if name == "script-not-followed" {
            // For an image that runs nothing else.
            impacts.insert(Impact::Undecided);
        }
        let stated: Vec<Impact> = impacts.into_iter().rev().collect();
        assert_eq!(find(&name).map(|entry| entry.impacts), Some(&stated[..]), "{name}");
    }
}

#[test]
fn what_several_impacts_depend_on_is_said() {
    for entry in all() {
        assert!(!entry.impacts.is_empty(), "{}", entry.name);
        assert!(entry.impacts.is_sorted_by(|one, next| one > next), "{}: the worst first", entry.name);
        assert_eq!(entry.depends.is_empty(), entry.impacts.len() == 1, "{}", entry.name);
    }
}

#[test]
fn only_problems_are_shown_by_tree() {
    // These arise from images and specifications, which tree does not accept.
    let of_images = ["host-library-missing", "interpreted", "object-unknown"];
    for name in samples::<Problem>().keys() {
        let shown = if of_images.contains(&&name[..]) { Shown::Check } else { Shown::CheckAndTree };
        assert_eq!(find(name).map(|entry| entry.shown), Some(shown), "{name}");
    }
    for name in samples::<Remark>().keys() {
        assert_eq!(find(name).map(|entry| entry.shown), Some(Shown::Check), "{name}");
    }
}

/// Sentences are short, words are plain, and a summary is one line.
#[test]
fn the_texts_are_plain() {
    for entry in all() {
        let name = entry.name;
        assert!(!entry.summary.ends_with('.') && entry.summary.len() <= 110, "{name}: {}", entry.summary);
        for text in [entry.meaning, entry.example, entry.advice] {
            assert!(text.ends_with(['.', '`']), "{name}: {text}");
        }
        let whole = [entry.meaning, entry.example, entry.advice, entry.depends].join(" ");
        let whole = whole.trim_end();
        let sentences = whole.split(". ").filter(|sentence| !sentence.trim().is_empty()).count();
        let words = whole.split_whitespace().count();
        assert!(words <= 25 * sentences, "{name}: {words} words in {sentences} sentences");
        for word in [" folder", " told ", " tells ", "  "] {
            assert!(!format!(" {whole}").contains(word), "{name}: {word:?}");
        }
    }
}

#[test]
fn the_text_of_what_is_not_recorded_is_that_of_the_samples() {
    assert_eq!(Reason::Unrecorded.to_string(), Samples::all()[1].text);
}
