//! Needed versions against the objects that are to provide them.
//!
//! Source: `_dl_check_map_versions` and `match_symbol` in glibc's `elf/dl-version.c`.

use std::collections::{HashMap, HashSet};

use crate::host::DynamicLoader;
use crate::loader::{Load, LoadedObject, Problem};

/// The version by which a libc declares that it applies packed relocations (glibc 2.36).
const RELR_MARKER: &str = "GLIBC_ABI_DT_RELR";

/// Adds the version problems of every loaded object.
pub(super) fn check(load: &mut Load, loader: &DynamicLoader) {
    let mut problems = Vec::new();
    let mut providers = Providers::of(load);
    for object in &load.objects {
        let mut names_libc = false;
        let mut declares = false;
        for (library, versions) in &object.facts.version_needs {
            names_libc |= library.starts_with("libc.so.");
            declares |= versions.iter().any(|(version, _)| version == RELR_MARKER);
            if let Some(provider) = providers.by_name.get(library.as_str()).copied() {
                problems.extend(providers.unsatisfied(object, library, versions, provider));
            }
        }
        if object.facts.flags.relr && !loader.knows_relr {
            problems.push(Problem::RelrUnknown { object: object.shown.clone() });
        } else if object.facts.flags.relr && loader.knows_relr && names_libc && !declares {
            problems.extend(providers.undeclared(object));
        }
    }
    load.problems.extend(problems);
}

/// The loaded objects and what they define.
struct Providers<'a> {
    objects: &'a [LoadedObject],
    by_name: HashMap<&'a str, usize>,
    defined: HashMap<usize, Defined<'a>>,
}

/// The versions that one object defines.
struct Defined<'a> {
    names: HashSet<&'a str>,
    /// The newest version of each family; filled when a version is missing.
    newest: Option<HashMap<&'a str, (Vec<u64>, &'a str)>>,
}

impl<'a> Providers<'a> {
    fn of(load: &'a Load) -> Self {
        Self { objects: &load.objects, by_name: load.by_name(), defined: HashMap::new() }
    }

    fn unsatisfied(
        &mut self,
        object: &LoadedObject,
        library: &str,
        versions: &[(String, bool)],
        provider: usize,
    ) -> Vec<Problem> {
        let objects = self.objects;
        let (path, wanted_by) = (&objects[provider].shown, &object.shown);
        let Some(defined) = &objects[provider].facts.version_definitions else {
            let (library, path, wanted_by) = (library.to_owned(), path.clone(), wanted_by.clone());
            return vec![Problem::VersionUnknown { library, path, wanted_by }];
        };
        let known = self.defined.entry(provider).or_insert_with(|| Defined::of(defined));
        let is_missing = |(version, weak): &&(String, bool)| !weak && !known.names.contains(version.as_str());
        let missing: Vec<&String> = versions.iter().filter(is_missing).map(|(version, _)| version).collect();
        let problem = |version: &String| Problem::VersionMissing {
            library: library.to_owned(),
            path: path.clone(),
            version: version.clone(),
            wanted_by: wanted_by.clone(),
            highest: known.highest_of_family(version),
        };
        missing.into_iter().map(problem).collect()
    }

    fn undeclared(&self, object: &LoadedObject) -> Option<Problem> {
        let libc = &self.objects[*self.by_name.get("libc.so.6")?];
        Some(Problem::RelrUndeclared {
            library: "libc.so.6".to_owned(),
            path: libc.shown.clone(),
            wanted_by: object.shown.clone(),
        })
    }
}

impl<'a> Defined<'a> {
    fn of(versions: &'a [String]) -> Self {
        Self { names: versions.iter().map(String::as_str).collect(), newest: None }
    }

    /// The newest defined version that differs from `version` only in its numbers.
    fn highest_of_family(&mut self, version: &str) -> Option<String> {
        let (family, _) = split_numbers(version)?;
        let newest = self.newest.get_or_insert_with(|| {
            let mut newest = HashMap::new();
            for name in &self.names {
                let Some((family, numbers)) = split_numbers(name) else { continue };
                let known = newest.entry(family).or_insert_with(|| (numbers.clone(), *name));
                if *known < (numbers.clone(), *name) {
                    *known = (numbers, *name);
                }
            }
            newest
        });
        newest.get(family).map(|(_, name)| (*name).to_owned())
    }
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
