//! A host -> profile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use crate::elf::{Class, Machine};
use crate::generate::object;
use crate::host::{Drivers, DynamicLoader, LibraryCache, Platform, Profile};
use crate::loader::{DEFAULT_PROGRAM_PATH, Files, HostFiles, OpenError, parse_script};
use crate::spec::{Script, Symbols};

/// What goes into a profile.
#[derive(Clone, Debug, Default)]
pub struct ProfileOptions {
    /// Only the libraries that come with the compiler and the C library.
    pub minimal: bool,
    /// Directories to record besides those that the loaders search by themselves.
    pub directories: Vec<String>,
}

/// The libraries of a minimal profile, by the beginning of their names.
const CORE_LIBRARIES: [&str; 16] = [
    "ld-linux",
    "ld-musl",
    "ld64.so",
    "libanl.so",
    "libatomic.so",
    "libc.",
    "libcrypt.so",
    "libdl.so",
    "libgcc_s.so",
    "libgomp.so",
    "libm.so",
    "libpthread.so",
    "libresolv.so",
    "librt.so",
    "libstdc++.so",
    "libutil.so",
];

/// Sub-directories of a library directory that loaders look into.
const SUBDIRECTORIES: [&str; 7] = [
    "glibc-hwcaps/x86-64-v2",
    "glibc-hwcaps/x86-64-v3",
    "glibc-hwcaps/x86-64-v4",
    "tls",
    "haswell",
    "x86_64",
    "avx512_1",
];

/// Records the host whose root and platform are given.
pub fn profile(files: &HostFiles, platform: &Platform, options: &ProfileOptions) -> Profile {
    let mut recorder = Recorder {
        files,
        profile: Profile { complete: !options.minimal, ..Profile::new(platform) },
        seen: BTreeSet::new(),
        options,
    };
    recorder.add_loaders(platform.machine);
    for directory in recorder.directories() {
        recorder.add_directory(&directory);
        for subdirectory in SUBDIRECTORIES {
            recorder.add_directory(&format!("{directory}/{subdirectory}"));
        }
    }
    recorder.add_cached();
    recorder.add_programs();
    let profile = &mut recorder.profile;
    profile.drivers = Some(Drivers::of(files.root()));
    profile.libraries.sort_by(|a, b| a.path.cmp(&b.path));
    profile.programs.sort_by(|a, b| a.path.cmp(&b.path));
    recorder.profile
}

struct Recorder<'a> {
    files: &'a HostFiles,
    profile: Profile,
    /// Real paths that were looked at.
    seen: BTreeSet<String>,
    options: &'a ProfileOptions,
}

impl Recorder<'_> {
    /// The loaders at their usual paths, for this machine and those that it runs besides.
    fn add_loaders(&mut self, machine: Machine) {
        let usual = [(machine, Class::Elf64), (Machine::I386, Class::Elf32), (Machine::ARM, Class::Elf32)];
        for (machine, class) in usual {
            let glibc = DynamicLoader::usual_path(machine, class, cfg!(target_endian = "big"));
            let paths = glibc.map(str::to_owned).into_iter().chain([DynamicLoader::usual_musl_path(machine)]);
            for path in paths {
                let Some(loader) = self.files.dynamic_loader(&path, machine, class) else { continue };
                self.add_path(&path);
                let list = if loader.is_musl() { loader.musl_path_file() } else { loader.cache_path.clone() };
                self.add_file(&list);
                self.profile.loaders.push((*loader).clone());
            }
        }
        self.add_file("/etc/ld.so.preload");
    }

    fn directories(&self) -> Vec<String> {
        let defaults = self.profile.loaders.iter().flat_map(|loader| loader.default_directories.clone());
        let musl = self.profile.loaders.iter().filter(|loader| loader.is_musl());
        let listed = musl.filter_map(|loader| self.files.read(&loader.musl_path_file()).ok());
        let listed = listed.flat_map(|data| {
            let text = String::from_utf8_lossy(&data).into_owned();
            text.split([':', '\n']).filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        });
        defaults.chain(listed).chain(self.options.directories.iter().cloned()).collect()
    }

    /// A small file as it is.
    fn add_file(&mut self, path: &str) {
        if let Ok(data) = self.files.read(path) {
            let text = base64::engine::general_purpose::STANDARD.encode(&data);
            let real = self.add_links(path);
            self.profile.files.insert(real, text);
        }
    }

    fn add_directory(&mut self, directory: &str) {
        let real = self.add_links(directory);
        if !self.profile.directories.insert(real.clone()) {
            return;
        }
        for name in self.names(&real) {
            if name.contains(".so") && (!self.options.minimal || is_core(&name)) {
                self.add_path(&format!("{real}/{name}"));
            }
        }
    }

    fn names(&self, real: &str) -> Vec<String> {
        let outside = self.files.root().directory().join(real.trim_start_matches('/'));
        let entries = fs::read_dir(outside).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The libraries that the cache names in other directories; those directories are searched by no
    /// other way, so only the named files count.
    fn add_cached(&mut self) {
        let paths: Vec<String> =
            self.profile.loaders.iter().map(|loader| loader.cache_path.clone()).collect();
        for path in paths {
            let cache = self.files.read(&path).ok().and_then(|data| LibraryCache::parse(&data));
            for path in cache.iter().flat_map(LibraryCache::paths) {
                let name = path.rsplit('/').next().unwrap_or_default();
                if !self.options.minimal || is_core(name) {
                    self.add_path(&path);
                }
            }
        }
    }

    /// One library, by whatever path it is reached.
    fn add_path(&mut self, path: &str) {
        let Ok(opened) = self.files.open(path) else { return };
        let real = self.add_links(path);
        if self.seen.insert(real.clone()) {
            self.profile.libraries.push(object::specify(&real, &opened.facts));
        }
    }

    /// Records the links that lead from a path to the real one, which it returns.
    fn add_links(&mut self, path: &str) -> String {
        let real = self.files.real_path(path);
        let mut prefix = PathBuf::from("/");
        for component in Path::new(path).components().skip(1) {
            prefix.push(component);
            let shown = prefix.to_string_lossy().into_owned();
            let leads_to = self.files.real_path(&shown);
            // Behind a linked folder the rest of the path is looked at from its target.
            if leads_to != shown && !self.is_behind_link(&shown) {
                self.profile.links.insert(shown, leads_to);
            }
        }
        self.add_final_link(path, &real);
        real
    }

    fn is_behind_link(&self, path: &str) -> bool {
        path.rsplit_once('/')
            .is_some_and(|(folder, _)| !folder.is_empty() && self.files.real_path(folder) != folder)
    }

    /// A file link in a linked folder, by the folder's real path.
    fn add_final_link(&mut self, path: &str, real: &str) {
        let Some((folder, name)) = path.rsplit_once('/') else { return };
        let folder = if folder.is_empty() { String::new() } else { self.files.real_path(folder) };
        let shown = format!("{folder}/{name}");
        if shown != real {
            self.profile.links.insert(shown, real.to_owned());
        }
    }

    fn add_programs(&mut self) {
        let mut scripts = BTreeMap::new();
        for directory in DEFAULT_PROGRAM_PATH.split(':') {
            let real = self.add_links(directory);
            self.profile.directories.insert(real.clone());
            for name in self.names(&real) {
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
                    let script = Script {
                        path: real.clone(),
                        interpreter: script.interpreter,
                        argument: script.argument,
                    };
                    scripts.insert(real, script);
                }
            }
            _ => {}
        }
    }
}

fn is_core(name: &str) -> bool {
    CORE_LIBRARIES.iter().any(|core| name.starts_with(core))
}
