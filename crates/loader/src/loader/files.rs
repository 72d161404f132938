//! The sources of the loader's objects: the interface of every source, and the root of a host.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::elf::{self, Class, Machine};
use crate::host::{self, DynamicLoader, LibraryCache, Root, WalkError};
use crate::loader::lock::locked;
use crate::loader::{Effort, Facts, Memory, Reason};
use compat_sys::raw;

/// The identity that makes two opened files the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectIdentity {
    /// A file of the host.
    Host(host::FileIdentity),
    /// An object of the scope, by its number.
    Scope(usize),
    /// An object of a saved host, by its number.
    Profile(usize),
}

/// An object that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The identity of the file.
    pub identity: ObjectIdentity,
    /// The facts in it.
    pub facts: Arc<Facts>,
}

impl Opened {
    /// Returns whether it belongs to the scope instead of the host.
    pub fn is_in_scope(&self) -> bool {
        matches!(self.identity, ObjectIdentity::Scope(_))
    }
}

/// A path that could not be opened, although it may exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The obstacle.
    pub obstacle: Obstacle,
    /// The directory in which the file was searched exists. glibc's loader notices an absolute directory that
    /// does not exist and continues with the next one.
    pub in_directory: bool,
}

/// The reason why a path cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The path leads through a file (`ENOTDIR`).
    #[error("Not a directory")]
    File,
    /// The path, or a name in it, is longer than the kernel allows (`ENAMETOOLONG`).
    #[error("File name too long")]
    TooLong,
    /// Any other error of the system, in its words: `ELOOP`, `EIO`, `ENXIO`.
    #[error("{0}")]
    Other(String),
}

/// The loader's message for a file that is shorter than an ELF header.
const TOO_SHORT: &str = "file too short";
/// The loader's message for a file that is not an ELF object.
const NOT_ELF: &str = "invalid ELF header";

/// The reason why a path is not an object.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// The path could not be opened. The text is the system's error.
    #[error("{0}")]
    Absent(Reason),
    /// The path could not be opened for a reason that may end the search of a directory list.
    #[error("{}", .0.obstacle)]
    Blocked(Blocked),
    /// The file is known to be unusable. The text is the loader's message.
    #[error("{0}")]
    Unusable(String),
    /// A document says, in the loader's words, that the file is not an object: it is too short or has no ELF
    /// header. Unlike `TooShort` and `NotElf`, its content cannot be read as a script.
    #[error("{0}")]
    RecordedNotElf(&'static str),
    /// The path is not a regular file. The text is glibc's message for a directory (with the number of EISDIR).
    #[error("cannot read file data: Error 21")]
    NotRegular,
    /// The file is shorter than an ELF header.
    #[error("{TOO_SHORT}")]
    TooShort,
    /// The file is not an ELF object.
    #[error("{NOT_ELF}")]
    NotElf,
    /// The file is an ELF object that cannot be read.
    #[error("{0}")]
    Malformed(elf::Error),
}

impl OpenError {
    /// Returns the reason why a path is not an object.
    pub(super) fn into_reason(self) -> Reason {
        match self {
            Self::Absent(reason) => reason,
            other => other.to_string().into(),
        }
    }

    /// Returns the error for a file that the loader cannot use, from the loader's words in a document.
    pub fn recorded(words: &str) -> Self {
        match words {
            TOO_SHORT => Self::RecordedNotElf(TOO_SHORT),
            NOT_ELF => Self::RecordedNotElf(NOT_ELF),
            other => Self::Unusable(other.to_owned()),
        }
    }

    fn blocked(obstacle: Obstacle) -> Self {
        Self::Blocked(Blocked { obstacle, in_directory: true })
    }

    /// Returns the same error with the answer of `is_directory`: whether the directory of `path` exists.
    pub fn at(self, path: &str, is_directory: impl FnOnce(&str) -> bool) -> Self {
        match self {
            Self::Blocked(blocked) => {
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                Self::Blocked(Blocked { in_directory: is_directory(directory), ..blocked })
            }
            other => other,
        }
    }
}

impl From<WalkError> for OpenError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::NotRegular => Self::NotRegular,
            WalkError::NotDirectory => Self::blocked(Obstacle::File),
            WalkError::TooLong => Self::blocked(Obstacle::TooLong),
            WalkError::Loop | WalkError::Io(_) => Self::blocked(Obstacle::Other(error.to_string())),
            WalkError::NotFound => Self::Absent(Reason::NotFound),
            WalkError::Denied => Self::Absent(error.to_string().into()),
        }
    }
}

impl From<elf::Error> for OpenError {
    fn from(error: elf::Error) -> Self {
        match error {
            elf::Error::NotElf => Self::NotElf,
            elf::Error::TooShort { .. } => Self::TooShort,
            elf::Error::EntrySize { .. } => {
                Self::Unusable("ELF file's phentsize not the expected size".to_owned())
            }
            elf::Error::ByteOrder { stated } => Self::Unusable(wrong_byte_order(stated != elf::Endian::Big)),
            elf::Error::UnknownClass(_) => Self::Absent(Reason::WrongClass(None)),
            other => Self::Malformed(other),
        }
    }
}

/// Returns the loader's message about an object for its machine that declares the other byte order.
pub(super) fn wrong_byte_order(of_loader_is_big: bool) -> String {
    let order = if of_loader_is_big { "big" } else { "little" };
    format!("ELF file data encoding not {order}-endian")
}

/// The handling of a library that an image lacks, by a container runtime.
#[derive(Clone, Debug)]
pub enum Injection {
    /// The runtime does not add this library.
    NotExpected,
    /// The runtime adds the host's library, which is at this path on the host.
    Found(Opened, String),
    /// The runtime would add the host's library, but the host has none.
    Absent {
        /// The component that adds it, such as "NVIDIA driver".
        provider: String,
        /// Whether the host is known well enough for this statement.
        recorded: bool,
    },
}

/// The files that the loader can reach.
pub trait Files {
    /// Opens the object at an absolute path.
    ///
    /// # Errors
    ///
    /// If the file does not exist, or is not a readable object.
    fn open(&self, path: &str) -> Result<Opened, OpenError>;

    /// Returns the content of the file at an absolute path.
    ///
    /// # Errors
    ///
    /// If the file does not exist or cannot be read.
    fn read(&self, path: &str) -> Result<Bytes, OpenError>;

    /// Returns the absolute path without links, or the path itself if it leads nowhere.
    fn real_path(&self, path: &str) -> String;

    /// Returns whether the path is a regular file that may be executed.
    fn is_executable(&self, path: &str) -> bool;

    /// Returns whether the directory at an absolute path can be entered, or `None` if unknown.
    fn has_directory(&self, _path: &str) -> Option<bool> {
        None
    }

    /// Returns whether these are the files of this machine, for which this user's rights and the mount options
    /// matter.
    fn is_this_machine(&self) -> bool {
        false
    }

    /// Returns whether a saved host does not record the absolute path.
    fn is_unrecorded(&self, _path: &str) -> bool {
        false
    }

    /// Returns the memory of the underlying host.
    fn memory(&self) -> &Memory;

    /// Returns the facts of the loader at `path`, or `None` if it is not a known loader.
    fn dynamic_loader(&self, path: &str, machine: Machine, class: Class) -> Option<Arc<DynamicLoader>> {
        let data = self.read(path).ok()?;
        DynamicLoader::parse(path, &data, machine, class).map(Arc::new)
    }

    /// Returns the cache at `path` as a loader with this byte order reads it, or `None` if it is missing or
    /// corrupt.
    fn library_cache(&self, path: &str, big_endian: bool) -> Option<Arc<LibraryCache>> {
        LibraryCache::parse_as(&self.read(path).ok()?, big_endian).map(Arc::new)
    }

    /// Returns the handling of a library for `program` that no search finds. A container runtime may add it
    /// from the host, and the libraries that such a library itself needs (`by_injected`).
    fn injected(&self, _name: &str, _program: &Facts, _by_injected: bool) -> Injection {
        Injection::NotExpected
    }

    /// Returns the names in a directory; empty if they are not known.
    fn names(&self, _directory: &str) -> Vec<String> {
        Vec::new()
    }

    /// Returns a path in the form that is shown to users.
    fn shown(&self, path: &str) -> String {
        path.to_owned()
    }

    /// Returns a path without the virtual directory of a scope that has no fixed location.
    fn placed(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// Files of a host that several threads can share.
pub trait SharedFiles: Files + Send + Sync {
    /// Returns the same files and all known facts, with a separate budget, for a concurrent check.
    fn shared(&self) -> Box<dyn SharedFiles>;
}

/// The files of a host. Each object is read once.
#[derive(Debug)]
pub struct HostFiles {
    root: Root,
    opened: Arc<OpenedFiles>,
    memory: Memory,
}

/// The results at the paths of a root.
#[derive(Debug, Default)]
struct OpenedFiles {
    paths: Mutex<HashMap<String, Result<Opened, OpenError>>>,
    objects: Mutex<HashMap<host::FileIdentity, Result<Arc<Facts>, OpenError>>>,
    /// Whether the path of a directory exists. Loaders remember this too: a missing sub-directory for the CPU
    /// costs nothing more for the next name.
    directories: Mutex<HashMap<String, bool>>,
}

impl HostFiles {
    /// Returns the files of a root.
    pub fn new(root: Root) -> Self {
        Self { root, opened: Arc::default(), memory: Memory::default() }
    }
    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Converts an error to its meaning for a search.
    fn failure(&self, path: &str, error: WalkError) -> OpenError {
        OpenError::from(error).at(path, |directory| self.root.is_directory(&raw::path(directory)))
    }

    /// Takes the cost of a path walk from the budget.
    ///
    /// # Errors
    ///
    /// If the budget is exhausted.
    fn spend(&self, path: &str) -> Result<(), OpenError> {
        let components = path.bytes().filter(|byte| *byte == b'/').count();
        let cost = COST_OF_PATH + COST_OF_COMPONENT * components;
        if self.memory.budget.spend(Effort::Search, cost) { Ok(()) } else { Err(WalkError::NotFound.into()) }
    }

    /// Returns whether a path is in a directory that is known to be missing.
    fn is_in_missing_directory(&self, path: &str) -> bool {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        locked(&self.opened.directories).get(directory) == Some(&false)
    }

    /// Remembers whether the directory of a path exists, after the path led to nothing.
    fn remember_directory(&self, path: &str) {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut directories = locked(&self.opened.directories);
        if directories.len() < MOST_PATHS && !directories.contains_key(directory) {
            let is_there = !matches!(self.root.resolve(&raw::path(directory)), Err(WalkError::NotFound));
            directories.insert(directory.to_owned(), is_there);
        }
    }

    fn open_anew(&self, path: &str) -> Result<Opened, OpenError> {
        let (data, identity) =
            self.root.object(&raw::path(path)).map_err(|error| self.failure(path, error))?;
        if let Some(known) = locked(&self.opened.objects).get(&identity) {
            return known.clone().map(|facts| Opened { identity: ObjectIdentity::Host(identity), facts });
        }
        let facts = parse(data).map(|mut facts| {
            facts.on_noexec = self.root.is_noexec(&raw::path(path));
            if let Some(own) = self.root.privileges(&raw::path(path)).filter(|_| facts.is_program()) {
                let starter = self.root.is_this_machine().then(host::Starter::of_this_process);
                facts.secure = own.raise_others();
                facts.secure_here = starter.map(|starter| starter.is_raised_by(&own));
            }
            Arc::new(facts)
        });
        let mut objects = locked(&self.opened.objects);
        // Another thread may have read it meanwhile: one file is one object.
        let facts = objects.entry(identity).or_insert(facts).clone();
        facts.map(|facts| Opened { identity: ObjectIdentity::Host(identity), facts })
    }
}

/// The maximum number of remembered paths: each place that a search checks is one.
const MOST_PATHS: usize = 1 << 18;

/// The budget cost of a path in the file system, and of each component.
const COST_OF_PATH: usize = 96;
const COST_OF_COMPONENT: usize = 12;

/// The size of the 64-bit ELF header, which the loader reads first.
const HEADER_SIZE: usize = 64;

fn parse(data: Bytes) -> Result<Facts, OpenError> {
    if data.len() < HEADER_SIZE {
        return Err(OpenError::TooShort);
    }
    Ok(Facts::of_object(elf::Object::parse(data)?))
}

impl SharedFiles for HostFiles {
    fn shared(&self) -> Box<dyn SharedFiles> {
        let (root, opened) = (self.root.clone(), Arc::clone(&self.opened));
        Box::new(Self { root, opened, memory: self.memory.shared() })
    }
}

impl Files for HostFiles {
    fn open(&self, path: &str) -> Result<Opened, OpenError> {
        if let Some(known) = locked(&self.opened.paths).get(path) {
            return known.clone();
        }
        if self.is_in_missing_directory(path) {
            self.memory.budget.spend(Effort::Search, cost_of_lookup(path));
            return Err(WalkError::NotFound.into());
        }
        self.spend(path)?;
        let opened = self.open_anew(path);
        if matches!(opened, Err(OpenError::Absent(_))) {
            self.remember_directory(path);
        }
        let mut paths = locked(&self.opened.paths);
        if paths.len() < MOST_PATHS {
            paths.insert(path.to_owned(), opened.clone());
        }
        opened
    }

    fn read(&self, path: &str) -> Result<Bytes, OpenError> {
        self.spend(path)?;
        Ok(self.root.read(&raw::path(path))?)
    }

    fn real_path(&self, path: &str) -> String {
        if self.spend(path).is_err() {
            return path.to_owned();
        }
        let resolved = self.root.resolve(&raw::path(path));
        resolved.map_or_else(|_| path.to_owned(), raw::of_path)
    }

    fn is_executable(&self, path: &str) -> bool {
        self.spend(path).is_ok() && self.root.is_executable(&raw::path(path))
    }

    fn has_directory(&self, path: &str) -> Option<bool> {
        self.spend(path).ok()?;
        Some(self.root.has_directory(&raw::path(path)))
    }

    fn is_this_machine(&self) -> bool {
        self.root.is_this_machine()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        // A path that leads nowhere inside the root is not followed outside of it.
        let Ok(real) = self.spend(directory).and_then(|()| Ok(self.root.resolve(&raw::path(directory))?))
        else {
            return Vec::new();
        };
        let outside = self.root.directory().join(real.strip_prefix("/").unwrap_or(&real));
        let entries = std::fs::read_dir(outside).into_iter().flatten().flatten();
        first_names(entries.map(|entry| raw::of_path(entry.file_name())))
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// Returns the first names in sort order, independent of the directory's order. It keeps only these.
fn first_names(all: impl Iterator<Item = String>) -> Vec<String> {
    const MOST: usize = 256;
    let mut first = BTreeSet::new();
    for name in all {
        first.insert(name);
        if first.len() > MOST {
            first.pop_last();
        }
    }
    first.into_iter().collect()
}

/// Returns the budget cost of a lookup in the scope.
pub(super) fn cost_of_lookup(path: &str) -> usize {
    1 + path.len() / 16
}

/// Adds a component to a path.
pub(super) fn push_component(path: &mut String, name: &str) {
    if !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loaders_own_words_say_that_a_recorded_file_is_no_object() {
        for known in [OpenError::TooShort, OpenError::NotElf] {
            let recorded = OpenError::recorded(&known.to_string());
            assert!(matches!(recorded, OpenError::RecordedNotElf(_)), "{recorded:?}");
            assert_eq!(recorded.to_string(), known.to_string());
        }
        for other in ["", "file too short ", "Permission denied"] {
            assert_eq!(OpenError::recorded(other), OpenError::Unusable(other.to_owned()));
        }
    }

    #[test]
    fn the_names_of_a_directory_do_not_depend_on_its_order() {
        let names = |numbers: &mut dyn Iterator<Item = usize>| {
            first_names(numbers.map(|number| format!("{number:04}.conf")))
        };
        let forwards = names(&mut (0..1000));
        assert_eq!((forwards.len(), forwards[0].as_str()), (256, "0000.conf"));
        assert_eq!(names(&mut (0..1000).rev()), forwards);
    }

    #[test]
    fn shared_files_are_read_once_and_each_has_a_budget_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let program = elf::sample::Sample::program(Machine::X86_64, 16).bytes();
        std::fs::write(root.path().join("program"), program).unwrap();
        let files = HostFiles::new(Root::at(root.path()).unwrap());
        let other = files.shared();
        let facts = [files.open("/program"), other.open("/program")].map(|opened| opened.unwrap().facts);
        assert!(Arc::ptr_eq(&facts[0], &facts[1]));
        files.memory().budget.exceed(Effort::Search);
        assert_eq!(other.memory().budget.exceeded(), None);
        assert!(other.open("/").is_err_and(|error| error == OpenError::NotRegular));
    }

    #[test]
    fn names_outside_the_root_are_not_listed() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        for directory in ["root/etc/inside", "outer/inside"] {
            std::fs::create_dir_all(place.path().join(directory)).unwrap();
        }
        std::fs::write(root.join("etc/inside/own.conf"), "").unwrap();
        std::fs::write(place.path().join("outer/inside/foreign.conf"), "").unwrap();
        let outer = place.path().join("outer/inside");
        for (name, target) in
            [("relative", "../../outer/inside"), ("absolute", outer.to_str().unwrap()), ("in", "/etc/inside")]
        {
            std::os::unix::fs::symlink(target, root.join("etc").join(name)).unwrap();
        }
        let files = HostFiles::new(Root::at(&root).unwrap());
        for inside in ["/etc/inside", "/etc/in", "/../etc/inside"] {
            assert_eq!(files.names(inside), ["own.conf"], "{inside}");
        }
        for outside in
            ["/../outer/inside", "/etc/relative", "/etc/absolute", "/etc/gone/../../../outer/inside"]
        {
            assert!(files.names(outside).is_empty(), "{outside}");
        }
    }
}
