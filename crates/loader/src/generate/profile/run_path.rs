//! The paths that installed programs and libraries name: directories in a RUNPATH or RPATH, libraries by path, and
//! interpreters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Recorder;
use crate::elf::{self, Class, Machine};
use crate::host::DynamicLoader;
use crate::loader::search_directories;
use crate::spec::Object;
use compat_sys::raw;

/// Directories of installed programs and libraries, in addition to those that are recorded completely.
const TREES: [&str; 7] = [
    "/usr/libexec",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/local/libexec",
    "/opt",
];
/// The limits on the directories and files that are read, on their depth, and on the additional directories and
/// libraries that are recorded. Installed systems stay below them. Files beyond the limits are not recorded, so
/// checks that need them are undecided.
const MOST_LOOKED_AT: usize = 50_000;
const MOST_FILES: usize = 100_000;
const DEEPEST: usize = 12;
const MOST_DIRECTORIES: usize = 1024;
const MOST_LIBRARIES: usize = 16_384;

/// The paths that objects name.
#[derive(Default)]
struct Named {
    directories: BTreeSet<String>,
    paths: BTreeSet<String>,
    interpreters: BTreeMap<String, (Machine, Class)>,
}

/// The paths and names of other files in one object.
struct Says<'a> {
    path: &'a str,
    lists: Vec<&'a str>,
    needed: Vec<&'a str>,
    interpreter: Option<(&'a str, Machine, Class)>,
}

impl Recorder<'_> {
    /// Records the files that installed programs and libraries name. A minimal profile records none of them.
    pub(super) fn add_run_paths(&mut self) {
        if self.options.minimal {
            return;
        }
        let mut named = Named::default();
        self.find_in_trees(&mut named);
        self.find_in_recorded(0, &mut named);
        for (path, (machine, class)) in std::mem::take(&mut named.interpreters) {
            self.add_loader(&path, machine, class);
        }
        for directory in self.directories() {
            self.add_library_directory(&directory, 0);
        }
        self.add_cached();
        let mut known = Named::default();
        while known.directories.len() < MOST_DIRECTORIES && self.profile.libraries.len() < MOST_LIBRARIES {
            let before = self.profile.libraries.len();
            for directory in named.directories.difference(&known.directories) {
                self.add_library_directory(directory, 0);
            }
            for path in named.paths.difference(&known.paths) {
                self.add_path(path);
            }
            known.directories.append(&mut named.directories);
            known.paths.append(&mut named.paths);
            // The libraries in these directories can name further directories.
            if self.profile.libraries.len() == before {
                break;
            }
            self.find_in_recorded(before, &mut named);
        }
    }

    /// Adds the paths that the recorded programs name, and the libraries from index `first`.
    fn find_in_recorded(&self, first: usize, named: &mut Named) {
        let programs = self.profile.programs.iter().filter(|_| first == 0);
        for object in self.profile.libraries[first..].iter().chain(programs) {
            self.find(&says(object), named);
        }
    }

    /// Adds the paths that programs and libraries below the usual directories name.
    fn find_in_trees(&self, named: &mut Named) {
        let root = self.files.root();
        let mut waiting: VecDeque<(String, usize)> =
            TREES.iter().map(|tree| ((*tree).to_owned(), 0)).collect();
        let (mut directories, mut files) = (0, 0);
        let mut seen = BTreeSet::new();
        while let Some((directory, depth)) = waiting.pop_front() {
            let Ok(real) = root.resolve(&raw::path(&directory)) else { continue };
            let real = raw::of_path(real);
            if directories == MOST_LOOKED_AT || !seen.insert(real.clone()) {
                continue;
            }
            directories += 1;
            for entry in root.entries(&raw::path(&real)) {
                let path = format!("{real}/{}", entry.name);
                if entry.is_directory && depth < DEEPEST {
                    waiting.push_back((path, depth + 1));
                } else if entry.is_file && files < MOST_FILES && self.may_be_loaded(&path, &entry.name) {
                    files += 1;
                    self.find_in_file(&path, named);
                }
            }
        }
    }

    fn may_be_loaded(&self, path: &str, name: &str) -> bool {
        name.contains(".so") || self.files.root().is_executable(&raw::path(path))
    }

    /// Adds the paths that the object at a path names.
    fn find_in_file(&self, path: &str, named: &mut Named) {
        let object = self.files.root().object(&raw::path(path)).ok();
        let Some(object) = object.and_then(|(data, _)| elf::Object::parse(data).ok()) else { return };
        let interpreter = object.interpreter.as_deref().map(|path| (path, object.machine, object.class));
        let dynamic = object.dynamic.as_ref();
        let lists = dynamic.map(|dynamic| dynamic.runpath.iter().chain(&dynamic.rpath));
        let says = Says {
            path,
            lists: lists.into_iter().flatten().map(String::as_str).collect(),
            needed: dynamic
                .map(|dynamic| dynamic.needed.iter().map(|dependency| dependency.name.as_str()).collect())
                .unwrap_or_default(),
            interpreter,
        };
        self.find(&says, named);
    }

    fn find(&self, says: &Says<'_>, named: &mut Named) {
        let root = self.files.root();
        let is_directory = |path: &String| {
            path.starts_with('/') && root.metadata(&raw::path(path)).is_ok_and(|found| found.is_dir())
        };
        let lists = says.lists.iter().flat_map(|list| self.expanded(list, says.path));
        named.directories.extend(lists.filter(is_directory));
        let paths = says.needed.iter().filter(|name| name.contains('/'));
        let paths = paths.flat_map(|name| self.expanded(name, says.path));
        named.paths.extend(paths.filter(|path| path.starts_with('/')));
        let interpreter = says.interpreter.filter(|(path, ..)| path.starts_with('/'));
        let interpreter = interpreter.map(|(path, machine, class)| (path.to_owned(), (machine, class)));
        named.interpreters.extend(interpreter);
    }

    /// Returns the paths of a list, with tokens replaced as by each loader of the host.
    fn expanded(&self, list: &str, object: &str) -> BTreeSet<String> {
        let origin = object.rsplit_once('/').map_or("", |(origin, _)| origin);
        let machine = self.profile.platform().machine;
        let of_loader = |loader: &DynamicLoader| search_directories(list, origin, loader, machine);
        self.profile.loaders.iter().flat_map(of_loader).collect()
    }
}

/// Returns the paths and names of other files in a recorded object.
fn says(object: &Object) -> Says<'_> {
    let class = Class::from_bits(object.class).unwrap_or(Class::Elf64);
    let machine = Machine::from_name(&object.machine);
    let interpreter = object.interpreter.as_deref().zip(machine);
    Says {
        path: &object.path,
        lists: object.runpath.iter().chain(&object.rpath).map(String::as_str).collect(),
        needed: object.needed.iter().map(String::as_str).collect(),
        interpreter: interpreter.map(|(path, machine)| (path, machine, class)),
    }
}
