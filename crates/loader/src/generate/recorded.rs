//! Recorded runs -> the recorded part of the specification.
//!
//! A recording shows the files that were opened, but not those that the loader mapped. An ELF library that a
//! program opened counts as loaded if all of these are true: the program's start does not load it, the program
//! could load it (same machine), and a loaded object calls dlopen(3) or the library is one that other libraries
//! open.

mod bare;
mod note;
mod search;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::loader::{
    Context, Environment, Facts, Files, Form, Load, LoadedObject, Start, start, start_and_open,
};
use crate::spec::{Recorded, RecordedLibrary, RecordedProgram};
use compat_sys::raw;
use compat_trace::{Opener, Runs, Seen};

pub(super) use bare::find_bare;
use search::RunDirectories;

/// Libraries that are opened even if the program does not call dlopen: by glibc for name services, character sets
/// and stack unwinding (`nss/nss_module.c`, `iconv/gconv_dl.c`, `misc/unwind-link.c`), and libsepol by libselinux.
const OPENED_BY_OTHERS: [&str; 4] = ["/libnss_", "/gconv/", "/libgcc_s.so.", "/libsepol.so."];

/// A library that calls dlopen only for libsepol (`load_policy.c`). `cp` and `tar` are linked with it.
const LIBSELINUX: &str = "libselinux.so.1";

/// The functions that open libraries.
const OPENS: [&[u8]; 2] = [b"dlopen", b"dlmopen"];

/// The content of a recorded path in the current root.
pub enum RecordedContent {
    /// An ELF object.
    Object(Arc<Facts>),
    /// A script with a first line that names an interpreter.
    Script,
    /// Another file.
    Other,
    /// The file no longer exists.
    Gone,
}

/// A root in which recorded paths are read.
pub trait Ground {
    /// Returns the files, for the loader.
    fn files(&self) -> &dyn Files;

    /// Returns the content of a recorded path.
    fn content(&self, path: &str) -> RecordedContent;

    /// Returns the path of a recorded path in [`Ground::files`].
    fn place(&self, path: &str) -> String;

    /// Returns the path of an existing file for the specification.
    fn shown(&self, path: &str) -> String;
}

/// The programs and libraries that were found, and their loads.
#[derive(Default)]
pub struct Found {
    /// The programs and their libraries, as a specification lists them.
    pub recorded: Recorded,
    /// The starts of programs with the libraries that they opened.
    pub loads: Vec<(String, Load)>,
    /// Programs without a loader, and loaders that were executed directly. Their search path is not known.
    pub hiding: Vec<String>,
    /// Directories that are known only from the runs' `LD_LIBRARY_PATH`, each with a program and a library that it
    /// found there.
    pub run_directories: BTreeMap<String, (String, String)>,
    /// The indices of programs in `recorded`, by path.
    places: HashMap<String, usize>,
}

/// Finds the programs and libraries of runs.
pub fn find(runs: &Runs, ground: &dyn Ground, environment: &Environment) -> Found {
    let mut found =
        Found { recorded: Recorded { runs: runs.count, ..Recorded::default() }, ..Found::default() };
    for seen in &runs.executed {
        let (is_program, gone) = match ground.content(&seen.path) {
            RecordedContent::Object(facts) => (facts.is_program(), false),
            RecordedContent::Script => (true, false),
            RecordedContent::Other => (false, false),
            // The kernel also opens loaders to execute them.
            RecordedContent::Gone => (!file_name(&seen.path).starts_with("ld-"), true),
        };
        if is_program {
            found.add_program(ground, &seen.path, seen.runs, gone);
        }
    }
    for opener in &runs.openers {
        found.add_opener(opener, ground, environment);
    }
    found.recorded.other_files = other_files(runs, ground);
    found
}

/// Returns the number of opened files that are neither objects nor, by their names, libraries that no longer
/// exist.
fn other_files(runs: &Runs, ground: &dyn Ground) -> u64 {
    let opened: BTreeSet<&str> =
        runs.openers.iter().flat_map(|opener| &opener.opened).map(|seen| seen.path.as_str()).collect();
    let is_other = |path: &&str| match ground.content(path) {
        RecordedContent::Object(_) => false,
        content => !is_named_library(&content, path),
    };
    opened.into_iter().filter(is_other).count() as u64
}

impl Found {
    /// Returns the names of all symbols that loaded objects need from other objects.
    pub fn referenced(&self) -> Vec<String> {
        let objects = self.loads.iter().flat_map(|(_, load)| &load.objects);
        let imports = objects.flat_map(|object| {
            object.facts.imports().into_iter().map(|import| text(import.name)).collect::<Vec<_>>()
        });
        imports.collect()
    }

    /// Returns whether a loaded library is outside the scope.
    pub fn has_outside(&self) -> bool {
        let libraries = self.recorded.programs.iter().flat_map(|program| &program.libraries);
        libraries.clone().any(|library| library.path.starts_with('/'))
    }

    /// Adds the libraries that a program loaded, and the program if it loaded any.
    fn add_opener(&mut self, opener: &Opener, ground: &dyn Ground, environment: &Environment) {
        let (libraries, load) = match content_of_opener(opener, ground) {
            RecordedContent::Object(program) if program.is_program() && program.interpreter.is_some() => {
                self.libraries(opener, &program, ground, environment)
            }
            RecordedContent::Object(own_loader) => {
                let libraries = all_libraries(opener, Some(&own_loader), ground);
                if !libraries.is_empty() {
                    self.hiding.push(opener.program.clone());
                }
                (libraries, None)
            }
            RecordedContent::Script | RecordedContent::Other | RecordedContent::Gone => {
                let libraries = all_libraries(opener, None, ground);
                if !libraries.is_empty() {
                    self.add_program(ground, &opener.program, opener.runs, true).gone = true;
                }
                (libraries, None)
            }
        };
        if !libraries.is_empty() {
            self.add_program(ground, &opener.program, opener.runs, false).libraries = libraries;
        }
        self.loads.extend(load.map(|load| (opener.program.clone(), load)));
    }

    /// Returns the libraries that a program loaded at run time, and its start with all of them.
    fn libraries(
        &mut self,
        opener: &Opener,
        program: &Facts,
        ground: &dyn Ground,
        environment: &Environment,
    ) -> (Vec<RecordedLibrary>, Option<Load>) {
        let files = ground.files();
        let place = ground.place(&opener.program);
        let start_of_program = Start { path: &place, shown: &place };
        let alone = start(&start_of_program, Context::new(files, environment));
        let directories = RunDirectories::of(opener, program, ground, environment);
        let mut survey = Survey {
            ground,
            environment,
            of_run: directories.environment(environment),
            directories: &directories,
            place: &place,
            covered: alone.objects.iter().map(|object| (files.real_path(&object.path), None)).collect(),
            opens: alone.objects.iter().any(|object| opens_libraries(&object.facts)),
            libraries: Vec::new(),
        };
        survey.covered.extend(program.interpreter.iter().map(|path| (files.real_path(path), None)));
        survey.add_all(opener, program);
        let names = survey.names();
        if names.is_empty() {
            return (survey.libraries, None);
        }
        let load = start_and_open(&start_of_program, &names, Context::new(files, &survey.of_run));
        if !directories.is_empty() {
            let known = start_and_open(&start_of_program, &names, Context::new(files, environment));
            let known: HashSet<&str> = known.objects.iter().map(|object| object.path.as_str()).collect();
            for object in load.objects.iter().filter(|object| !known.contains(object.path.as_str())) {
                let Some(directory) = directories.option(&object.path) else { continue };
                let found = (opener.program.clone(), file_name(&object.path).to_owned());
                self.run_directories.entry(directory.to_owned()).or_insert(found);
            }
        }
        (survey.libraries, Some(load))
    }

    fn add_program(
        &mut self,
        ground: &dyn Ground,
        path: &str,
        seen: u32,
        gone: bool,
    ) -> &mut RecordedProgram {
        let place = self.places.get(path).copied().unwrap_or_else(|| {
            let path_in_document = if gone { path.to_owned() } else { ground.shown(path) };
            let program = RecordedProgram { path: path_in_document, seen, gone, libraries: Vec::new() };
            self.recorded.programs.push(program);
            self.places.insert(path.to_owned(), self.recorded.programs.len() - 1);
            self.recorded.programs.len() - 1
        });
        &mut self.recorded.programs[place]
    }
}

/// Returns the content of an opener's program. It is [`RecordedContent::Gone`] if the recording does not identify
/// the program.
fn content_of_opener(opener: &Opener, ground: &dyn Ground) -> RecordedContent {
    if opener.program.is_empty() { RecordedContent::Gone } else { ground.content(&opener.program) }
}

fn text(name: &[u8]) -> String {
    raw::string(name)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns whether a file that no longer exists has the name of a library.
fn is_named_library(content: &RecordedContent, path: &str) -> bool {
    let name = file_name(path);
    matches!(content, RecordedContent::Gone) && (name.ends_with(".so") || name.contains(".so."))
}

/// A library that a program opened.
struct Candidate<'a> {
    path: &'a str,
    seen: u32,
    facts: Option<Arc<Facts>>,
    /// Whether the loader opened it, before the program ran.
    by_loader: bool,
}

/// Returns all libraries that a program opened. Used if the program's start does not show the libraries that it
/// loads, because the program no longer exists or has no loader.
fn all_libraries(opener: &Opener, program: Option<&Facts>, ground: &dyn Ground) -> Vec<RecordedLibrary> {
    let fits = |facts: &Facts| program.map_or(is_shared(facts), |program| is_loadable(facts, program));
    let library = |seen: &Seen| {
        ground.files().memory().begin();
        match ground.content(&seen.path) {
            RecordedContent::Object(facts) if fits(&facts) => Some(RecordedLibrary {
                path: ground.shown(&seen.path),
                build_id: facts.build_id.clone(),
                gone: false,
                ..gone(&seen.path, seen.runs)
            }),
            content => is_named_library(&content, &seen.path).then(|| gone(&seen.path, seen.runs)),
        }
    };
    opener.opened.iter().filter_map(library).collect()
}

/// Returns whether an object is a library that a program could load.
fn is_shared(library: &Facts) -> bool {
    library.form == Form::Library && library.has_dynamic_section
}

fn is_loadable(library: &Facts, program: &Facts) -> bool {
    is_shared(library) && (library.machine, library.class) == (program.machine, program.class)
}

/// Returns whether an object calls a function that opens libraries.
fn opens_libraries(facts: &Facts) -> bool {
    facts.soname.as_deref() != Some(LIBSELINUX)
        && facts.imports().iter().any(|import| OPENS.contains(&import.name))
}

/// Returns a library that no longer exists. Whether a search would find it is not known.
fn gone(path: &str, seen: u32) -> RecordedLibrary {
    RecordedLibrary { path: path.to_owned(), name: None, needed_by: None, build_id: None, seen, gone: true }
}

/// The libraries of one program, while they are collected.
struct Survey<'a> {
    ground: &'a dyn Ground,
    environment: &'a Environment,
    /// The environment, with the known part of the runs' environment.
    of_run: Environment,
    directories: &'a RunDirectories,
    /// The path of the program, for the loader.
    place: &'a str,
    /// Files that are loaded for the start, or for a library (its path as shown).
    covered: HashMap<String, Option<String>>,
    /// Whether a loaded object calls dlopen.
    opens: bool,
    libraries: Vec<RecordedLibrary>,
}

impl Survey<'_> {
    /// Adds the libraries that a program opened.
    fn add_all(&mut self, opener: &Opener, program: &Facts) {
        let (ground, files) = (self.ground, self.ground.files());
        // The loader opens preloads and libraries from the run's LD_LIBRARY_PATH before the last library that the
        // program needs.
        let is_of_start =
            |seen: &Seen| self.covered.contains_key(&files.real_path(&ground.place(&seen.path)));
        let started = opener.opened.iter().rposition(is_of_start).unwrap_or(0);
        for (number, seen) in opener.opened.iter().enumerate() {
            files.memory().begin();
            let facts = match ground.content(&seen.path) {
                RecordedContent::Object(facts) if is_loadable(&facts, program) => Some(facts),
                content if is_named_library(&content, &seen.path) => None,
                _ => continue,
            };
            let by_loader = number < started;
            self.add(&Candidate { path: &seen.path, seen: seen.runs, facts, by_loader });
        }
    }

    fn add(&mut self, candidate: &Candidate<'_>) {
        let is_of_others = OPENED_BY_OTHERS.iter().any(|part| candidate.path.contains(part));
        let is_loaded = self.opens || is_of_others || candidate.by_loader;
        let Some(facts) = &candidate.facts else {
            if is_loaded {
                let gone = gone(candidate.path, candidate.seen);
                let name =
                    self.directories.hold(candidate.path).then(|| file_name(candidate.path).to_owned());
                self.libraries.push(RecordedLibrary { name, ..gone });
            }
            return;
        };
        let place = self.ground.place(candidate.path);
        let files = self.ground.files();
        let needed_by = match self.covered.get(&files.real_path(&place)) {
            Some(None) => return,
            Some(Some(library)) => Some(library.clone()),
            None if !is_loaded => return,
            None => None,
        };
        let shown = self.ground.shown(candidate.path);
        let name = match needed_by {
            Some(_) => None,
            None => self.open(facts, candidate.path, &place, &shown),
        };
        self.opens |= opens_libraries(facts);
        self.libraries.push(RecordedLibrary {
            path: shown,
            name,
            needed_by,
            build_id: facts.build_id.clone(),
            seen: candidate.seen,
            gone: false,
        });
    }

    /// Opens a library as the program did. Returns the name by which a search finds it, if any. The libraries that
    /// are loaded with it count as loaded for it.
    fn open(&mut self, facts: &Facts, path: &str, place: &str, shown: &str) -> Option<String> {
        let files = self.ground.files();
        // A directory of the scope can also be named by its path on this machine.
        let reals = [files.real_path(place), files.real_path(path)];
        let program = Start { path: self.place, shown: self.place };
        let load = |name: &str, environment: &Environment| {
            start_and_open(&program, &[name.to_owned()], Context::new(files, environment))
        };
        let is_it = |object: &LoadedObject| reals.contains(&files.real_path(&object.path));
        let soname = facts.soname.as_deref();
        let own = Some(file_name(place)).filter(|own| soname != Some(*own));
        let environments = [self.environment, &self.of_run];
        let mut searches = environments[..if self.directories.is_empty() { 1 } else { 2 }]
            .iter()
            .flat_map(|environment| soname.into_iter().chain(own).map(|name| (name, *environment)));
        let found = searches.find(|(name, environment)| load(name, environment).objects.iter().any(is_it));
        let name = found.map(|(name, _)| name);
        let load = load(name.unwrap_or(place), &self.of_run);
        for object in &load.objects {
            let real = files.real_path(&object.path);
            self.opens |= opens_libraries(&object.facts);
            self.covered.entry(real).or_insert_with(|| Some(shown.to_owned()));
        }
        name.map(str::to_owned)
    }

    /// Returns the names and paths that the program opened directly, in order.
    fn names(&self) -> Vec<String> {
        let opened = self.libraries.iter().filter(|library| library.needed_by.is_none() && !library.gone);
        let name = |library: &RecordedLibrary| match &library.name {
            Some(name) => name.clone(),
            None => self.ground.place(&library.path),
        };
        opened.map(name).collect()
    }
}
