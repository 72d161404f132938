//! Needed versions against the objects that are to provide them.
//!
//! Source: `_dl_check_map_versions` and `match_symbol` in glibc's `elf/dl-version.c`.

use crate::host::DynamicLoader;
use crate::loader::{Facts, Load, LoadedObject, Problem};

/// The version by which a libc declares that it applies packed relocations (glibc 2.36).
const RELR_MARKER: &str = "GLIBC_ABI_DT_RELR";

/// Adds the version problems of every loaded object.
pub(super) fn check(load: &mut Load, loader: &DynamicLoader) {
    let mut problems = Vec::new();
    for object in &load.objects {
        let mut names_libc = false;
        let mut declares = false;
        for (library, versions) in &object.facts.version_needs {
            names_libc |= library.starts_with("libc.so.");
            declares |= versions.iter().any(|(version, _)| version == RELR_MARKER);
            if let Some(provider) = provider(load, library) {
                problems.extend(unsatisfied(object, library, versions, provider));
            }
        }
        if object.facts.flags.relr && !loader.knows_relr {
            problems.push(Problem::RelrUnknown { object: object.shown.clone() });
        } else if object.facts.flags.relr && loader.knows_relr && names_libc && !declares {
            problems.extend(undeclared(load, object));
        }
    }
    load.problems.extend(problems);
}

/// The loaded object that goes by the name of a library.
fn provider<'a>(load: &'a Load, library: &str) -> Option<&'a LoadedObject> {
    load.objects.iter().find(|object| object.goes_by(library))
}

fn unsatisfied(
    object: &LoadedObject,
    library: &str,
    versions: &[(String, bool)],
    provider: &LoadedObject,
) -> Vec<Problem> {
    let (path, wanted_by) = (provider.shown.clone(), object.shown.clone());
    let library = library.to_owned();
    let Some(defined) = &provider.facts.version_definitions else {
        return vec![Problem::VersionUnknown { library, path, wanted_by }];
    };
    let is_missing = |(version, weak): &&(String, bool)| !weak && !defined.contains(version);
    let missing = versions.iter().filter(is_missing);
    missing
        .map(|(version, _)| Problem::VersionMissing {
            library: library.clone(),
            path: path.clone(),
            version: version.clone(),
            wanted_by: wanted_by.clone(),
            highest: highest_of_family(&provider.facts, version),
        })
        .collect()
}

fn undeclared(load: &Load, object: &LoadedObject) -> Option<Problem> {
    let libc = provider(load, "libc.so.6")?;
    Some(Problem::RelrUndeclared {
        library: "libc.so.6".to_owned(),
        path: libc.shown.clone(),
        wanted_by: object.shown.clone(),
    })
}

/// The newest defined version that differs from `version` only in its numbers.
fn highest_of_family(provider: &Facts, version: &str) -> Option<String> {
    let (family, _) = split_numbers(version)?;
    let defined = provider.version_definitions.iter().flatten();
    let same_family = defined.filter_map(|name| {
        let (other, numbers) = split_numbers(name)?;
        (other == family).then_some((numbers, name))
    });
    same_family.max().map(|(_, name)| name.clone())
}

/// `GLIBC_2.2.5` into `GLIBC_` and its numbers. `None` for a name without numbers at its end.
fn split_numbers(version: &str) -> Option<(&str, Vec<u64>)> {
    let start = version.rfind(|c: char| !c.is_ascii_digit() && c != '.').map_or(0, |at| at + 1);
    let (family, numbers) = version.split_at(start);
    let numbers: Option<Vec<u64>> = numbers.split('.').map(|number| number.parse().ok()).collect();
    Some((family, numbers?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(split_numbers("GLIBC_2.2.5"), Some(("GLIBC_", vec![2, 2, 5])));
        assert!(split_numbers("GLIBC_2.9") < split_numbers("GLIBC_2.10"));
        assert_eq!(split_numbers("GLIBC_PRIVATE"), None);
        assert_eq!(split_numbers("OPENSSL_3.0.0").unwrap().0, "OPENSSL_");
    }
}
