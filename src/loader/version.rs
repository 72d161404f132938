//! Needed versions against the objects that are to provide them.
//!
//! Source: `_dl_check_map_versions` and `match_symbol` in glibc's `elf/dl-version.c`.

use crate::host::DynamicLoader;
use crate::loader::{Facts, Load, LoadedObject, Problem, Rule};

/// The version by which a libc declares that it applies packed relocations (glibc 2.36).
const RELR_MARKER: &str = "GLIBC_ABI_DT_RELR";

/// Adds the version problems of every loaded object. `waiting` is the loader itself while nothing asked
/// for it: it is no part of the scope, but among the objects that versions are looked up in.
pub(super) fn check(load: &mut Load, loader: &DynamicLoader, waiting: Option<&LoadedObject>) {
    let mut problems = Vec::new();
    for object in &load.objects {
        let mut names_libc = false;
        let mut declares = false;
        for (library, versions) in &object.facts.version_needs {
            names_libc |= library.starts_with("libc.so.");
            declares |= versions.iter().any(|(version, _)| version == RELR_MARKER);
            let mut all = load.objects.iter().chain(waiting);
            match all.find(|provider| provider.goes_by(library)) {
                Some(provider) if provider.facts.names_only => {}
                Some(provider) => problems.extend(unsatisfied(object, library, versions, provider)),
                None if is_known_to_be_missing(load, library) => {}
                None => problems.push(Problem::VersionedLibraryNotLoaded {
                    library: library.clone(),
                    wanted_by: object.shown.clone(),
                }),
            }
        }
        if object.facts.flags.relr && loader.knows_relr && names_libc && !declares {
            problems.extend(undeclared(load, object));
        }
    }
    load.problems.extend(problems);
    mixed_libc(load, waiting);
}

fn is_known_to_be_missing(load: &Load, library: &str) -> bool {
    load.problems.iter().any(|problem| match problem {
        Problem::LibraryMissing { library: known, .. }
        | Problem::HostLibraryMissing { library: known, .. }
        | Problem::LibraryUnusable { library: known, .. } => {
            known == library || known.ends_with(&format!("/{library}"))
        }
        _ => false,
    })
}

/// libc and its loader share private data: those of two builds do not work together, whatever their
/// symbols say. A loader before 2.33 does not tell its release.
fn mixed_libc(load: &mut Load, waiting: Option<&LoadedObject>) {
    let is_loader = |object: &&LoadedObject| object.rule == Rule::Interpreter;
    let libc = load.objects.iter().find(|object| object.goes_by("libc.so.6"));
    let loader = load.objects.iter().find(is_loader).or(waiting);
    let (Some(libc), Some(loader)) = (libc, loader) else { return };
    let (Some(release), other) = (&libc.facts.release, &loader.facts.release) else { return };
    let is_old = |release: &String| {
        let minor = release.rsplit("2.").next().and_then(|minor| minor.parse::<u32>().ok());
        minor.is_some_and(|minor| minor < 33)
    };
    let belong_together = match other {
        Some(other) => other == release,
        None => is_old(release),
    };
    if !belong_together {
        let problem = Problem::MixedLibc {
            library: libc.shown.clone(),
            release: release.clone(),
            loader: loader.shown.clone(),
            loader_release: other.clone(),
        };
        load.problems.push(problem);
    }
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
    let libc = load.objects.iter().find(|object| object.goes_by("libc.so.6"))?;
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
