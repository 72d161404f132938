//! Checks needed versions against the objects that should provide them.
//!
//! Source: `_dl_check_map_versions` and `match_symbol` in glibc's `elf/dl-version.c`.

use std::collections::{HashMap, HashSet};

use crate::host::DynamicLoader;
use crate::loader::effort::Budget;
use crate::loader::vdso::Vdso;
use crate::loader::{Effort, Load, LoadedObject, Problem, Rule};

/// The version with which a libc declares that it applies packed relocations (glibc 2.36).
const RELR_MARKER: &str = "GLIBC_ABI_DT_RELR";

/// The budget cost of looking for a version.
const COST_OF_NEED: usize = 4;

/// Adds the version problems of every loaded object. `waiting` is the loader itself until an object requests
/// it: it is not in the scope, but versions are also looked up in it.
pub(super) fn check(
    load: &mut Load,
    loader: &DynamicLoader,
    waiting: Option<&LoadedObject>,
    budget: &Budget,
) {
    let mut needs = Needs {
        load,
        providers: providers(load, waiting),
        defined: HashMap::new(),
        vdso: load.objects.first().map(|program| Vdso::of(program.facts.machine, program.facts.class)),
        problems: Vec::new(),
        budget,
    };
    for object in &load.objects {
        needs.check(object, loader);
    }
    let problems = needs.problems;
    load.problems.extend(problems);
    mixed_libc(load, waiting);
}

fn is_known_to_be_missing(load: &Load, library: &str, budget: &Budget) -> bool {
    budget.spend(Effort::Problems, load.problems.len());
    load.problems.iter().any(|problem| match problem {
        Problem::LibraryMissing { library: known, .. }
        | Problem::HostLibraryMissing { library: known, .. }
        | Problem::LibraryUnusable { library: known, .. } => {
            known.strip_suffix(library).is_some_and(|before| before.is_empty() || before.ends_with('/'))
        }
        _ => false,
    })
}

/// libc and its loader share private data. Two builds do not work together, regardless of their symbols. A
/// loader before 2.33 does not contain its release.
fn mixed_libc(load: &mut Load, waiting: Option<&LoadedObject>) {
    let is_loader = |object: &&LoadedObject| object.rule == Rule::Interpreter;
    let libc = load.by_name().get("libc.so.6").map(|index| &load.objects[*index]);
    let loader = load.objects.iter().find(is_loader).or(waiting);
    let (Some(libc), Some(loader)) = (libc, loader) else { return };
    let (Some(release), other) = (&libc.facts.release, &loader.facts.release) else { return };
    let is_old = |release: &String| minor_of_release(release).is_some_and(|minor| minor < 33);
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

/// Returns the number after `2.` in glibc's release text.
pub(super) fn minor_of_release(release: &str) -> Option<u32> {
    release.rsplit("2.").next().and_then(|minor| minor.parse().ok())
}

/// Returns the objects by the names that a version's library name may refer to.
fn providers<'a>(load: &'a Load, waiting: Option<&'a LoadedObject>) -> HashMap<&'a str, &'a LoadedObject> {
    let waiting = waiting.into_iter().flat_map(|object| object.names.iter().map(move |name| (name, object)));
    let mut providers: HashMap<&str, &LoadedObject> =
        waiting.map(|(name, object)| (name.as_str(), object)).collect();
    // An empty name refers to the program itself.
    providers.extend(load.objects.first().map(|program| ("", program)));
    providers.extend(load.by_name().into_iter().map(|(name, index)| (name, &load.objects[index])));
    providers
}

/// The needs of all objects under examination.
struct Needs<'a> {
    load: &'a Load,
    providers: HashMap<&'a str, &'a LoadedObject>,
    /// The definitions of the objects that were checked so far, by the number of their facts.
    defined: HashMap<u64, Defined<'a>>,
    /// The vDSO, the kernel's own object, whether or not an object requests it.
    vdso: Option<Vdso>,
    problems: Vec<Problem>,
    budget: &'a Budget,
}

/// The versions that one object defines.
struct Defined<'a> {
    names: HashSet<&'a str>,
    /// The newest version of each family. It is filled when a version is missing.
    newest: Option<HashMap<&'a str, (Vec<u64>, &'a str)>>,
}

impl<'a> Needs<'a> {
    fn check(&mut self, object: &LoadedObject, loader: &DynamicLoader) {
        let mut names_libc = false;
        let mut declares = false;
        for (library, versions) in &object.facts.version_needs {
            if !self.budget.spend(Effort::Symbols, COST_OF_NEED * (1 + versions.len())) {
                return;
            }
            names_libc |= library.starts_with("libc.so.");
            declares |= versions.iter().any(|(version, _)| version == RELR_MARKER);
            match self.providers.get(library.as_str()).copied() {
                Some(provider) if provider.facts.names_only => {}
                Some(provider) => self.check_versions(object, library, versions, provider),
                None if self.vdso.as_ref().is_some_and(|vdso| vdso.name == library) => {
                    self.check_kernel(object, versions);
                }
                None if is_known_to_be_missing(self.load, library, self.budget) => {}
                None => {
                    let (library, wanted_by) = (library.clone(), object.shown.clone());
                    self.tell(Problem::VersionedLibraryNotLoaded { library, wanted_by });
                }
            }
        }
        if object.facts.flags.relr && loader.knows_relr && names_libc && !declares {
            self.tell_undeclared(object);
        }
    }

    /// Adds a problem, and returns whether the budget allowed it.
    fn tell(&mut self, problem: Problem) -> bool {
        let has_room = self.budget.spend(Effort::Problems, problem.size());
        self.problems.extend(has_room.then_some(problem));
        has_room
    }

    fn check_versions(
        &mut self,
        object: &LoadedObject,
        library: &str,
        versions: &[(String, bool)],
        provider: &'a LoadedObject,
    ) {
        let (path, wanted_by) = (&provider.shown, &object.shown);
        let Some(defined) = &provider.facts.version_definitions else {
            let (library, path, wanted_by) = (library.to_owned(), path.clone(), wanted_by.clone());
            self.tell(Problem::VersionUnknown { library, path, wanted_by });
            return;
        };
        let known = self.defined.entry(provider.facts.number).or_insert_with(|| Defined::of(defined));
        let is_missing = |(version, weak): &&(String, bool)| !weak && !known.names.contains(version.as_str());
        let missing: Vec<&String> = versions.iter().filter(is_missing).map(|(version, _)| version).collect();
        for version in missing {
            let known = self.defined.get_mut(&provider.facts.number);
            let problem = Problem::VersionMissing {
                library: library.to_owned(),
                path: path.clone(),
                version: version.clone(),
                wanted_by: wanted_by.clone(),
                highest: known.and_then(|known| known.highest_of_family(version)),
            };
            if !self.tell(problem) {
                return;
            }
        }
    }

    fn check_kernel(&mut self, object: &LoadedObject, versions: &[(String, bool)]) {
        let Some(vdso) = &self.vdso else { return };
        let name = vdso.name;
        let is_missing = |(version, weak): &&(String, bool)| !weak && !vdso.has_version(version);
        let missing: Vec<_> =
            versions.iter().filter(is_missing).map(|(version, _)| version.clone()).collect();
        for version in missing {
            let (library, path, wanted_by) = (name.to_owned(), name.to_owned(), object.shown.clone());
            if !self.tell(Problem::VersionMissing { library, path, version, wanted_by, highest: None }) {
                return;
            }
        }
    }

    fn tell_undeclared(&mut self, object: &LoadedObject) {
        // The loader itself never matches: it has no such name.
        let Some(libc) = self.providers.get("libc.so.6") else { return };
        let (library, path) = ("libc.so.6".to_owned(), libc.shown.clone());
        self.tell(Problem::RelrUndeclared { library, path, wanted_by: object.shown.clone() });
    }
}

impl<'a> Defined<'a> {
    fn of(versions: &'a [String]) -> Self {
        Self { names: versions.iter().map(String::as_str).collect(), newest: None }
    }

    /// Returns the newest defined version that differs from `version` only in its numbers.
    fn highest_of_family(&mut self, version: &str) -> Option<String> {
        let (family, _) = split_numbers(version)?;
        let newest = self.newest.get_or_insert_with(|| {
            let mut newest = HashMap::new();
            for name in &self.names {
                let Some((family, numbers)) = split_numbers(name) else { continue };
                let candidate = (numbers, *name);
                let known = newest.entry(family).or_insert_with(|| candidate.clone());
                if *known < candidate {
                    *known = candidate;
                }
            }
            newest
        });
        newest.get(family).map(|(_, name)| (*name).to_owned())
    }
}

/// Splits `GLIBC_2.2.5` into `GLIBC_` and its numbers. `None` for a name without numbers at its end.
fn split_numbers(version: &str) -> Option<(&str, Vec<u64>)> {
    let family = version.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (family, numbers) = version.split_at(family.len());
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
        assert_eq!(split_numbers("VER_é1"), Some(("VER_é", vec![1])));
        assert_eq!(split_numbers("VER_é"), None);
    }
}
