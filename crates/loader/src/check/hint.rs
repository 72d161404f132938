//! Hints: what in the files explains a finding, and what to do about it.
//!
//! They are facts derived from the files that the check looks at. They decide nothing, and only findings
//! have them.

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, LibraryCache};
use crate::loader::{Context, Facts, Load, LoadedObject, Problem, Rule};
use compat_sys::raw;

/// Directories that people install libraries to.
const USUAL: [&str; 7] =
    ["/usr/local/lib", "/usr/local/lib64", "/usr/lib64", "/lib64", "/usr/lib", "/lib", "/usr/lib32"];

/// How many directories of `ld.so.conf` are looked at.
const MOST_DIRECTORIES: usize = 64;

/// The files in which a check looks for hints, and the start that a finding is about.
pub(super) struct Scene<'a> {
    pub load: &'a Load,
    pub context: Context<'a>,
}

impl Scene<'_> {
    /// The hints for a problem.
    pub(super) fn hints(&self, problem: &Problem) -> Vec<String> {
        match problem {
            Problem::VersionMissing { library, path, version, .. } => {
                let has = |facts: &Facts| facts.version_definitions.iter().flatten().any(|v| v == version);
                self.found_early(library, path, has).into_iter().collect()
            }
            Problem::VersionUnknown { library, path, .. }
            | Problem::VersionlessProvider { library, path, .. } => {
                self.found_early(library, path, Facts::has_symbol_versions).into_iter().collect()
            }
            Problem::LibraryMissing { library, wanted_by, searched, .. } if !library.contains('/') => {
                let all = [
                    self.in_runpath_of_others(library, wanted_by),
                    self.in_directory_not_searched(library, searched),
                    self.for_32_bits(),
                ];
                all.into_iter().flatten().collect()
            }
            Problem::InterpreterMissing { object, interpreter, .. } => {
                let machine = match interpreter.as_str() {
                    "/lib/ld-linux.so.2" | "/lib/ld-musl-i386.so.1" => "i386",
                    "/lib/ld-linux-armhf.so.3" => "armhf",
                    _ => return Vec::new(),
                };
                vec![of_32_bits(object, machine)]
            }
            _ => Vec::new(),
        }
    }

    /// The program.
    fn program(&self) -> Option<&LoadedObject> {
        self.load.objects.first()
    }

    /// A library that a list of directories led to although the system's own would do.
    fn found_early(&self, library: &str, path: &str, would_do: impl Fn(&Facts) -> bool) -> Option<String> {
        let object = self.load.objects.iter().find(|object| object.shown == path)?;
        let list = match &object.rule {
            Rule::LibraryPath => "LD_LIBRARY_PATH".to_owned(),
            Rule::Rpath { object } => format!("the RPATH of {object}"),
            Rule::Runpath { object } => format!("the RUNPATH of {object}"),
            _ => return None,
        };
        let own = self.own_library(library).filter(|(own, facts)| own != path && would_do(facts));
        Some(match own {
            Some((own, _)) => {
                format!("{path} was found through {list}; {own} of the system itself has what is wanted")
            }
            None => format!("{path} was found through {list}"),
        })
    }

    /// The library that the loader takes if no list of directories leads to another.
    fn own_library(&self, name: &str) -> Option<(String, std::sync::Arc<Facts>)> {
        let program = &self.program()?.facts;
        let usual = || DynamicLoader::usual_path(program.machine, program.class, program.big_endian);
        let path = program.interpreter.as_deref().or_else(usual)?;
        let loader = self.context.files.dynamic_loader(path, program.machine, program.class)?;
        let flags = LibraryCache::required_flags(program.machine, program.class);
        let cached = self.context.files.library_cache(&loader.cache_path, program.big_endian);
        let cached = cached.iter().flat_map(|cache| cache.find(name));
        let cached: Vec<String> =
            cached.filter(|entry| LibraryCache::fits(entry.flags, flags)).map(|entry| entry.path).collect();
        let default = loader.default_directories.iter().map(|directory| format!("{directory}/{name}"));
        cached.into_iter().chain(default).find_map(|path| {
            let facts = self.fitting(&path)?;
            Some((path, facts))
        })
    }

    /// The object at a path, if it is for the program's machine.
    fn fitting(&self, path: &str) -> Option<std::sync::Arc<Facts>> {
        let program = &self.program()?.facts;
        let facts = self.context.files.open(path).ok()?.facts;
        ((facts.machine, facts.class) == (program.machine, program.class)).then_some(facts)
    }

    /// The RUNPATH of an object holds for what that object needs, and for nothing else.
    fn in_runpath_of_others(&self, library: &str, wanted_by: &str) -> Option<String> {
        let objects = &self.load.objects;
        let mut holder = objects.iter().find(|object| object.shown == wanted_by)?.loaded_by;
        for _ in 0..objects.len() {
            let object = &objects[holder?];
            for element in object.facts.runpath.iter().flat_map(|list| list.split(':')) {
                let directory =
                    element.replace("${ORIGIN}", &object.origin).replace("$ORIGIN", &object.origin);
                let path = format!("{}/{library}", directory.trim_end_matches('/'));
                if directory.starts_with('/') && self.fitting(&path).is_some() {
                    let (path, holder) = (self.context.files.shown(&path), &object.shown);
                    return Some(format!(
                        "{path} lies in the RUNPATH of {holder}, which counts only for what {holder} itself needs"
                    ));
                }
            }
            holder = object.loaded_by;
        }
        None
    }

    /// A library in a directory that a library is installed to, and that the loader does not search.
    fn in_directory_not_searched(&self, library: &str, searched: &[String]) -> Option<String> {
        let listed = self.configured_directories();
        let usual = USUAL.iter().map(|directory| (*directory).to_owned());
        let directories =
            listed.iter().cloned().chain(usual).filter(|directory| !searched.contains(directory));
        let mut paths = directories.map(|directory| (format!("{directory}/{library}"), directory));
        let (path, directory) = paths.find(|(path, _)| self.fitting(path).is_some())?;
        Some(if listed.contains(&directory) {
            format!("{path} exists, but the loader's cache lacks it: run ldconfig")
        } else {
            format!(
                "{path} exists, but the loader does not search {directory}: name it in /etc/ld.so.conf and run ldconfig"
            )
        })
    }

    /// The directories that `/etc/ld.so.conf` and what it includes name (ldconfig(8)).
    fn configured_directories(&self) -> Vec<String> {
        let mut files = vec!["/etc/ld.so.conf".to_owned()];
        let mut directories = Vec::new();
        let mut read = 0;
        while let Some(path) = files.pop().filter(|_| read < MOST_DIRECTORIES) {
            read += 1;
            let Ok(data) = self.context.files.read(&path) else { continue };
            let text = raw::string(&data);
            for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
                match line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
                    Some(pattern) => files.extend(self.included(pattern.trim())),
                    None if line.starts_with('/') => {
                        directories.push(line.trim_end_matches('/').to_owned());
                    }
                    None => {}
                }
            }
        }
        directories.truncate(MOST_DIRECTORIES);
        directories
    }

    /// The files that the pattern of an `include` names, in its usual form `DIRECTORY/*.conf`.
    fn included(&self, pattern: &str) -> Vec<String> {
        let (directory, name) = pattern.rsplit_once('/').unwrap_or(("/etc", pattern));
        let directory =
            if directory.starts_with('/') { directory.to_owned() } else { format!("/etc/{directory}") };
        match name.split_once('*') {
            None => vec![format!("{directory}/{name}")],
            Some((begin, end)) => {
                let names = self.context.files.names(&directory).into_iter();
                let fitting = names.filter(|name| name.starts_with(begin) && name.ends_with(end));
                fitting.map(|name| format!("{directory}/{name}")).collect()
            }
        }
    }

    /// A program of 32 bits on a machine of 64 needs libraries of its own.
    fn for_32_bits(&self) -> Option<String> {
        let program = self.program()?;
        let is_guest = program.facts.class == Class::Elf32
            && program.facts.machine != self.context.environment.platform.machine;
        let machine = if program.facts.machine == Machine::ARM { "armhf" } else { "i386" };
        is_guest.then(|| of_32_bits(&program.shown, machine))
    }
}

fn of_32_bits(program: &str, machine: &str) -> String {
    let fedora = if machine == "i386" { ", on Fedora PACKAGE.i686" } else { "" };
    format!(
        "{program} is a 32-bit program and needs 32-bit libraries: on Debian, dpkg --add-architecture {machine} and \
         install PACKAGE:{machine}{fedora}"
    )
}
