//! Hints: facts in the files that explain a finding, and the remedy.
//!
//! Hints come from the files that the check reads. They do not influence the verdict.

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, LibraryCache};
use crate::loader::{Context, Facts, Load, LoadedObject, Problem, Rule};
use compat_sys::raw;

/// Directories in which libraries are usually installed.
const USUAL: [&str; 7] =
    ["/usr/local/lib", "/usr/local/lib64", "/usr/lib64", "/lib64", "/usr/lib", "/lib", "/usr/lib32"];

/// The maximum number of files and directories of `ld.so.conf` that are read.
const MOST_DIRECTORIES: usize = 64;

/// The files in which a check looks for hints, and the start that the finding is about.
pub(super) struct Scene<'a> {
    pub load: &'a Load,
    pub context: Context<'a>,
}

impl Scene<'_> {
    /// Returns the hints for a problem.
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

    /// Returns the program.
    fn program(&self) -> Option<&LoadedObject> {
        self.load.objects.first()
    }

    /// Returns a hint for a library that was found through a search list although the system's library would work.
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
                format!("{path} was found through {list}, but the system's {own} would work")
            }
            None => format!("{path} was found through {list}"),
        })
    }

    /// Returns the library that the loader takes if no search list leads to another one.
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

    /// Returns the object at a path if it is for the program's machine.
    fn fitting(&self, path: &str) -> Option<std::sync::Arc<Facts>> {
        let program = &self.program()?.facts;
        let facts = self.context.files.open(path).ok()?.facts;
        ((facts.machine, facts.class) == (program.machine, program.class)).then_some(facts)
    }

    /// Returns a hint if the library is in the RUNPATH of another object. A RUNPATH applies only to the libraries
    /// that its object needs.
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
                        "{path} is in the RUNPATH of {holder}, which applies only to the libraries that {holder} \
                         needs"
                    ));
                }
            }
            holder = object.loaded_by;
        }
        None
    }

    /// Returns a hint for a library in a usual directory that the loader does not search.
    fn in_directory_not_searched(&self, library: &str, searched: &[String]) -> Option<String> {
        let listed = self.configured_directories();
        let usual = USUAL.iter().map(|directory| (*directory).to_owned());
        let directories =
            listed.iter().cloned().chain(usual).filter(|directory| !searched.contains(directory));
        let mut paths = directories.map(|directory| (format!("{directory}/{library}"), directory));
        let (path, directory) = paths.find(|(path, _)| self.fitting(path).is_some())?;
        Some(if listed.contains(&directory) {
            format!("{path} exists, but is not in the loader's cache: run ldconfig")
        } else {
            format!(
                "{path} exists, but the loader does not search {directory}: add it to /etc/ld.so.conf and run \
                 ldconfig"
            )
        })
    }

    /// Returns the directories in `/etc/ld.so.conf` and the files that it includes (ldconfig(8)).
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

    /// Returns the files that match the pattern of an `include`, in the usual form `DIRECTORY/*.conf`.
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

    /// Returns a hint for a 32-bit program on a 64-bit machine, which needs 32-bit libraries.
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
