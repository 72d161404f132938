//! The files below the scope of a container image: none of the host's, except those that a container runtime
//! adds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, LibraryCache, WalkError};
use crate::loader::{Facts, Files, Injection, Memory, OpenError, parsed};
use crate::spec::Specification;

/// Directories of a host that contain drivers, in addition to those in its loader's cache, by the class of the
/// objects.
const DIRECTORIES_64: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
    "/usr/local/lib",
];
const DIRECTORIES_32: &[&str] = &["/usr/lib/i386-linux-gnu", "/usr/lib32", "/usr/lib"];

/// The loaders, small files and scripts of an image, and the host's libraries that a runtime adds.
pub struct SealedFiles<'a> {
    loaders: HashMap<String, Arc<DynamicLoader>>,
    cache: Option<Arc<LibraryCache>>,
    files: HashMap<String, Bytes>,
    scripts: HashMap<String, Bytes>,
    executable_scripts: HashSet<String>,
    /// The component that adds each library, by name.
    expected: HashMap<String, String>,
    host: &'a dyn Files,
    memory: Memory,
}

impl<'a> SealedFiles<'a> {
    /// Returns the files of the image of a specification other than its objects. Libraries that its runtime
    /// adds come from `host`.
    pub fn new(specification: &Specification, host: &'a dyn Files) -> Self {
        // Searches on the host have a budget as large as those in the image.
        host.memory().budget.refill(0);
        let image = specification.image.clone().unwrap_or_default();
        let decode = |text: &String| base64::engine::general_purpose::STANDARD.decode(text).ok();
        let files = image.files.iter().filter_map(|(path, text)| Some((path.clone(), decode(text)?.into())));
        let script = |script: &crate::spec::Script| (format!("/{}", script.path), parsed(script).text());
        let loaders = image.loaders.into_iter().map(|loader| (loader.path.clone(), Arc::new(loader)));
        let expected = image.host_libraries.into_iter().map(|library| (library.name, library.provider));
        let executable = specification.scripts.iter().filter(|script| !script.not_executable);
        Self {
            loaders: loaders.collect(),
            cache: (!image.cache.is_empty()).then(|| Arc::new(LibraryCache::of_lines(&image.cache))),
            files: files.collect(),
            scripts: specification.scripts.iter().map(script).collect(),
            executable_scripts: executable.map(|script| format!("/{}", script.path)).collect(),
            expected: expected.collect(),
            host,
            memory: Memory::default(),
        }
    }

    /// Returns whether the host has a library of that name.
    pub fn is_on_host(&self, name: &str, machine: Machine, class: Class) -> bool {
        self.on_host(name, machine, class).is_ok()
    }

    /// Returns the host's library of a name, from the cache of its loader or the directories of drivers.
    ///
    /// # Errors
    ///
    /// If the host has none: whether that is certain.
    fn on_host(&self, name: &str, machine: Machine, class: Class) -> Result<Injection, bool> {
        let flags = LibraryCache::required_flags(machine, class);
        let big_endian = machine.is_big_endian();
        let loader = DynamicLoader::usual_path(machine, class, big_endian);
        let cache = loader
            .and_then(|path| self.host.dynamic_loader(path, machine, class))
            .map_or_else(|| "/etc/ld.so.cache".to_owned(), |loader| loader.cache_path.clone());
        let cached = self
            .host
            .memory()
            .library_cache(&cache, big_endian, || self.host.library_cache(&cache, big_endian));
        let entries = cached.map(|cache| cache.find(name)).unwrap_or_default();
        let cached = entries
            .into_iter()
            .filter(|entry| LibraryCache::fits(entry.flags, flags))
            .map(|entry| entry.path);
        let directories = match class {
            Class::Elf64 => DIRECTORIES_64,
            Class::Elf32 => DIRECTORIES_32,
        };
        let in_directories = directories.iter().map(|directory| format!("{directory}/{name}"));
        let mut recorded = true;
        for path in cached.chain(in_directories) {
            match self.host.open(&path) {
                Ok(opened) if (opened.facts.machine, opened.facts.class) == (machine, class) => {
                    return Ok(Injection::Found(opened, path));
                }
                Err(OpenError::Absent(reason)) if reason.is_unrecorded() => recorded = false,
                _ => {}
            }
        }
        Err(recorded)
    }
}

impl Files for SealedFiles<'_> {
    fn open(&self, path: &str) -> Result<super::Opened, OpenError> {
        if self.scripts.contains_key(path) { Err(OpenError::NotElf) } else { Err(WalkError::NotFound.into()) }
    }

    fn read(&self, path: &str) -> Result<Bytes, OpenError> {
        let known = self.files.get(path).or_else(|| self.scripts.get(path));
        known.cloned().ok_or_else(|| WalkError::NotFound.into())
    }

    fn real_path(&self, path: &str) -> String {
        path.to_owned()
    }

    fn is_executable(&self, path: &str) -> bool {
        self.executable_scripts.contains(path)
    }

    /// If the directory of a script is missing, the document contains the script without its commands.
    fn has_directory(&self, _: &str) -> Option<bool> {
        Some(true)
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn dynamic_loader(&self, path: &str, _: Machine, _: Class) -> Option<Arc<DynamicLoader>> {
        self.loaders.get(path).cloned()
    }

    fn library_cache(&self, _: &str, _: bool) -> Option<Arc<LibraryCache>> {
        self.cache.clone()
    }

    fn injected(&self, name: &str, program: &Facts, by_injected: bool) -> Injection {
        let provider = match self.expected.get(name) {
            Some(provider) => provider.clone(),
            None if by_injected => "needed by a library of the host".to_owned(),
            None => return Injection::NotExpected,
        };
        if name.contains('/') {
            // A path is opened as such, not searched among the host's libraries.
            return Injection::NotExpected;
        }
        let found = self.on_host(name, program.machine, program.class);
        if let Some(effort) = self.host.memory().budget.exceeded() {
            self.memory.budget.exceed(effort);
        }
        found.unwrap_or_else(|recorded| Injection::Absent { provider, recorded })
    }
}
