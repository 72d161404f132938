//! The directories that the loader of a run searched, according to its lookups.
//!
//! In each directory of its search path, glibc looks for its subdirectories for the CPU, and for libraries that
//! are in other directories (`open_path` in `elf/dl-load.c`). musl looks only for the libraries (`path_open` in
//! `ldso/dynlink.c`). If a directory is searched although no object, default or option names it, it was in the
//! run's `LD_LIBRARY_PATH`. A library that was opened there was needed by name, so its path does not prove that it
//! would be found again.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{Ground, RecordedContent, file_name, is_loadable};
use crate::loader::{Environment, Facts};
use compat_trace::{HWCAPS, Opener};

/// The separators of `LD_LIBRARY_PATH`, and the first character of a token. A directory whose path contains one of
/// them cannot be listed there.
const NOT_IN_LIST: [char; 3] = [':', ';', '$'];

/// The directories of a program's libraries that are known only from the run's `LD_LIBRARY_PATH`.
#[derive(Default)]
pub(super) struct RunDirectories {
    /// The recorded paths.
    recorded: BTreeSet<String>,
    /// The paths in the ground's files, and the paths for `--library-path`, in the order of opening.
    places: Vec<(String, String)>,
}

impl RunDirectories {
    /// Returns the directories of a program.
    pub(super) fn of(
        opener: &Opener,
        program: &Facts,
        ground: &dyn Ground,
        environment: &Environment,
    ) -> Self {
        let opened = Opened::of(opener, program, ground);
        let search = Search::of(opener, program, &opened, ground, environment);
        let mut directories = Self::default();
        for (path, facts) in &opened.libraries {
            let directory = directory_of(path);
            let place = ground.place(path);
            let place = directory_of(&place);
            if place.contains(NOT_IN_LIST) || !search.is_of_run(path, facts.as_deref(), ground) {
                continue;
            }
            directories.recorded.insert(directory.to_owned());
            if !directories.places.iter().any(|(known, _)| known == place) {
                let option = match directory_of(&ground.shown(path)) {
                    "" => ".".to_owned(),
                    directory => directory.to_owned(),
                };
                directories.places.push((place.to_owned(), option));
            }
        }
        directories
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns whether a recorded library is in one of them.
    pub(super) fn hold(&self, path: &str) -> bool {
        self.recorded.contains(directory_of(path))
    }

    /// Returns the path for `--library-path` of the directory that contains an object.
    pub(super) fn option(&self, place: &str) -> Option<&str> {
        let directory = directory_of(place);
        self.places.iter().find(|(known, _)| known == directory).map(|(_, option)| option.as_str())
    }

    /// Returns the environment of the run, with these directories after the known ones.
    pub(super) fn environment(&self, environment: &Environment) -> Environment {
        let known = environment.library_path.iter().filter(|list| !list.is_empty());
        let places = self.places.iter().map(|(place, _)| place);
        let all: Vec<&str> = known.chain(places).map(String::as_str).collect();
        let library_path = (!all.is_empty()).then(|| all.join(":"));
        Environment { library_path, ..environment.clone() }
    }
}

/// The libraries that a program opened.
struct Opened<'a> {
    libraries: Vec<(&'a str, Option<Arc<Facts>>)>,
}

impl<'a> Opened<'a> {
    fn of(opener: &'a Opener, program: &Facts, ground: &dyn Ground) -> Self {
        let libraries = opener.opened.iter().filter_map(|seen| {
            ground.files().memory().begin();
            match ground.content(&seen.path) {
                RecordedContent::Object(facts) if is_loadable(&facts, program) => {
                    Some((&*seen.path, Some(facts)))
                }
                content => super::is_named_library(&content, &seen.path).then_some((&*seen.path, None)),
            }
        });
        Self { libraries: libraries.collect() }
    }
}

/// The known facts about a program's search.
struct Search<'a> {
    /// Directories that its loader searched for the program, before those that other objects name.
    of_program: HashSet<&'a str>,
    /// Directories that its loader searched for any object.
    searched: HashSet<&'a str>,
    /// Names of failed lookups with musl, which do not prove a search.
    missed: HashSet<&'a str>,
    /// Whether the lookups do not show every search.
    is_silent: bool,
    /// Directories that the program, the loader and the options name.
    known: HashSet<String>,
    /// Directories that the other objects name.
    known_by_others: HashSet<String>,
}

impl<'a> Search<'a> {
    fn of(
        opener: &'a Opener,
        program: &'a Facts,
        opened: &'a Opened<'_>,
        ground: &dyn Ground,
        environment: &'a Environment,
    ) -> Self {
        let lookups = &opener.lookups;
        let others = || opened.libraries.iter().filter_map(|(path, facts)| Some((*path, facts.as_deref()?)));
        let own_needs = needs(program);
        let all_needs: HashSet<&str> = others().flat_map(|(_, facts)| needs(facts)).collect();
        let missed = || lookups.missed.iter().map(String::as_str);
        let missed_of = |needs: &HashSet<&str>| -> HashSet<&'a str> {
            missed().filter(|path| needs.contains(file_name(path))).map(directory_of).collect()
        };
        let files = ground.files();
        let loader = program.interpreter.as_deref();
        let loader = loader.and_then(|path| files.dynamic_loader(path, program.machine, program.class));
        let is_musl = loader.as_ref().is_some_and(|loader| loader.is_musl());
        let of_loader = loader.iter().flat_map(|loader| loader.default_directories.clone());
        let of_options = environment.library_path.iter().flat_map(|list| list.split(':')).map(str::to_owned);
        let known = directories(&opener.program, program).into_iter().chain(of_loader).chain(of_options);
        let mut searched = missed_of(&all_needs);
        searched.extend(lookups.with_hwcaps.iter().map(String::as_str));
        Self {
            of_program: missed_of(&own_needs),
            searched,
            missed: missed().filter(|_| is_musl).map(file_name).collect(),
            is_silent: is_musl || !lookups.any,
            known: known.map(|directory| files.real_path(&directory)).collect(),
            known_by_others: others()
                .flat_map(|(path, facts)| directories(path, facts))
                .map(|directory| files.real_path(&directory))
                .collect(),
        }
    }

    /// Returns whether a library is, or may be, in a directory that is known only from the run's
    /// `LD_LIBRARY_PATH`.
    fn is_of_run(&self, path: &str, facts: Option<&Facts>, ground: &dyn Ground) -> bool {
        let directory = directory_of(path);
        let files = ground.files();
        let reals = [files.real_path(directory), files.real_path(directory_of(&ground.place(path)))];
        let is_in = |known: &HashSet<String>| reals.iter().any(|real| known.contains(real));
        let is_shown = self.of_program.contains(directory) || self.may_be_name(path, facts, ground);
        let is_searched = || self.searched.contains(directory) && !is_in(&self.known_by_others);
        (is_shown || is_searched()) && !is_in(&self.known)
    }

    /// Returns whether a library whose file name is its soname may have been searched for, because nothing shows
    /// the opposite. A library in the scope is excluded, because its path stays the same.
    fn may_be_name(&self, path: &str, facts: Option<&Facts>, ground: &dyn Ground) -> bool {
        let name = file_name(path);
        facts.is_some_and(|facts| facts.soname.as_deref() == Some(name))
            && (self.missed.contains(name) || (self.is_silent && ground.shown(path).starts_with('/')))
    }
}

/// Returns the names that an object needs.
fn needs(facts: &Facts) -> HashSet<&str> {
    facts.needed.iter().map(|need| need.name.as_str()).collect()
}

/// Returns the directories of an object's RPATH and RUNPATH.
fn directories(path: &str, facts: &Facts) -> Vec<String> {
    let (origin, _) = path.rsplit_once('/').unwrap_or_default();
    let lists = [&facts.rpath, &facts.runpath].into_iter().flatten();
    let directories = lists.flat_map(|list| list.split(':')).filter(|directory| !directory.is_empty());
    directories.map(|directory| directory.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)).collect()
}

/// Returns the search directory that leads to a path: the directory above glibc's subdirectories for the CPU.
fn directory_of(path: &str) -> &str {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let above = directory.rsplit_once('/').and_then(|(above, _)| above.strip_suffix(HWCAPS));
    above.unwrap_or(directory)
}
