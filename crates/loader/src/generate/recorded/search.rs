//! Where the loader of a run searched, as its lookups show.
//!
//! In each directory that it searches, glibc looks for its sub-directories for the CPU, and misses the libraries that
//! lie elsewhere (`open_path` in `elf/dl-load.c`); musl only misses them (`path_open` in `ldso/dynlink.c`). A directory
//! that is searched although no object, default or option names it was in the run's `LD_LIBRARY_PATH`: what
//! was opened there was asked for by its name, and its path alone would be no proof that it is found again.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{Ground, RecordedContent, file_name, is_loadable};
use crate::loader::{Environment, Facts};
use compat_trace::{HWCAPS, Opener};

/// The separators of `LD_LIBRARY_PATH`, and what begins a token in it: no directory whose path has one can be named
/// there.
const NOT_IN_LIST: [char; 3] = [':', ';', '$'];

/// The directories of a run's `LD_LIBRARY_PATH` in which a program's libraries lie, as far as they are known by nothing
/// else.
#[derive(Default)]
pub(super) struct RunDirectories {
    /// As they were recorded.
    recorded: BTreeSet<String>,
    /// As the ground's files know them, and as `--library-path` names them, in the order of the opening.
    places: Vec<(String, String)>,
}

impl RunDirectories {
    /// Those of a program.
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

    /// Whether a recorded library lies in one of them.
    pub(super) fn hold(&self, path: &str) -> bool {
        self.recorded.contains(directory_of(path))
    }

    /// How `--library-path` names the directory of them in which an object lies.
    pub(super) fn option(&self, place: &str) -> Option<&str> {
        let directory = directory_of(place);
        self.places.iter().find(|(known, _)| known == directory).map(|(_, option)| option.as_str())
    }

    /// The environment of the run: they come after what is known.
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

/// What is known of a program's search.
struct Search<'a> {
    /// Directories that its loader searched for the program itself, before what other objects name.
    of_program: HashSet<&'a str>,
    /// Directories that it searched for any object.
    searched: HashSet<&'a str>,
    /// Names that were missed somewhere, where these do not tell of a search for certain: of musl.
    missed: HashSet<&'a str>,
    /// The lookups do not tell every search.
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

    /// Whether a library lies, or may lie, in a directory of the run's `LD_LIBRARY_PATH` that is known by nothing else.
    fn is_of_run(&self, path: &str, facts: Option<&Facts>, ground: &dyn Ground) -> bool {
        let directory = directory_of(path);
        let files = ground.files();
        let reals = [files.real_path(directory), files.real_path(directory_of(&ground.place(path)))];
        let is_in = |known: &HashSet<String>| reals.iter().any(|real| known.contains(real));
        let is_told = self.of_program.contains(directory) || self.may_be_name(path, facts, ground);
        let is_searched = || self.searched.contains(directory) && !is_in(&self.known_by_others);
        (is_told || is_searched()) && !is_in(&self.known)
    }

    /// Whether a library that has the name by which it would be asked for may have been searched for, and nothing tells
    /// that it was not. What lies in the scope is where it was.
    fn may_be_name(&self, path: &str, facts: Option<&Facts>, ground: &dyn Ground) -> bool {
        let name = file_name(path);
        facts.is_some_and(|facts| facts.soname.as_deref() == Some(name))
            && (self.missed.contains(name) || (self.is_silent && ground.shown(path).starts_with('/')))
    }
}

/// The names that an object needs.
fn needs(facts: &Facts) -> HashSet<&str> {
    facts.needed.iter().map(|need| need.name.as_str()).collect()
}

/// The directories of an object's RPATH and RUNPATH.
fn directories(path: &str, facts: &Facts) -> Vec<String> {
    let (origin, _) = path.rsplit_once('/').unwrap_or_default();
    let lists = [&facts.rpath, &facts.runpath].into_iter().flatten();
    let directories = lists.flat_map(|list| list.split(':')).filter(|directory| !directory.is_empty());
    directories.map(|directory| directory.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)).collect()
}

/// The directory that a search names where it leads to a path: the one above glibc's sub-directories for the CPU.
fn directory_of(path: &str) -> &str {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let above = directory.rsplit_once('/').and_then(|(above, _)| above.strip_suffix(HWCAPS));
    above.unwrap_or(directory)
}
