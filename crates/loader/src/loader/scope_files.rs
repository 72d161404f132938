//! An application's scope on top of a host.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::elf::{Class, Machine};
use crate::host::{Ahead, Cursor, DynamicLoader, Found, LibraryCache, MAXIMUM_PATH, WalkError, walk};
use crate::loader::files::{ObjectIdentity, cost_of_lookup, push_component};
use crate::loader::{
    Application, Context, Effort, Facts, Files, Injection, Memory, OpenError, Opened, Reason,
};

/// An application's scope on top of a host: the scope's objects hide the host's files.
pub struct ScopeFiles<'a> {
    location: String,
    objects: HashMap<String, Opened>,
    /// The directories of the scope, by their paths in it.
    directories: HashSet<&'a str>,
    application: &'a Application,
    below: &'a dyn Files,
}

/// The context of an application, with its scope on top of the files of a host.
pub type ScopeContext<'a> = Context<'a, ScopeFiles<'a>>;

/// The location of a scope without a fixed place: a directory that no host has.
const ANYWHERE: &str = "/.compat/scope";

/// The destination of an absolute path.
enum ScopeDestination {
    /// A path in the scope.
    Inside(String),
    /// A path of the host below.
    Below(String),
    /// No file, with the error of the system.
    Nowhere(WalkError),
}

impl From<WalkError> for ScopeDestination {
    fn from(error: WalkError) -> Self {
        Self::Nowhere(error)
    }
}

/// The position of a walk in a scope. A document contains the targets of links, relative to the scope or as an
/// absolute path on the host. For the latter, and above a scope that is not a root, the walk continues below.
struct ScopeCursor<'s> {
    files: &'s ScopeFiles<'s>,
    /// A path in the scope.
    here: String,
}

impl<'a, 's: 'a> Cursor<'a> for ScopeCursor<'s> {
    type Text = str;
    type Stop = ScopeDestination;

    fn enter(&mut self, name: &str, ahead: &Ahead<'a, str>) -> Result<Found<'a, str>, ScopeDestination> {
        let files = self.files;
        push_component(&mut self.here, name);
        if !files.below.memory().budget.spend(Effort::Search, cost_of_lookup(&self.here)) {
            return Err(WalkError::NotFound.into());
        }
        if let Some(target) = files.application.links.get(&self.here) {
            self.here.clear();
            return Ok(Found::Link(Cow::Borrowed(target)));
        }
        if files.is_file(&self.here) {
            return Ok(Found::Other);
        }
        if ahead.is_empty() || files.directories.contains(self.here.as_str()) {
            Ok(Found::Directory)
        } else {
            Err(files.unknown(&self.here, ahead))
        }
    }

    fn leave(&mut self, ahead: &Ahead<'a, str>) -> Result<(), ScopeDestination> {
        if self.here.is_empty() && !self.files.is_whole_root() {
            return Err(self.files.above(ahead));
        }
        self.here.truncate(self.here.rfind('/').unwrap_or(0));
        Ok(())
    }

    fn restart(&mut self, target: &str, ahead: &Ahead<'a, str>) -> Result<(), ScopeDestination> {
        Err(ScopeDestination::Below(joined(target, ahead)))
    }
}

impl<'a> ScopeFiles<'a> {
    /// Puts the scope of an application on top of `below`. The budget for this application starts here.
    pub fn new(application: &'a Application, below: &'a dyn Files) -> Self {
        let location = application.location.as_deref().unwrap_or(ANYWHERE).trim_end_matches('/').to_owned();
        let opened = application.objects.iter().enumerate().map(|(number, (path, facts))| {
            let opened = Opened { identity: ObjectIdentity::Scope(number), facts: Arc::clone(facts) };
            (path.clone(), opened)
        });
        let objects = opened.collect();
        let budget = &below.memory().budget;
        budget.refill(application.size());
        let spend = |directory: &str| budget.spend(Effort::Search, cost_of_lookup(directory));
        Self { objects, location, directories: directories(application, spend), application, below }
    }

    /// Returns whether the scope is itself a root file system.
    fn is_whole_root(&self) -> bool {
        self.location.is_empty()
    }

    /// Returns a subject in the form that is shown to users: its path in the scope.
    pub fn subject(&self, path: &str) -> String {
        if self.is_whole_root() { self.path_of(path) } else { path.to_owned() }
    }

    /// Returns the absolute path of a path in the scope.
    pub fn path_of(&self, path: &str) -> String {
        format!("{}/{path}", self.location)
    }

    /// Returns the place in the scope that a path of the scope leads to.
    pub(super) fn inside(&self, path: &str) -> Option<String> {
        match self.walk(&self.path_of(path)) {
            ScopeDestination::Inside(inside) => Some(inside),
            ScopeDestination::Below(_) | ScopeDestination::Nowhere(_) => None,
        }
    }

    /// Walks an absolute path. Like the kernel, it follows links and applies `..` in order.
    fn walk(&self, path: &str) -> ScopeDestination {
        if path.len() >= MAXIMUM_PATH {
            return ScopeDestination::Nowhere(WalkError::TooLong);
        }
        let inside = path.strip_prefix(&self.location).and_then(|rest| rest.strip_prefix('/'));
        let Some(inside) = inside else {
            // Only `..` could lead from a path of the host into the scope.
            let normal = if path.contains("..") {
                normalise(path)
            } else {
                return ScopeDestination::Below(path.to_owned());
            };
            return if normal.strip_prefix(&self.location).is_some_and(|rest| rest.starts_with('/')) {
                self.walk(&normal)
            } else {
                ScopeDestination::Below(path.to_owned())
            };
        };
        let mut cursor = ScopeCursor { files: self, here: String::new() };
        match walk(&mut cursor, inside) {
            Ok(()) => ScopeDestination::Inside(cursor.here),
            Err(place) => place,
        }
    }

    /// Returns the destination of a path that leaves the scope upwards.
    fn above(&self, ahead: &Ahead<'_, str>) -> ScopeDestination {
        let above = self.location.rsplit_once('/').map_or("", |(above, _)| above);
        ScopeDestination::Below(joined(above, ahead))
    }

    /// Returns the destination of a path through a directory that the scope lacks. The host may have it if the
    /// scope has a location there.
    fn unknown(&self, here: &str, ahead: &Ahead<'_, str>) -> ScopeDestination {
        match self.application.location {
            Some(_) => ScopeDestination::Below(joined(&self.path_of(here), ahead)),
            None => ScopeDestination::Nowhere(WalkError::NotFound),
        }
    }

    /// Returns the path of a file outside the scope for the files below. If the scope is a whole root, only its
    /// own links lead there.
    fn seen_below(&self, path: &str, inside: &str) -> String {
        if self.is_whole_root() { self.path_of(inside) } else { path.to_owned() }
    }

    /// Returns whether the kernel would execute an object of the scope.
    fn may_be_executed(&self, inside: &str) -> bool {
        let facts = self.object(inside).map(|opened| &opened.facts);
        let is_refused =
            |facts: &Arc<Facts>| facts.not_executable || (facts.denied && self.is_this_machine());
        !facts.is_some_and(is_refused)
    }

    /// Returns whether the scope has a file at a path in it.
    fn is_file(&self, inside: &str) -> bool {
        self.objects.contains_key(inside) || self.application.unusable.contains_key(inside)
    }

    /// Returns whether an absolute path leads to a directory of the scope.
    fn is_directory(&self, path: &str) -> bool {
        match self.walk(path) {
            ScopeDestination::Inside(inside) => {
                inside.is_empty() || self.directories.contains(inside.as_str())
            }
            ScopeDestination::Below(_) | ScopeDestination::Nowhere(_) => false,
        }
    }

    fn object(&self, inside: &str) -> Option<&Opened> {
        self.objects.get(inside)
    }

    /// Opens a file below, to which `asked` led. If an application is only copied to a host, paths through its
    /// directory are not the host's.
    fn open_below(&self, path: &str, asked: &str) -> Result<Opened, OpenError> {
        self.below.open(path).map_err(|error| match error {
            OpenError::Absent(Reason::Unrecorded) if self.is_beside(asked) => {
                // A scope without a location has nothing beside it: no host has its directory.
                match self.application.location {
                    Some(_) => OpenError::Absent(Reason::UnrecordedBeside),
                    None => WalkError::NotFound.into(),
                }
            }
            other => other,
        })
    }

    /// Returns whether a path leads through the scope's directory, which the host below does not record.
    fn is_beside(&self, asked: &str) -> bool {
        let rest = asked.strip_prefix(&self.location).filter(|_| !self.is_whole_root());
        rest.is_some_and(|rest| rest.starts_with('/'))
            && (self.application.location.is_none() || self.below.is_unrecorded(&self.location))
    }
}

/// Returns the directories in the paths of an application, until `spend` stops it.
fn directories(application: &Application, spend: impl Fn(&str) -> bool) -> HashSet<&str> {
    let paths = application.objects.iter().map(|(path, _)| path);
    let paths = paths.chain(application.links.keys()).chain(application.unusable.keys());
    let paths = paths.filter(|path| path.len() < MAXIMUM_PATH);
    let above = paths.flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end]));
    let targets = application.links.values().map(String::as_str);
    let targets = targets.filter(|target| !target.starts_with('/') && target.len() < MAXIMUM_PATH);
    above.chain(targets).take_while(|directory| spend(directory)).collect()
}

/// Returns a path without the directory of a scope that has no location.
fn beside_scope(path: &str) -> String {
    match path.strip_prefix(ANYWHERE).map(|rest| rest.trim_start_matches('/')) {
        Some("") => ".".to_owned(),
        Some(rest) => rest.to_owned(),
        // A path beside the scope.
        None => path.strip_prefix("/.compat/").map_or_else(|| path.to_owned(), |rest| format!("../{rest}")),
    }
}

/// Returns a path followed by the remaining components.
fn joined(path: &str, ahead: &Ahead<'_, str>) -> String {
    let mut whole = path.to_owned();
    for component in ahead.components() {
        whole.push('/');
        whole.push_str(component);
    }
    whole
}

impl Files for ScopeFiles<'_> {
    fn open(&self, path: &str) -> Result<Opened, OpenError> {
        let inside = match self.walk(path) {
            ScopeDestination::Inside(inside) => inside,
            ScopeDestination::Below(below) => return self.open_below(&below, path),
            ScopeDestination::Nowhere(error) => {
                return Err(OpenError::from(error).at(path, |directory| self.is_directory(directory)));
            }
        };
        if let Some(reason) = self.application.unusable.get(&inside) {
            return Err(OpenError::recorded(reason));
        }
        match self.object(&inside) {
            Some(object) => Ok(object.clone()),
            // A scope without a location contains no files of the host, even if the host is well known.
            None if self.application.location.is_none() => Err(WalkError::NotFound.into()),
            None => self.open_below(&self.seen_below(path, &inside), path),
        }
    }

    fn read(&self, path: &str) -> Result<Bytes, OpenError> {
        match self.walk(path) {
            ScopeDestination::Inside(inside) => self.below.read(&self.seen_below(path, &inside)),
            _ => self.below.read(path),
        }
    }

    fn real_path(&self, path: &str) -> String {
        match self.walk(path) {
            ScopeDestination::Inside(inside) if self.object(&inside).is_some() => self.path_of(&inside),
            ScopeDestination::Below(path) => self.below.real_path(&path),
            _ => self.below.real_path(path),
        }
    }

    fn is_executable(&self, path: &str) -> bool {
        match self.walk(path) {
            ScopeDestination::Inside(inside) if self.object(&inside).is_some() => {
                self.may_be_executed(&inside)
            }
            ScopeDestination::Inside(inside) => self.below.is_executable(&self.seen_below(path, &inside)),
            ScopeDestination::Below(path) => self.below.is_executable(&path),
            ScopeDestination::Nowhere(_) => false,
        }
    }

    fn has_directory(&self, path: &str) -> Option<bool> {
        match self.walk(path) {
            ScopeDestination::Inside(inside)
                if inside.is_empty() || self.directories.contains(inside.as_str()) =>
            {
                Some(true)
            }
            // A document does not list directories without loaded objects. If the directory of a script is
            // missing, the document contains the script without its commands.
            ScopeDestination::Inside(_) if self.application.location.is_none() => Some(true),
            ScopeDestination::Inside(inside) => self.below.has_directory(&self.seen_below(path, &inside)),
            ScopeDestination::Below(path) => self.below.has_directory(&path),
            ScopeDestination::Nowhere(_) => None,
        }
    }

    fn is_this_machine(&self) -> bool {
        self.below.is_this_machine()
    }

    fn is_unrecorded(&self, path: &str) -> bool {
        match self.walk(path) {
            ScopeDestination::Inside(inside) if self.object(&inside).is_some() => false,
            ScopeDestination::Inside(inside) => self.below.is_unrecorded(&self.seen_below(path, &inside)),
            ScopeDestination::Below(path) => self.below.is_unrecorded(&path),
            ScopeDestination::Nowhere(_) => false,
        }
    }

    fn memory(&self) -> &Memory {
        self.below.memory()
    }

    fn dynamic_loader(&self, path: &str, machine: Machine, class: Class) -> Option<Arc<DynamicLoader>> {
        self.below.dynamic_loader(path, machine, class)
    }

    fn library_cache(&self, path: &str, big_endian: bool) -> Option<Arc<LibraryCache>> {
        self.below.library_cache(path, big_endian)
    }

    fn injected(&self, name: &str, program: &Facts, by_injected: bool) -> Injection {
        self.below.injected(name, program, by_injected)
    }

    fn names(&self, directory: &str) -> Vec<String> {
        self.below.names(directory)
    }

    /// Returns the path in the scope for its objects. In a scope without a location, this applies to all paths
    /// in it.
    fn shown(&self, path: &str) -> String {
        match self.walk(path) {
            ScopeDestination::Inside(inside) if self.is_whole_root() => self.path_of(&inside),
            ScopeDestination::Inside(inside) if self.object(&inside).is_some() => inside,
            _ => self.placed(path),
        }
    }

    fn placed(&self, path: &str) -> String {
        match self.application.location {
            Some(_) => path.to_owned(),
            None => beside_scope(path),
        }
    }
}

/// Returns a path without `.`, `..` and empty components, from its text only.
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
