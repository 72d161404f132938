//! Where the loader's objects come from: what every source of them can do, and a host's root.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::elf::{self, Class, Machine};
use crate::host::{self, DynamicLoader, LibraryCache, Root, WalkError};
use crate::loader::lock::locked;
use crate::loader::{Effort, Facts, Memory, Reason};
use compat_sys::raw;

/// What makes two opened files the same object.
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
    /// Which file it is.
    pub identity: ObjectIdentity,
    /// What it says.
    pub facts: Arc<Facts>,
}

impl Opened {
    /// Whether it belongs to the scope rather than to the host.
    pub fn is_in_scope(&self) -> bool {
        matches!(self.identity, ObjectIdentity::Scope(_))
    }
}

/// A path that could not be opened, although something may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What is in the way.
    pub obstacle: Obstacle,
    /// The directory that the file was looked for in exists: glibc's loader takes notice of an absolute one
    /// that does not, and goes on to the next.
    pub in_directory: bool,
}

/// What keeps a path from being opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The path leads through a file (`ENOTDIR`).
    #[error("Not a directory")]
    File,
    /// The path, or a name in it, is longer than the kernel takes (`ENAMETOOLONG`).
    #[error("File name too long")]
    TooLong,
    /// Any other error of the system, in its words: `ELOOP`, `EIO`, `ENXIO`.
    #[error("{0}")]
    Other(String),
}

/// What the loader says of a file that is shorter than an ELF header.
const TOO_SHORT: &str = "file too short";
/// What the loader says of a file that is no ELF object.
const NOT_ELF: &str = "invalid ELF header";

/// Why a path gave no object.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// The path could not be opened; the text of the system's error.
    #[error("{0}")]
    Absent(Reason),
    /// The path could not be opened for a reason that may end the search of a list of directories.
    #[error("{}", .0.obstacle)]
    Blocked(Blocked),
    /// The file is known to be unusable; what the loader says of it.
    #[error("{0}")]
    Unusable(String),
    /// A document says that the file is no object at all, in the loader's words: it is too short for one, or lacks the
    /// header. Unlike that of the two below, its content cannot be read as a script's.
    #[error("{0}")]
    RecordedNotElf(&'static str),
    /// There is something else than a regular file: what glibc says of a directory (its message has the
    /// number, EISDIR).
    #[error("cannot read file data: Error 21")]
    NotRegular,
    /// The file is shorter than an ELF header.
    #[error("{TOO_SHORT}")]
    TooShort,
    /// The file is no ELF object.
    #[error("{NOT_ELF}")]
    NotElf,
    /// The file is an ELF object that cannot be read.
    #[error("{0}")]
    Malformed(elf::Error),
}

impl OpenError {
    /// Why a path gives no object.
    pub(super) fn into_reason(self) -> Reason {
        match self {
            Self::Absent(reason) => reason,
            other => other.to_string().into(),
        }
    }

    /// What a document says of a file that the loader cannot use, in the loader's words.
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

    /// The same where `is_directory` says of the directory above `path` whether it exists.
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

/// What a loader says of an object for its machine that states the other byte order.
pub(super) fn wrong_byte_order(of_loader_is_big: bool) -> String {
    let order = if of_loader_is_big { "big" } else { "little" };
    format!("ELF file data encoding not {order}-endian")
}

/// What a container runtime does about a library that an image lacks.
#[derive(Clone, Debug)]
pub enum Injection {
    /// Nothing: it is not one of those.
    NotExpected,
    /// It brings the host's, which lies at this path there.
    Found(Opened, String),
    /// It would bring the host's, and the host has none.
    Absent {
        /// What brings it, such as "NVIDIA driver".
        provider: String,
        /// Whether the host is known well enough to say so.
        recorded: bool,
    },
}

/// The files that the loader can reach.
pub trait Files {
    /// Opens the object at an absolute path.
    ///
    /// # Errors
    ///
    /// If there is none, or it is no object that can be read.
    fn open(&self, path: &str) -> Result<Opened, OpenError>;

    /// The bytes of the file at an absolute path.
    ///
    /// # Errors
    ///
    /// If there is none or it cannot be read.
    fn read(&self, path: &str) -> Result<Bytes, OpenError>;

    /// The absolute path without any link in it; the path itself when it leads nowhere.
    fn real_path(&self, path: &str) -> String;

    /// Whether there is a regular file that may be executed.
    fn is_executable(&self, path: &str) -> bool;

    /// Whether one may change to the directory at an absolute path; `None` if nobody can tell.
    fn has_directory(&self, _path: &str) -> Option<bool> {
        None
    }

    /// Whether these are the files of this machine, where this user's rights and mount options count.
    fn is_this_machine(&self) -> bool {
        false
    }

    /// Whether nobody can tell what is at an absolute path: a saved host does not record it.
    fn is_unrecorded(&self, _path: &str) -> bool {
        false
    }

    /// What is remembered about the host below.
    fn memory(&self) -> &Memory;

    /// The facts of the loader at `path`; `None` when it is no loader that is known.
    fn dynamic_loader(&self, path: &str, machine: Machine, class: Class) -> Option<Arc<DynamicLoader>> {
        let data = self.read(path).ok()?;
        DynamicLoader::parse(path, &data, machine, class).map(Arc::new)
    }

    /// The cache at `path` as a loader of a byte order reads it; `None` if it is missing or corrupt.
    fn library_cache(&self, path: &str, big_endian: bool) -> Option<Arc<LibraryCache>> {
        LibraryCache::parse_as(&self.read(path).ok()?, big_endian).map(Arc::new)
    }

    /// What becomes of a library for `program` that no search finds: a container runtime may bring it from
    /// the host, and what such a library itself needs (`by_injected`).
    fn injected(&self, _name: &str, _program: &Facts, _by_injected: bool) -> Injection {
        Injection::NotExpected
    }

    /// The names of what a directory holds; none if that is not known.
    fn names(&self, _directory: &str) -> Vec<String> {
        Vec::new()
    }

    /// A path as people should see it.
    fn shown(&self, path: &str) -> String {
        path.to_owned()
    }

    /// A path without the directory of a scope that lies anywhere, which no machine has.
    fn placed(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// The files of a host that several threads may share.
pub trait SharedFiles: Files + Send + Sync {
    /// The same files and all that is known of them, with a budget of its own: for a check that others may run
    /// beside.
    fn shared(&self) -> Box<dyn SharedFiles>;
}

/// The files of a host; each object is read once.
#[derive(Debug)]
pub struct HostFiles {
    root: Root,
    opened: Arc<OpenedFiles>,
    memory: Memory,
}

/// What was found at the paths of a root.
#[derive(Debug, Default)]
struct OpenedFiles {
    paths: Mutex<HashMap<String, Result<Opened, OpenError>>>,
    objects: Mutex<HashMap<host::FileIdentity, Result<Arc<Facts>, OpenError>>>,
    /// Whether there is something at the path of a directory. Loaders remember it as well: a sub-directory for
    /// the CPU that is not there costs nothing more for the next name.
    directories: Mutex<HashMap<String, bool>>,
}

impl HostFiles {
    /// The files of a root.
    pub fn new(root: Root) -> Self {
        Self { root, opened: Arc::default(), memory: Memory::default() }
    }
    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What an error means to a search.
    fn failure(&self, path: &str, error: WalkError) -> OpenError {
        OpenError::from(error).at(path, |directory| self.root.is_directory(&raw::path(directory)))
    }

    /// Takes from the budget for a path that is walked; an error when there is not as much.
    fn spend(&self, path: &str) -> Result<(), OpenError> {
        let components = path.bytes().filter(|byte| *byte == b'/').count();
        let cost = COST_OF_PATH + COST_OF_COMPONENT * components;
        if self.memory.budget.spend(Effort::Search, cost) { Ok(()) } else { Err(WalkError::NotFound.into()) }
    }

    /// Whether a path lies in a directory that is known not to be there.
    fn is_in_missing_directory(&self, path: &str) -> bool {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        locked(&self.opened.directories).get(directory) == Some(&false)
    }

    /// Remembers whether the directory of a path is there that led to nothing.
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

/// How many paths are remembered: every place that a search looks at is one.
const MOST_PATHS: usize = 1 << 18;

/// What looking at a path of the file system takes of the budget, and each component of it.
const COST_OF_PATH: usize = 96;
const COST_OF_COMPONENT: usize = 12;

/// The size of the ELF header of the 64-bit class, which the loader reads first.
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

/// The names of a directory that sort first, whatever its order: no more than these are kept.
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

/// What looking a path of the scope up takes of the budget.
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
