//! A host -> profile.

mod listing;
mod run_path;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;

use crate::elf::{Class, Machine};
use crate::generate::object;
use crate::host::{Drivers, DynamicLoader, LibraryCache, Platform, Profile, is_core_library};
use crate::loader::{Blocked, DEFAULT_PROGRAM_PATH, Files, Form, HostFiles, Obstacle, OpenError, listed};
use crate::script::parse_script;
use crate::spec::{Script, Symbols};
use compat_sys::raw;

/// The contents of a profile.
#[derive(Clone, Debug, Default)]
pub struct ProfileOptions {
    /// Whether only the libraries that come with the compiler and the C library are recorded.
    pub minimal: bool,
    /// Directories to record in addition to those that the loaders search by default.
    pub directories: Vec<String>,
}

/// Subdirectories of a library directory that loaders search, in any nesting.
const SUBDIRECTORIES: [&str; 14] = [
    "tls", "haswell", "xeon_phi", "avx512_1", "x86_64", "i386", "i486", "i586", "i686", "sse2", "neon",
    "vfp", "atomics", "power9",
];
/// The maximum nesting of these subdirectories.
const DEEPEST_SUBDIRECTORY: usize = 4;

/// Records the host whose root and platform are given.
pub fn profile(files: &HostFiles, platform: &Platform, options: &ProfileOptions) -> Profile {
    let mut recorder = Recorder {
        files,
        profile: Profile { complete: !options.minimal, ..Profile::new(platform) },
        seen: BTreeSet::new(),
        passed: BTreeSet::new(),
        options,
    };
    recorder.add_loaders(platform.machine);
    for directory in recorder.directories() {
        recorder.add_library_directory(&directory, 0);
    }
    recorder.add_cached();
    recorder.add_programs();
    recorder.add_run_paths();
    recorder.add_listings();
    // Without a loader, the profile contains nothing that a program could need.
    recorder.profile.complete &= !recorder.profile.loaders.is_empty();
    let profile = &mut recorder.profile;
    profile.drivers = Some(Drivers::of(files.root()));
    profile.libraries.sort_by(|a, b| a.path.cmp(&b.path));
    profile.programs.sort_by(|a, b| a.path.cmp(&b.path));
    recorder.profile
}

struct Recorder<'a> {
    files: &'a HostFiles,
    profile: Profile,
    /// Real paths that were read.
    seen: BTreeSet<String>,
    /// Directories that paths enter and leave again, so they must exist.
    passed: BTreeSet<String>,
    options: &'a ProfileOptions,
}

impl Recorder<'_> {
    /// Adds the loaders at their usual paths, for this machine and the 32-bit machines that it can run.
    fn add_loaders(&mut self, machine: Machine) {
        let usual = [(machine, Class::Elf64), (Machine::I386, Class::Elf32), (Machine::ARM, Class::Elf32)];
        for (machine, class) in usual {
            let glibc = DynamicLoader::usual_path(machine, class, self.profile.big_endian);
            let paths = glibc.map(str::to_owned).into_iter().chain([DynamicLoader::usual_musl_path(machine)]);
            for path in paths {
                self.add_loader(&path, machine, class);
            }
        }
        self.add_file("/etc/ld.so.preload");
    }

    /// Adds a loader with the files that it reads. Does nothing if the file is not a loader or is already
    /// recorded.
    fn add_loader(&mut self, path: &str, machine: Machine, class: Class) {
        if self.profile.loaders.iter().any(|known| known.path == path) {
            return;
        }
        let Some(loader) = self.files.dynamic_loader(path, machine, class) else { return };
        self.add_path(path);
        let list = if loader.is_musl() { loader.musl_path_file() } else { loader.cache_path.clone() };
        self.add_file(&list);
        self.profile.loaders.push((*loader).clone());
    }

    fn directories(&self) -> Vec<String> {
        let defaults = self.profile.loaders.iter().flat_map(|loader| loader.default_directories.clone());
        let musl = self.profile.loaders.iter().filter(|loader| loader.is_musl());
        let listed = musl.filter_map(|loader| self.files.read(&loader.musl_path_file()).ok());
        let listed = listed.flat_map(|data| {
            let text = raw::string(&data);
            text.split([':', '\n']).filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        });
        defaults.chain(listed).chain(self.options.directories.iter().cloned()).collect()
    }

    /// Adds a small file unchanged.
    fn add_file(&mut self, path: &str) {
        if let Ok(data) = self.files.read(path) {
            let text = base64::engine::general_purpose::STANDARD.encode(&data);
            let real = self.add_links(path);
            self.profile.files.insert(real, text);
        }
    }

    /// Adds a directory of libraries, with the subdirectories that loaders search.
    fn add_library_directory(&mut self, directory: &str, depth: usize) {
        let Some(real) = self.add_directory(directory) else { return };
        for name in self.files.root().listing(&raw::path(&real)).unwrap_or_default() {
            let path = format!("{real}/{name}");
            if depth < DEEPEST_SUBDIRECTORY && SUBDIRECTORIES.contains(&name.as_str()) {
                self.add_library_directory(&path, depth + 1);
            }
            if depth == 0 && name == "glibc-hwcaps" {
                self.add_directory(&path);
                for name in self.files.root().listing(&raw::path(&path)).unwrap_or_default() {
                    self.add_directory(&format!("{path}/{name}"));
                }
            }
        }
    }

    /// Adds the libraries of a directory. Returns its path without links, or `None` if it cannot be listed or was
    /// already added.
    fn add_directory(&mut self, directory: &str) -> Option<String> {
        let listed = self.files.root().listing(&raw::path(directory))?;
        let real = self.add_links(directory);
        if !self.profile.directories.insert(real.clone()) {
            return None;
        }
        for name in listed {
            if name.contains(".so") && (!self.options.minimal || is_core_library(&name)) {
                self.add_path(&format!("{}/{name}", real.trim_end_matches('/')));
            }
        }
        Some(real)
    }

    /// Adds the libraries that the cache names in other directories. These directories are searched only through
    /// the cache, so only the named files count.
    fn add_cached(&mut self) {
        let paths: Vec<String> =
            self.profile.loaders.iter().map(|loader| loader.cache_path.clone()).collect();
        for path in paths {
            let cache = self
                .files
                .read(&path)
                .ok()
                .and_then(|data| LibraryCache::parse_as(&data, self.profile.big_endian));
            for path in cache.iter().flat_map(LibraryCache::paths) {
                let name = path.rsplit('/').next().unwrap_or_default();
                if !self.options.minimal || is_core_library(name) {
                    self.add_path(&path);
                }
            }
        }
    }

    /// Adds one library, by any path to it.
    fn add_path(&mut self, path: &str) {
        self.files.memory().begin();
        let opened = match self.files.open(path) {
            Ok(opened) => opened,
            Err(error) => return self.add_unusable(path, error),
        };
        let real = self.add_links(path);
        if opened.facts.form == Form::Other {
            self.profile.unusable.insert(real, "only ET_DYN and ET_EXEC can be loaded".to_owned());
            return;
        }
        if self.seen.insert(real.clone()) {
            if opened.facts.interpreter.is_some() && self.files.is_executable(&real) {
                self.profile.executables.insert(real.clone());
            }
            self.profile.libraries.push(object::specify(&real, &opened.facts));
        }
    }

    /// Adds the obstacle that the loader would find under the name of a library.
    fn add_unusable(&mut self, path: &str, error: OpenError) {
        match error {
            OpenError::Absent(_) => {}
            // A link to itself blocks a search.
            OpenError::Blocked(Blocked { obstacle: Obstacle::Other(_), in_directory: true }) => {
                self.profile.links.insert(path.to_owned(), path.to_owned());
            }
            // The name stays among the unrecorded names.
            OpenError::Blocked(_) => {}
            // A directory is known by its recorded contents, or not at all.
            OpenError::NotRegular => {}
            other => {
                let real = self.add_links(path);
                self.profile.unusable.insert(real, other.to_string());
            }
        }
    }

    /// Records the links from a path to its real path and returns the real path. Each link is recorded by the real
    /// path of its directory.
    fn add_links(&mut self, path: &str) -> String {
        let mut here = String::new();
        for component in path.split('/').filter(|component| !matches!(*component, "" | ".")) {
            if component == ".." {
                self.passed.insert(here.clone());
                here.truncate(here.rfind('/').unwrap_or(0));
                continue;
            }
            let shown = format!("{here}/{component}");
            let real = self.files.real_path(&shown);
            if real != shown {
                self.profile.links.insert(shown, real.clone());
            }
            here = if real == "/" { String::new() } else { real };
        }
        if here.is_empty() { "/".to_owned() } else { here }
    }

    fn add_programs(&mut self) {
        let mut scripts = BTreeMap::new();
        for directory in DEFAULT_PROGRAM_PATH.split(':') {
            let Some(listed) = self.files.root().listing(&raw::path(directory)) else { continue };
            let real = self.add_links(directory);
            self.profile.directories.insert(real.clone());
            for name in listed {
                self.files.memory().begin();
                let path = format!("{real}/{name}");
                if self.files.is_executable(&path) {
                    self.add_program(&path, &mut scripts);
                }
            }
        }
        self.profile.scripts = scripts.into_values().collect();
    }

    fn add_program(&mut self, path: &str, scripts: &mut BTreeMap<String, Script>) {
        let real = self.add_links(path);
        match self.files.open(path) {
            Ok(opened) if self.seen.insert(real.clone()) => {
                let mut program = object::specify(&real, &opened.facts);
                program.wants.clear();
                program.unversioned = Symbols::default();
                program.provides = None;
                self.profile.programs.push(program);
            }
            Err(OpenError::NotElf | OpenError::TooShort) => {
                let data = self.files.read(path).ok();
                if let Some(Ok(script)) = data.and_then(|data| parse_script(&data)) {
                    scripts.insert(real.clone(), listed(&real, &script, |_| true));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::host::Root;

    #[test]
    fn what_is_in_a_directory_and_not_recorded_is_listed_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for directory in ["usr/lib/private", "usr/lib/glibc-hwcaps/x86-64-v3", "usr/lib/tls/sse2", "srv/x"] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        std::fs::write(at("usr/lib/libtext.so"), [b'x'; 100]).unwrap();
        std::fs::write(at("usr/lib/readme"), "text").unwrap();
        symlink("usr/lib", at("lib")).unwrap();
        symlink("libloop.so", at("usr/lib/libloop.so")).unwrap();
        symlink("nowhere", at("usr/lib/libdangling.so")).unwrap();
        let files = HostFiles::new(Root::at(directory.path()).unwrap());
        let options = ProfileOptions { directories: vec!["/lib".to_owned()], ..ProfileOptions::default() };
        let platform = Platform::of_machine(Machine::X86_64, false);
        let profile = profile(&files, &platform, &options);
        let lists = profile.unrecorded.unwrap();
        assert_eq!(lists["/usr/lib"], ["private", "readme"]);
        assert_eq!(lists["/"], ["srv"]);
        assert_eq!(profile.links["/lib"], "/usr/lib");
        assert_eq!(profile.links["/usr/lib/libloop.so"], "/usr/lib/libloop.so");
        assert_eq!(profile.unusable["/usr/lib/libtext.so"], "invalid ELF header");
        for directory in ["/usr/lib/glibc-hwcaps/x86-64-v3", "/usr/lib/tls/sse2", "/usr", "/"] {
            assert!(profile.directories.contains(directory), "{directory}");
        }
    }
}
