//! Where the loader's objects come from: a host's root, or an application's scope laid over one.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::elf;
use crate::host::{self, Root, WalkError};
use crate::loader::{Application, Facts, Memory};

/// What makes two opened files the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A file of the host.
    Host(host::Identity),
    /// An object of the scope, by its number.
    Scope(usize),
}

/// An object that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Which file it is.
    pub identity: Identity,
    /// What it says.
    pub facts: Arc<Facts>,
}

impl Opened {
    /// Whether it belongs to the scope rather than to the host.
    pub fn is_in_scope(&self) -> bool {
        matches!(self.identity, Identity::Scope(_))
    }
}

/// Why a path gave no object.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// The path could not be opened; the text of the system's error.
    #[error("{0}")]
    Absent(String),
    /// There is something else than a regular file.
    #[error("cannot read file data: Is a directory")]
    NotRegular,
    /// The file is shorter than an ELF header.
    #[error("file too short")]
    TooShort,
    /// The file is no ELF object.
    #[error("invalid ELF header")]
    NotElf,
    /// The file is an ELF object that cannot be read.
    #[error("{0}")]
    Malformed(elf::Error),
}

impl From<WalkError> for OpenError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::NotRegular => Self::NotRegular,
            other => Self::Absent(other.to_string()),
        }
    }
}

impl From<elf::Error> for OpenError {
    fn from(error: elf::Error) -> Self {
        match error {
            elf::Error::NotElf => Self::NotElf,
            elf::Error::TooShort { .. } => Self::TooShort,
            other => Self::Malformed(other),
        }
    }
}

/// The files that the loader can reach.
pub trait Files {
    /// Opens the object at an absolute path.
    ///
    /// # Errors
    ///
    /// Where there is none, or it is no object that can be read.
    fn open(&self, path: &str) -> Result<Opened, OpenError>;

    /// The bytes of the file at an absolute path.
    ///
    /// # Errors
    ///
    /// Where there is none or it cannot be read.
    fn read(&self, path: &str) -> Result<Bytes, OpenError>;

    /// The absolute path without any link in it; the path itself when it leads nowhere.
    fn real_path(&self, path: &str) -> String;

    /// Whether there is a regular file that may be executed.
    fn is_executable(&self, path: &str) -> bool;

    /// What is remembered about the host below.
    fn memory(&self) -> &Memory;

    /// A path as people should see it.
    fn shown(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// The files of a host; each object is read once.
#[derive(Debug)]
pub struct HostFiles {
    root: Root,
    paths: RefCell<HashMap<String, Result<Opened, OpenError>>>,
    objects: RefCell<HashMap<host::Identity, Result<Arc<Facts>, OpenError>>>,
    memory: Memory,
}

impl HostFiles {
    /// The files of a root.
    pub fn new(root: Root) -> Self {
        Self { root, paths: RefCell::default(), objects: RefCell::default(), memory: Memory::default() }
    }

    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    fn open_anew(&self, path: &str) -> Result<Opened, OpenError> {
        let (data, identity) = self.root.map(Path::new(path))?;
        if let Some(known) = self.objects.borrow().get(&identity) {
            return known.clone().map(|facts| Opened { identity: Identity::Host(identity), facts });
        }
        let facts = parse(data).map(Arc::new);
        self.objects.borrow_mut().insert(identity, facts.clone());
        facts.map(|facts| Opened { identity: Identity::Host(identity), facts })
    }
}

/// How many paths are remembered: every place that a search looks at is one.
const MOST_PATHS: usize = 1 << 18;

/// The longest path that the kernel takes, its NUL included (PATH_MAX).
pub(super) const MAXIMUM_PATH: usize = 4096;

/// The size of the ELF header of the 64-bit class, which the loader reads first.
const HEADER_SIZE: usize = 64;

fn parse(data: Bytes) -> Result<Facts, OpenError> {
    if data.len() < HEADER_SIZE && !data.starts_with(b"\x7fELF\x01") {
        return Err(OpenError::TooShort);
    }
    Ok(Facts::of_object(elf::Object::parse(data)?))
}

impl Files for HostFiles {
    fn open(&self, path: &str) -> Result<Opened, OpenError> {
        if let Some(known) = self.paths.borrow().get(path) {
            return known.clone();
        }
        let opened = self.open_anew(path);
        let mut paths = self.paths.borrow_mut();
        if paths.len() < MOST_PATHS {
            paths.insert(path.to_owned(), opened.clone());
        }
        opened
    }

    fn read(&self, path: &str) -> Result<Bytes, OpenError> {
        Ok(self.root.map(Path::new(path))?.0)
    }

    fn real_path(&self, path: &str) -> String {
        let resolved = self.root.resolve(Path::new(path));
        resolved.map_or_else(|_| path.to_owned(), |real| real.to_string_lossy().into_owned())
    }

    fn is_executable(&self, path: &str) -> bool {
        self.root.is_executable(Path::new(path))
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// An application's scope laid over a host: the scope's objects hide the host's files.
pub struct ScopeFiles<'a> {
    location: String,
    objects: HashMap<String, Opened>,
    links: &'a BTreeMap<String, String>,
    below: &'a dyn Files,
}

/// Where a scope lies whose place does not matter: a folder that no host has.
const ANYWHERE: &str = "/.compat/scope";

impl<'a> ScopeFiles<'a> {
    /// Lays the scope of an application over `below`.
    pub fn new(application: &'a Application, below: &'a dyn Files) -> Self {
        let location = application.location.as_deref().unwrap_or(ANYWHERE).trim_end_matches('/').to_owned();
        let opened = application.objects.iter().enumerate().map(|(number, (path, facts))| {
            let opened = Opened { identity: Identity::Scope(number), facts: Arc::clone(facts) };
            (path.clone(), opened)
        });
        Self { objects: opened.collect(), location, links: &application.links, below }
    }

    /// The absolute path of something in the scope.
    pub fn path_of(&self, path: &str) -> String {
        format!("{}/{path}", self.location)
    }

    /// The path in the scope, links followed, that an absolute path leads to.
    fn inside(&self, path: &str) -> Option<String> {
        // Most paths are the host's own: only `..` could lead from one of those into the scope.
        if !path.starts_with(&self.location) && !path.contains("..") {
            return None;
        }
        if path.len() >= MAXIMUM_PATH {
            return None;
        }
        let normal = normalise(path);
        let inside = normal.strip_prefix(&self.location)?.strip_prefix('/')?;
        let mut walked = PathBuf::new();
        let mut ahead: Vec<String> = inside.split('/').rev().map(str::to_owned).collect();
        let mut followed = 0;
        while let Some(component) = ahead.pop() {
            walked.push(component);
            if let Some(target) = self.links.get(&*walked.to_string_lossy()) {
                followed += 1;
                if followed > 40 || target.len() >= MAXIMUM_PATH {
                    return None;
                }
                ahead.extend(target.split('/').rev().map(str::to_owned));
                walked.clear();
            }
        }
        Some(walked.to_string_lossy().into_owned())
    }
}

impl Files for ScopeFiles<'_> {
    fn open(&self, path: &str) -> Result<Opened, OpenError> {
        match self.inside(path).and_then(|inside| self.objects.get(&inside)) {
            Some(object) => Ok(object.clone()),
            None => self.below.open(path),
        }
    }

    fn read(&self, path: &str) -> Result<Bytes, OpenError> {
        self.below.read(path)
    }

    fn real_path(&self, path: &str) -> String {
        match self.inside(path) {
            Some(inside) if self.objects.contains_key(&inside) => self.path_of(&inside),
            _ => self.below.real_path(path),
        }
    }

    fn is_executable(&self, path: &str) -> bool {
        self.inside(path).is_some_and(|inside| self.objects.contains_key(&inside))
            || self.below.is_executable(path)
    }

    fn memory(&self) -> &Memory {
        self.below.memory()
    }

    /// Objects of the scope by their path in it.
    fn shown(&self, path: &str) -> String {
        match self.inside(path) {
            Some(inside) if self.objects.contains_key(&inside) => inside,
            _ => path.to_owned(),
        }
    }
}

/// A path without `.`, `..` and empty components, by its text alone.
fn normalise(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}
