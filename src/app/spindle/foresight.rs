//! Foresight: the files that the kernel and the dynamic loader open after a program or library, so that spindle reads
//! them ahead.
//!
//! An ELF object leads to its program interpreter and to the libraries that it needs, in the search order of glibc
//! (ld.so(8)): RPATH, `LD_LIBRARY_PATH`, RUNPATH, `ld.so.cache`. A script leads to its interpreter. Differences to the
//! loader only cost a wasted read, so that some rules are left out: the subdirectories of `glibc-hwcaps`, default
//! directories without `ld.so.cache`, and the restrictions for privileged programs.
//!
//! An object inherits the RPATH of the objects that need it. The names that an object with an RPATH needs are therefore
//! remembered.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use compat_loader::elf::{Class, Dynamic, Machine, Object};
use compat_loader::host::{self, LibraryCache, MAXIMUM_NAME, MAXIMUM_PATH};
use compat_loader::loader::{DEFAULT_PROGRAM_PATH, Tokens, platform_token};
use compat_loader::script::{EnvKind, parse_script};
use compat_mirror::spindle::foresee::{Foresee, Wish};
use compat_sys::raw;

/// The most files that one object leads to.
const MOST_WISHES: usize = 512;
/// The most directories that are searched for one object.
const MOST_DIRECTORIES: usize = 128;
/// The most names that are remembered with the RPATH of the objects that need them.
const MOST_INHERITED: usize = 4096;
/// The largest `ld.so.cache` that is read, in bytes.
const LARGEST_CACHE: u64 = 64 << 20;
/// The number of bytes that the kernel examines of a program (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

/// The paths of `ld.so.cache`.
const CACHE_PATH: &str = "/etc/ld.so.cache";

/// Directories in search order.
type Directories = Arc<[Vec<u8>]>;

/// The foresight for the commands of one run.
#[derive(Debug, Default)]
pub struct Foresight {
    /// The directories of `LD_LIBRARY_PATH`.
    library_path: Vec<Vec<u8>>,
    /// The directories of `PATH`.
    program_path: Directories,
    cache: Option<LibraryCache>,
    /// The RPATH directories for the names of libraries.
    inherited: Mutex<HashMap<String, Directories>>,
}

impl Foresight {
    /// Returns the foresight for commands that inherit the environment of this process, on this machine.
    pub fn of_this_process() -> Self {
        let cache = compat_sys::open_regular(Path::new(CACHE_PATH)).ok();
        let cache = cache.filter(|file| file.metadata().is_ok_and(|facts| facts.len() <= LARGEST_CACHE));
        let cache = cache.and_then(|file| host::whole(&file).ok());
        let library_path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let program_path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PROGRAM_PATH.into());
        Self::new(&library_path, &program_path, cache.as_ref().and_then(LibraryCache::parse))
    }

    /// Returns the foresight for commands with these values of `LD_LIBRARY_PATH` and `PATH`.
    pub fn new(library_path: &OsStr, program_path: &OsStr, cache: Option<LibraryCache>) -> Self {
        let library_path = absolute(library_path.as_bytes().split(|byte| matches!(byte, b':' | b';')));
        let program_path = absolute(program_path.as_bytes().split(|byte| *byte == b':')).into();
        Self { library_path, program_path, cache, inherited: Mutex::default() }
    }

    /// The files that an ELF object leads to.
    fn of_object(&self, path: &[u8], object: &Object) -> Vec<Wish> {
        let mut wishes = Vec::new();
        if let Some(interpreter) = &object.interpreter {
            wishes.extend(wish_for(&raw::bytes(interpreter)));
        }
        if let Some(dynamic) = &object.dynamic {
            let kind = (object.machine, object.class);
            wishes.extend(self.of_dynamic(path, dynamic, kind));
        }
        wishes
    }

    /// The libraries that a dynamic section needs.
    fn of_dynamic(&self, path: &[u8], dynamic: &Dynamic, kind: (Machine, Class)) -> Vec<Wish> {
        let origin = raw::string(parent(path));
        let rpath = self.rpath(path, dynamic, &origin, kind.0);
        let mut common = rpath.to_vec();
        common.extend(self.library_path.iter().cloned());
        let runpath = dynamic.runpath.as_deref().unwrap_or_default();
        common.extend(expanded(runpath, &origin, kind.0));
        common.truncate(MOST_DIRECTORIES);
        let mut of_cache = HashMap::new();
        let needed = dynamic.needed.iter().take(MOST_WISHES);
        let mut wishes = Vec::new();
        for dependency in needed {
            let name = tokens(&origin, kind.0, lib_tokens(kind.0)[0]).expand(&dependency.name);
            let name = raw::bytes(&name).into_owned();
            if name.contains(&b'/') {
                wishes.extend(wish_for(&name));
            } else if !name.is_empty() && name.len() <= MAXIMUM_NAME {
                let cached = self.in_cache(&dependency.name, kind);
                let directories = of_cache.entry(cached).or_insert_with_key(|cached| {
                    common.iter().chain(cached).cloned().collect::<Directories>()
                });
                wishes.push(Wish { directories: Arc::clone(directories), name });
            }
        }
        if !rpath.is_empty() {
            self.remember(dynamic, &rpath);
        }
        wishes
    }

    /// The directories of the RPATH of an object and of those that need it. They do not count for an object with a
    /// RUNPATH.
    fn rpath(&self, path: &[u8], dynamic: &Dynamic, origin: &str, machine: Machine) -> Directories {
        if dynamic.runpath.is_some() {
            return Directories::default();
        }
        let own = dynamic.rpath.as_deref().unwrap_or_default();
        let mut directories = expanded(own, origin, machine);
        let name = raw::text(&path[parent_length(path)..]);
        let name = dynamic.soname.as_deref().unwrap_or(name.trim_start_matches('/'));
        let inherited = self.inherited.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        for directory in inherited.iter().flat_map(|directories| directories.iter()) {
            if !directories.contains(directory) {
                directories.push(directory.clone());
            }
        }
        directories.truncate(MOST_DIRECTORIES);
        directories.into()
    }

    /// Remembers the RPATH that the needed libraries inherit.
    fn remember(&self, dynamic: &Dynamic, rpath: &Directories) {
        let mut inherited = self.inherited.lock().unwrap_or_else(PoisonError::into_inner);
        for dependency in &dynamic.needed {
            if inherited.len() >= MOST_INHERITED && !inherited.contains_key(&dependency.name) {
                return;
            }
            inherited.insert(dependency.name.clone(), Arc::clone(rpath));
        }
    }

    /// The directory of the first entry of `ld.so.cache` for a name.
    fn in_cache(&self, name: &str, (machine, class): (Machine, Class)) -> Option<Vec<u8>> {
        let required = LibraryCache::required_flags(machine, class);
        let entries = self.cache.as_ref()?.find(name);
        let fitting = entries.into_iter().find(|entry| {
            LibraryCache::fits(entry.flags, required)
                && entry.subdirectory.is_none()
                && entry.legacy_hwcaps == 0
        })?;
        Some(parent(&raw::bytes(&fitting.path)).to_vec()).filter(|directory| !directory.is_empty())
    }

    /// The interpreter of a script, and the program that it starts if it is `env`.
    fn of_script(&self, head: &[u8]) -> Vec<Wish> {
        let Some(Ok(script)) = parse_script(head) else { return Vec::new() };
        let interpreter = raw::bytes(&script.interpreter);
        let mut wishes: Vec<Wish> = wish_for(&interpreter).into_iter().collect();
        if interpreter.ends_with(b"/env")
            && let Ok(env) = EnvKind::Coreutils.start(script.argument.as_deref())
        {
            let program = raw::bytes(&env.program).into_owned();
            if program.contains(&b'/') {
                wishes.extend(wish_for(&program));
            } else if !program.is_empty() && program.len() <= MAXIMUM_NAME {
                wishes.push(Wish { directories: Arc::clone(&self.program_path), name: program });
            }
        }
        wishes
    }
}

impl Foresee for Foresight {
    fn after(&self, path: &[u8], content: &File) -> Vec<Wish> {
        let mut head = [0; HEAD];
        let Ok(length) = content.read_at(&mut head, 0) else { return Vec::new() };
        let head = &head[..length];
        if head.starts_with(b"#!") {
            return self.of_script(head);
        }
        if !head.starts_with(b"\x7fELF") {
            return Vec::new();
        }
        let Ok(bytes) = compat_sys::map(content) else { return Vec::new() };
        Object::parse(bytes).map_or_else(|_| Vec::new(), |object| self.of_object(path, &object))
    }
}

/// The wish for a file with an absolute path.
fn wish_for(path: &[u8]) -> Option<Wish> {
    let slash = parent_length(path);
    let name = path.get(slash + 1..).filter(|name| !name.is_empty() && name.len() <= MAXIMUM_NAME)?;
    let is_path = path.starts_with(b"/") && path.len() < MAXIMUM_PATH;
    is_path.then(|| Wish { directories: [parent(path).to_vec()].into(), name: name.to_vec() })
}

/// The directory of an absolute path.
fn parent(path: &[u8]) -> &[u8] {
    match parent_length(path) {
        0 if path.starts_with(b"/") => b"/",
        length => &path[..length],
    }
}

/// The position of the last slash.
fn parent_length(path: &[u8]) -> usize {
    path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

/// The absolute directories of a list, each once. The working directory of a program is unknown.
fn absolute<'a>(elements: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut directories: Vec<Vec<u8>> = Vec::new();
    for element in elements.take(MOST_DIRECTORIES) {
        let is_absolute = element.starts_with(b"/") && element.len() < MAXIMUM_PATH;
        if is_absolute && !directories.iter().any(|known| known == element) {
            directories.push(element.to_vec());
        }
    }
    directories
}

/// The directories of an RPATH or RUNPATH.
fn expanded(list: &str, origin: &str, machine: Machine) -> Vec<Vec<u8>> {
    let elements = list.split(':').take(MOST_DIRECTORIES).filter(|element| element.len() < MAXIMUM_PATH);
    let mut directories = Vec::new();
    for element in elements {
        let libs = if element.contains("LIB") { lib_tokens(machine) } else { &lib_tokens(machine)[..1] };
        for lib in libs {
            let directory = tokens(origin, machine, lib).expand(element);
            directories.push(raw::bytes(&directory).into_owned());
        }
    }
    absolute(directories.iter().map(Vec::as_slice))
}

fn tokens<'a>(origin: &'a str, machine: Machine, lib: &'a str) -> Tokens<'a> {
    Tokens { origin, lib, platform: platform_token(machine) }
}

/// The values of `$LIB`, which a loader has compiled in: those of Debian and of others.
fn lib_tokens(machine: Machine) -> &'static [&'static str] {
    match machine {
        Machine::X86_64 => &["lib64", "lib/x86_64-linux-gnu"],
        Machine::AARCH64 => &["lib64", "lib/aarch64-linux-gnu"],
        Machine::PPC64 => &["lib64", "lib/powerpc64le-linux-gnu"],
        _ => &["lib", "lib64"],
    }
}

#[cfg(test)]
mod tests;
