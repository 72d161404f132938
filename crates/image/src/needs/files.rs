//! The files of an image as the loader sees them, and a record of the files it used.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::Config;
use crate::needs::account::Account;
use crate::needs::host_library::HostLibraries;
use crate::tree::{File, FileContent, FileId, Node, Tree};
use compat_loader::elf::{self, Class, Machine};
use compat_loader::generate::recorded;
use compat_loader::host::{DynamicLoader, LibraryCache, MAXIMUM_PATH, WalkError};
use compat_loader::loader::{Facts, Files, Injection, Memory, ObjectIdentity, OpenError, Opened, listed};
use compat_loader::script::{OWN_DIRECTORY, parse_script, why_none};
use compat_loader::spec::Script;
use compat_sys::raw;

/// The files that the loader looked up, by absolute path without links.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub objects: BTreeMap<String, Arc<Facts>>,
    pub scripts: BTreeMap<String, Script>,
    /// Links on the way, with their targets relative to the root.
    pub links: BTreeMap<String, String>,
    /// Paths at which the loader fails or that it skips, with its messages.
    pub unusable: BTreeMap<String, String>,
    pub loaders: BTreeMap<String, DynamicLoader>,
    pub caches: BTreeSet<(String, bool)>,
    pub files: BTreeMap<String, Bytes>,
}

/// The files of an image.
pub(super) struct TreeFiles<'a> {
    tree: &'a Tree,
    expected: &'a HostLibraries,
    /// The account that runs the command, unless it is root.
    account: Option<Account>,
    /// The working directory of the command.
    working_directory: String,
    known: RefCell<HashMap<FileId, KnownFile>>,
    paths: RefCell<HashMap<String, Result<Opened, OpenError>>>,
    seen: RefCell<Seen>,
    memory: Memory,
}

/// A file that was opened before.
struct KnownFile {
    number: usize,
    path: String,
    facts: Result<Arc<Facts>, OpenError>,
}

impl<'a> TreeFiles<'a> {
    pub(crate) fn new(tree: &'a Tree, config: &Config, expected: &'a HostLibraries) -> Self {
        Self {
            tree,
            expected,
            account: Account::of(config, tree),
            working_directory: format!("/{}", config.working_dir.trim_matches('/')),
            known: RefCell::default(),
            paths: RefCell::default(),
            seen: RefCell::default(),
            memory: Memory::default(),
        }
    }

    /// Returns the record so far.
    pub(crate) fn into_seen(self) -> Seen {
        self.seen.into_inner()
    }

    /// The absolute path without links.
    pub(crate) fn real(&self, path: &str) -> Option<String> {
        self.tree.resolve(&raw::path(path)).ok().map(|(real, _)| raw::of_path(real))
    }

    /// Whether there is a regular file at a path.
    pub(crate) fn is_file(&self, path: &str) -> bool {
        self.tree.file(&raw::path(path)).is_ok()
    }

    /// Whether the account may execute a file.
    fn may_execute(&self, file: &File) -> bool {
        self.account.as_ref().map_or_else(|| file.is_executable(), |account| account.may_execute(file))
    }

    /// Whether the account may search every directory on the way to a path.
    fn may_reach(&self, path: &str) -> bool {
        let Some(account) = &self.account else { return true };
        self.tree.searched(&raw::path(path)).into_iter().all(|directory| account.may_search(directory))
    }

    /// Whether the account may open a file.
    fn may_load(&self, path: &str, file: &File) -> bool {
        self.account.as_ref().is_none_or(|account| account.may_read(file)) && self.may_reach(path)
    }

    /// Whether a file is neither an object nor a script. Its caller, usually a shell, then reads it as a shell
    /// script.
    pub(crate) fn is_left_to_shell(&self, path: &str) -> bool {
        let file = self.tree.file(&raw::path(path));
        file.is_ok_and(|(_, _, file)| matches!(file.content, FileContent::Other | FileContent::Whole(_)))
    }

    /// The software that provides a library from the host.
    pub(crate) fn provider(&self, name: &str) -> Option<String> {
        self.expected.provider(name)
    }

    /// Returns the content at a path without recording it.
    pub(crate) fn content(&self, path: &str) -> recorded::RecordedContent {
        let Ok((_, _, file)) = self.tree.file(&raw::path(path)) else {
            return recorded::RecordedContent::Gone;
        };
        match &file.content {
            FileContent::Script(_) => recorded::RecordedContent::Script,
            FileContent::Elf(_) => match read(&file.content, file.size) {
                Ok(facts) => recorded::RecordedContent::Object(Arc::new(facts)),
                Err(_) => recorded::RecordedContent::Other,
            },
            FileContent::Whole(_) | FileContent::Other => recorded::RecordedContent::Other,
        }
    }

    /// Converts an error for a search. Links that lead to an error are recorded: they count as missing or stop
    /// the search.
    fn failure(&self, path: &str, error: WalkError) -> OpenError {
        let is_directory = |path: &str| {
            matches!(self.tree.resolve(&raw::path(&format!("/{path}"))), Ok((_, Node::Directory(_))))
        };
        let error = OpenError::from(error).at(path, is_directory);
        if matches!(&error, OpenError::Blocked(blocked) if blocked.in_directory) {
            // A path that is too long as a whole is not walked, but its directory is searched.
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let is_walked = raw::length(path) < MAXIMUM_PATH;
            self.note_links(if is_walked { path } else { directory });
        }
        error
    }

    fn open_anew(&self, path: &str) -> Result<Opened, OpenError> {
        let (real, id, file) = self.tree.file(&raw::path(path)).map_err(|error| self.failure(path, error))?;
        let real = raw::of_path(real);
        self.note_links(path);
        if let FileContent::Script(line) = &file.content {
            // The interpreter opens the script with the same account.
            self.note_script(&real, line, self.may_execute(file) && self.may_load(&real, file));
            return Err(OpenError::NotElf);
        }
        let mut known = self.known.borrow_mut();
        let count = known.len();
        let entry = known.entry(id).or_insert_with(|| KnownFile {
            number: count,
            path: real.clone(),
            facts: read(&file.content, file.size).map(|mut facts| {
                facts.secure = file.is_privileged();
                facts.not_executable = !self.may_execute(file) || !self.may_reach(&real);
                Arc::new(facts)
            }),
        });
        // Execute permission is checked for programs. The loader skips a library that it may not read, as if it
        // were missing.
        let is_loaded = entry.facts.as_ref().is_ok_and(|facts| !facts.is_executed() && !facts.flags.pie);
        if is_loaded && !self.may_load(path, file) {
            return Err(WalkError::Denied.into());
        }
        let mut seen = self.seen.borrow_mut();
        if entry.path != real {
            // Another name of a known file: the loader treats both as one.
            seen.links.insert(real, entry.path.clone());
        } else if let Err(error) = &entry.facts {
            seen.unusable.insert(real, error.to_string());
        } else if let Ok(facts) = &entry.facts {
            seen.objects.insert(real, Arc::clone(facts));
        }
        let facts = entry.facts.clone()?;
        Ok(Opened { identity: ObjectIdentity::Scope(entry.number), facts })
    }

    fn note_script(&self, real: &str, line: &[u8], is_executable: bool) {
        let Some(Ok(script)) = parse_script(line) else {
            let reason = match parse_script(line) {
                Some(Err(reason)) => reason,
                _ => why_none(line),
            };
            let reason = reason.to_owned();
            self.seen.borrow_mut().unusable.insert(real.to_owned(), reason);
            return;
        };
        let path = relative(real);
        let own = real.rsplit_once('/').map_or("", |(directory, _)| directory);
        let has_directory = |directory: &str| {
            let place = match directory.strip_prefix(OWN_DIRECTORY) {
                Some(rest) => format!("{own}/{rest}"),
                None if directory.starts_with('/') => directory.to_owned(),
                None => format!("{}/{directory}", self.working_directory),
            };
            self.has_directory(&place) == Some(true)
        };
        let script = Script { not_executable: !is_executable, ..listed(&path, &script, has_directory) };
        self.seen.borrow_mut().scripts.insert(real.to_owned(), script);
    }

    /// Records the links on the way to a path.
    fn note_links(&self, path: &str) {
        for (link, target) in self.tree.links(&raw::path(path)) {
            let (link, target) = (raw::of_path(link), raw::string(target));
            let target = match (target.starts_with('/'), link.rsplit_once('/')) {
                (false, Some((above, _))) => format!("{above}/{target}"),
                _ => target,
            };
            self.seen.borrow_mut().links.insert(link, target);
        }
    }
}

/// A path of the image relative to its root, as specifications state it.
pub(super) fn relative(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

fn read(content: &FileContent, size: u64) -> Result<Facts, OpenError> {
    match content {
        FileContent::Elf(packed) => {
            let data = packed.unpack().map_err(|error| OpenError::Unusable(error.to_string()))?;
            Ok(Facts::of_object(elf::Object::parse(data)?))
        }
        _ if size < 64 => Err(OpenError::TooShort),
        _ => Err(OpenError::NotElf),
    }
}

impl Files for TreeFiles<'_> {
    fn open(&self, path: &str) -> Result<Opened, OpenError> {
        if let Some(known) = self.paths.borrow().get(path) {
            return known.clone();
        }
        let opened = self.open_anew(path);
        self.paths.borrow_mut().insert(path.to_owned(), opened.clone());
        opened
    }

    fn read(&self, path: &str) -> Result<Bytes, OpenError> {
        let (real, _, file) = self.tree.file(&raw::path(path))?;
        match &file.content {
            FileContent::Whole(bytes) => {
                self.note_links(path);
                let real = raw::of_path(real);
                self.seen.borrow_mut().files.insert(real, bytes.clone());
                Ok(bytes.clone())
            }
            FileContent::Script(line) => Ok(Bytes::copy_from_slice(line)),
            FileContent::Elf(packed) => {
                packed.unpack().map_err(|error| OpenError::Unusable(error.to_string()))
            }
            FileContent::Other => Err(WalkError::NotFound.into()),
        }
    }

    fn real_path(&self, path: &str) -> String {
        self.real(path).unwrap_or_else(|| path.to_owned())
    }

    fn is_executable(&self, path: &str) -> bool {
        let file = self.tree.file(&raw::path(path));
        let is_executable = file.is_ok_and(|(_, _, file)| self.may_execute(file)) && self.may_reach(path);
        if is_executable {
            self.note_links(path);
        }
        is_executable
    }

    fn has_directory(&self, path: &str) -> Option<bool> {
        // Engines create the working directory if the image lacks it.
        let is_made = || Path::new(&self.working_directory).starts_with(raw::path(path));
        Some(match self.tree.resolve(&raw::path(path)) {
            Ok((_, Node::Directory(directory))) => {
                self.account.as_ref().is_none_or(|account| account.may_search(directory))
                    && self.may_reach(path)
            }
            Ok(_) => false,
            Err(error) => matches!(error, WalkError::NotFound) && is_made(),
        })
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn dynamic_loader(&self, path: &str, machine: Machine, class: Class) -> Option<Arc<DynamicLoader>> {
        let (_, _, file) = self.tree.file(&raw::path(path)).ok()?;
        let FileContent::Elf(packed) = &file.content else { return None };
        let loader = DynamicLoader::parse(path, &packed.unpack().ok()?, machine, class)?;
        self.seen.borrow_mut().loaders.insert(path.to_owned(), loader.clone());
        Some(Arc::new(loader))
    }

    fn library_cache(&self, path: &str, big_endian: bool) -> Option<Arc<LibraryCache>> {
        let (_, _, file) = self.tree.file(&raw::path(path)).ok()?;
        let FileContent::Whole(bytes) = &file.content else { return None };
        self.seen.borrow_mut().caches.insert((path.to_owned(), big_endian));
        LibraryCache::parse_as(bytes, big_endian).map(Arc::new)
    }

    fn injected(&self, name: &str, _: &Facts, _: bool) -> Injection {
        match self.expected.provider(name) {
            Some(provider) => Injection::Absent { provider, recorded: true },
            None => Injection::NotExpected,
        }
    }

    fn shown(&self, path: &str) -> String {
        self.real_path(path)
    }
}
