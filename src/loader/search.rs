//! The search for a name: which directories, in which order, under which rule.
//!
//! glibc: ld.so(8) and `_dl_map_object` in `elf/dl-load.c`; musl: `load_library` in
//! `ldso/dynlink.c`. Sub-directories for the CPU: `elf/dl-hwcaps.c` and its `_split` for each machine.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use crate::elf::Machine;
use crate::host::{DynamicLoader, LibraryCache};
use crate::loader::candidate::{Fit, Verdict};
use crate::loader::files::MAXIMUM_PATH;
use crate::loader::load::{LoadedObject, Rule};
use crate::loader::token::Tokens;
use crate::loader::{Environment, Files, Opened, Rejection};

/// How many directories are looked into for one program. A program with hundreds of libraries, each with
/// a RUNPATH of hundreds of directories, stays below.
const MOST_PLACES: usize = 1 << 18;
/// What is said of the name at which these are used up.
const TOO_MANY_PLACES: &str = "not searched for: too many directories for one program";

/// What a search came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An object, the path it was found at, and the rule that led there.
    Found(Opened, String, Rule),
    /// A file at which the start ends.
    Stopped { path: String, reason: String },
    /// Nothing.
    Missing { searched: Vec<String>, rejected: Vec<Rejection> },
}

/// Everything that a search depends on and that stays the same for one program.
pub(super) struct Search<'a> {
    files: &'a dyn Files,
    environment: &'a Environment,
    loader: &'a DynamicLoader,
    fit: Fit<'a>,
    cache: Option<Arc<LibraryCache>>,
    /// The sub-directories searched in each directory, best first, ending with the directory itself.
    subdirectories: Vec<String>,
    /// musl's directories from its path file, when there is one.
    default_directories: Vec<String>,
    /// How many directories may still be looked into.
    places: Cell<usize>,
}

/// One search under way.
struct Attempt<'s, 'a> {
    search: &'s Search<'a>,
    name: &'s str,
    searched: Vec<String>,
    rejected: Vec<Rejection>,
}

/// A file at which a search ends: the object, or why the start ends with it.
struct Hit {
    opened: Result<Opened, String>,
    path: String,
}

impl<'a> Search<'a> {
    /// Prepares the searches for one program.
    pub fn new(
        files: &'a dyn Files,
        environment: &'a Environment,
        loader: &'a DynamicLoader,
        fit: Fit<'a>,
    ) -> Self {
        let cache = files.memory().library_cache(files, &loader.cache_path);
        let musl_directories =
            || files.read(&loader.musl_path_file()).ok().map(|data| musl_directories(&data));
        let default_directories = match loader.is_musl() {
            true => musl_directories().unwrap_or_else(|| loader.default_directories.clone()),
            false => loader.default_directories.clone(),
        };
        let subdirectories = subdirectories(loader, environment, fit.program.machine);
        let places = Cell::new(MOST_PLACES);
        Self { files, environment, loader, fit, cache, subdirectories, default_directories, places }
    }

    /// The loader's files.
    pub fn files(&self) -> &'a dyn Files {
        self.files
    }

    /// The tokens of an object that was found in `origin`.
    fn tokens<'t>(&'t self, origin: &'t str) -> Tokens<'t> {
        let has_v3 = self.environment.platform.isa.is_some_and(|isa| isa.highest() >= 3);
        let platform = match self.fit.program.machine {
            Machine::X86_64 if has_v3 && !self.loader.is_musl() => "haswell",
            Machine::X86_64 => "x86_64",
            Machine::AARCH64 => "aarch64",
            Machine::I386 => "i686",
            Machine::ARM => "v7l",
            _ => "",
        };
        Tokens { origin, lib: &self.loader.lib_token, platform }
    }

    /// Replaces the tokens in a needed name of `requester`.
    pub fn expand(&self, name: &str, requester: &LoadedObject) -> String {
        match name.len() < MAXIMUM_PATH {
            true => self.tokens(&requester.origin).expand(name),
            false => name.to_owned(),
        }
    }

    /// Looks for `name` on behalf of the object `requester` of `objects`.
    pub fn find(&self, name: &str, requester: usize, objects: &[LoadedObject]) -> Outcome {
        if self.places.get() == 0 {
            return Outcome::Stopped { path: name.to_owned(), reason: TOO_MANY_PLACES.to_owned() };
        }
        let mut attempt = Attempt { search: self, name, searched: Vec::new(), rejected: Vec::new() };
        let found = match name.contains('/') {
            true => attempt.open(self.absolute(name)).map(|hit| (hit, Rule::Path)),
            false if self.loader.is_musl() => attempt.in_musl_order(requester, objects),
            false => attempt.in_glibc_order(requester, objects),
        };
        match found {
            Some((Hit { opened: Ok(opened), path }, rule)) => Outcome::Found(opened, path, rule),
            Some((Hit { opened: Err(reason), path }, _)) => Outcome::Stopped { path, reason },
            None => Outcome::Missing { searched: attempt.searched(), rejected: attempt.rejected },
        }
    }

    fn absolute(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", self.environment.working_directory.trim_end_matches('/')),
        }
    }

    /// The directories of a path list, tokens replaced; an empty element is the working directory.
    fn directories<'s>(
        &'s self,
        list: &'s str,
        separators: &'static [char],
        origin: &'s str,
    ) -> impl Iterator<Item = String> + 's {
        let tokens = self.tokens(origin);
        let directory = move |element: &str| match element {
            "" => self.environment.working_directory.clone(),
            element => self.absolute(&tokens.expand(element)),
        };
        list.split(separators).filter(|element| element.len() < MAXIMUM_PATH).map(directory)
    }

    fn library_path<'s>(&'s self, program: &'s LoadedObject) -> impl Iterator<Item = String> + 's {
        let list = self.environment.library_path.as_deref();
        let list = list.filter(|list| !program.facts.secure && !list.is_empty());
        let separators: &[char] = if self.loader.is_musl() { &[':', '\n'] } else { &[':', ';'] };
        list.into_iter().flat_map(move |list| self.directories(list, separators, &program.origin))
    }

    /// How many directories were looked into.
    pub fn places_spent(&self) -> usize {
        MOST_PLACES - self.places.get()
    }

    /// Takes from the places that may be looked at; whether there were as many.
    fn spend(&self, places: usize) -> bool {
        let left = self.places.get().checked_sub(places);
        self.places.set(left.unwrap_or(0));
        left.is_some()
    }

    fn is_default_directory(&self, path: &str) -> bool {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let is_in = |default: &String| {
            directory == default
                || directory.strip_prefix(default.as_str()).is_some_and(|d| d.starts_with('/'))
        };
        self.default_directories.iter().any(is_in)
    }
}

impl Attempt<'_, '_> {
    fn open(&mut self, path: String) -> Option<Hit> {
        match self.search.fit.judge(self.search.files, &path) {
            Verdict::Use(opened) => Some(Hit { opened: Ok(opened), path }),
            Verdict::Stop(reason) => Some(Hit { opened: Err(reason), path }),
            Verdict::Pass(reason) => {
                if reason != "No such file or directory" && reason != "Not a directory" {
                    self.rejected.push(Rejection { path, reason });
                }
                None
            }
        }
    }

    /// The directories that were searched, each once.
    fn searched(&self) -> Vec<String> {
        let mut known = HashSet::new();
        self.searched.iter().filter(|directory| known.insert(directory.as_str())).cloned().collect()
    }

    fn in_directories(&mut self, directories: impl Iterator<Item = String>) -> Option<Hit> {
        for directory in directories.filter(|directory| directory.len() < MAXIMUM_PATH) {
            // A long name takes the place of several: it is told with every name that is not found.
            if !self.search.spend(1 + directory.len() / 64) {
                return Some(Hit { opened: Err(TOO_MANY_PLACES.to_owned()), path: self.name.to_owned() });
            }
            for subdirectory in &self.search.subdirectories {
                let directory = directory.trim_end_matches('/');
                let hit = self.open(format!("{directory}/{subdirectory}{}", self.name));
                if hit.is_some() {
                    return hit;
                }
            }
            self.searched.push(directory);
        }
        None
    }

    fn in_default_directories(&mut self) -> Option<(Hit, Rule)> {
        let search = self.search;
        let hit = self.in_directories(search.default_directories.iter().cloned())?;
        Some((hit, Rule::DefaultDirectory))
    }

    /// The objects whose RPATH counts for `requester`: itself, those that loaded it, and the program. An
    /// object with a RUNPATH has no RPATH.
    fn rpath_holders(&self, requester: usize, objects: &[LoadedObject]) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut holder = Some(requester);
        while let Some(index) = holder {
            chain.push(index);
            holder = objects[index].loaded_by;
        }
        // A chain of thousands of libraries, each asked for by one before, is walked for each of them.
        self.search.spend(chain.len() / 16);
        if !chain.contains(&0) {
            chain.push(0);
        }
        let has_rpath = |index: &usize| {
            let facts = &objects[*index].facts;
            facts.runpath.is_none() && facts.rpath.as_deref().is_some_and(|list| !list.is_empty())
        };
        chain.retain(has_rpath);
        chain
    }

    fn in_glibc_order(&mut self, requester: usize, objects: &[LoadedObject]) -> Option<(Hit, Rule)> {
        if objects[requester].facts.runpath.is_none() {
            for holder in self.rpath_holders(requester, objects) {
                let object = &objects[holder];
                let list = object.facts.rpath.as_deref().unwrap_or_default();
                let directories = self.search.directories(list, &[':'], &object.origin);
                if let Some(hit) = self.in_directories(directories) {
                    return Some((hit, Rule::Rpath { object: object.shown.clone() }));
                }
            }
        }
        let library_path = self.search.library_path(&objects[0]);
        if let Some(hit) = self.in_directories(library_path) {
            return Some((hit, Rule::LibraryPath));
        }
        let object = &objects[requester];
        if let Some(list) = object.facts.runpath.as_deref().filter(|list| !list.is_empty()) {
            let directories = self.search.directories(list, &[':'], &object.origin);
            if let Some(hit) = self.in_directories(directories) {
                return Some((hit, Rule::Runpath { object: object.shown.clone() }));
            }
        }
        if let Some(hit) = self.in_cache(object) {
            return Some((hit, Rule::Cache));
        }
        if object.facts.flags.no_default_libraries {
            return None;
        }
        self.in_default_directories()
    }

    fn in_cache(&mut self, requester: &LoadedObject) -> Option<Hit> {
        let program = self.search.fit.program;
        let flags = LibraryCache::required_flags(program.machine, program.class);
        let entries = self.search.cache.as_ref()?.find(self.name);
        let fitting = entries.into_iter().filter(|entry| entry.flags == flags && !entry.legacy_hwcap);
        // The best sub-directory that this CPU has; a plain entry before any of them ends the choice.
        let rank = |subdirectory: &Option<String>| match subdirectory {
            None => Some(usize::MAX),
            Some(name) => {
                let known = format!("glibc-hwcaps/{name}/");
                self.search.subdirectories.iter().position(|s| *s == known)
            }
        };
        let ranked = fitting.filter_map(|entry| Some((rank(&entry.subdirectory)?, entry)));
        let path = ranked.min_by_key(|(rank, _)| *rank)?.1.path;
        if requester.facts.flags.no_default_libraries && self.search.is_default_directory(&path) {
            return None;
        }
        self.open(path)
    }

    fn in_musl_order(&mut self, requester: usize, objects: &[LoadedObject]) -> Option<(Hit, Rule)> {
        let library_path = self.search.library_path(&objects[0]);
        if let Some(hit) = self.in_directories(library_path) {
            return Some((hit, Rule::LibraryPath));
        }
        let mut holder = Some(requester);
        while let Some(index) = holder {
            let object = &objects[index];
            self.search.spend(usize::from(index % 16 == 0));
            if let Some(list) = object.facts.runpath.as_deref().or(object.facts.rpath.as_deref()) {
                let directories = self.search.directories(list, &[':', '\n'], &object.origin);
                if let Some(hit) = self.in_directories(directories) {
                    return Some((hit, Rule::Runpath { object: object.shown.clone() }));
                }
            }
            holder = object.loaded_by;
        }
        self.in_default_directories()
    }
}

fn musl_directories(data: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(data);
    let elements = text.split([':', '\n']).filter(|element| !element.is_empty());
    elements.map(str::to_owned).collect()
}

/// The sub-directories searched in each directory, best first, each with a trailing slash; the last is
/// the directory itself.
fn subdirectories(loader: &DynamicLoader, environment: &Environment, machine: Machine) -> Vec<String> {
    let mut all = Vec::new();
    let level = environment.platform.isa.map_or(1, |isa| isa.highest());
    let is_x86_64 = machine == Machine::X86_64;
    if loader.searches_hwcaps && is_x86_64 {
        let levels = (2..=level.min(4)).rev();
        all.extend(levels.map(|level| format!("glibc-hwcaps/x86-64-v{level}/")));
    }
    if loader.searches_legacy_hwcaps && is_x86_64 {
        all.extend(legacy_subdirectories(level));
    }
    all.push(String::new());
    all
}

/// Every combination of the legacy capabilities, the most specific first (`_dl_important_hwcaps`
/// before glibc 2.37).
fn legacy_subdirectories(level: u32) -> Vec<String> {
    let mut names = vec!["tls"];
    names.extend((level >= 3).then_some("haswell"));
    names.extend((level >= 4).then_some("avx512_1"));
    names.push("x86_64");
    let combinations = (1..1_usize << names.len()).rev();
    let path = |mask: usize| {
        let chosen = names.iter().enumerate().filter(|(index, _)| mask >> (names.len() - 1 - index) & 1 != 0);
        chosen.map(|(_, name)| format!("{name}/")).collect::<String>()
    };
    combinations.map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_capabilities_are_combined_most_specific_first() {
        assert_eq!(legacy_subdirectories(1), ["tls/x86_64/", "tls/", "x86_64/"]);
        let haswell = legacy_subdirectories(3);
        assert_eq!(haswell[..3], ["tls/haswell/x86_64/", "tls/haswell/", "tls/x86_64/"]);
        assert_eq!(haswell.len(), 7);
    }
}
