//! The files of a saved host.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;

use crate::elf::{Class, Machine};
use crate::host::{self, Ahead, Cursor, DynamicLoader, Found, MAXIMUM_PATH, Profile, WalkError, walk};
use crate::loader::files::{ObjectIdentity, cost_of_lookup, push_component};
use crate::loader::{
    DEFAULT_PROGRAM_PATH, Effort, Facts, Files, Memory, OpenError, Opened, Reason, SharedFiles, parsed,
};
use crate::spec::Object;

/// The maximum number of directories of a known loader: real loaders have two to six.
const MOST_DIRECTORIES: usize = 64;

/// The files that a profile records. Everything else is unknown: only names that a recorded directory lacks are
/// known to be missing.
pub struct ProfileFiles {
    saved: Arc<SavedFiles>,
    memory: Memory,
}

/// The content of a profile, by path.
#[derive(Clone)]
struct SavedFiles {
    objects: HashMap<String, Opened>,
    scripts: HashMap<String, Bytes>,
    links: BTreeMap<String, String>,
    directories: HashSet<String>,
    /// Other names in the directories, by directory, or `None` in profiles without these lists.
    unrecorded: Option<HashMap<String, HashSet<String>>>,
    unusable: BTreeMap<String, String>,
    /// Every recorded path, sorted: each parent of such a path is a directory.
    known: BTreeSet<String>,
    complete: bool,
    loaders: HashMap<String, Arc<DynamicLoader>>,
    files: HashMap<String, Bytes>,
    /// Paths without links.
    executables: HashSet<String>,
}

impl ProfileFiles {
    /// Returns the files of a profile. Objects for machines that this version does not know are omitted.
    pub fn new(profile: Profile) -> Self {
        let known = known_paths(&profile);
        let loaders = profile.loaders.iter();
        let loaders = loaders.filter(|loader| loader.default_directories.len() <= MOST_DIRECTORIES);
        let decode = |text: &String| base64::engine::general_purpose::STANDARD.decode(text).ok();
        let files =
            profile.files.iter().filter_map(|(path, text)| Some((path.clone(), decode(text)?.into())));
        let names = |names: Vec<String>| names.into_iter().collect();
        let unrecorded = profile.unrecorded.clone().map(|directories| {
            directories.into_iter().map(|(directory, listed)| (directory, names(listed))).collect()
        });
        let saved = SavedFiles {
            objects: objects(&profile),
            scripts: scripts(&profile),
            files: files.collect(),
            loaders: loaders.map(|loader| (loader.path.clone(), Arc::new(loader.clone()))).collect(),
            executables: executables(&profile),
            unrecorded,
            known,
            links: profile.links,
            directories: profile.directories.into_iter().collect(),
            unusable: profile.unusable,
            complete: profile.complete,
        };
        let mut files = Self { saved: Arc::new(saved), memory: Memory::default() };
        files.add_places_of_loaders();
        files
    }

    /// Adds the real paths of the loaders. The kernel starts loaders, so recorded ones are executable. A
    /// program may name one by another path than the usual one.
    fn add_places_of_loaders(&mut self) {
        let places: Vec<(String, Arc<DynamicLoader>)> = self
            .saved
            .loaders
            .values()
            .filter_map(|loader| Some((self.resolve(&loader.path).ok()?, Arc::clone(loader))))
            .collect();
        let saved = Arc::make_mut(&mut self.saved);
        for (place, loader) in places {
            saved.executables.insert(place.clone());
            // musl reads a list of directories beside the path under which it is called.
            if !loader.is_musl() {
                let named = DynamicLoader { path: place.clone(), ..(*loader).clone() };
                saved.loaders.entry(place).or_insert_with(|| Arc::new(named));
            }
        }
    }

    /// Returns the path without links for an absolute path, if something is recorded there.
    fn resolve(&self, path: &str) -> Result<String, OpenError> {
        let mut cursor = ProfileCursor { files: self, here: "/".to_owned() };
        match walk(&mut cursor, path) {
            Ok(()) => Ok(cursor.here),
            Err(error) => Err(error.at(path, |above| self.leads_to_directory(above))),
        }
    }

    /// Returns whether a path leads to a recorded directory.
    fn leads_to_directory(&self, path: &str) -> bool {
        path.len() < MAXIMUM_PATH && self.resolve(path).is_ok_and(|real| self.is_directory(&real))
    }

    /// Returns whether something is recorded at a path.
    fn is_known(&self, path: &str) -> bool {
        self.saved.known.contains(path) || self.is_directory(path)
    }

    /// Returns whether a path is a directory.
    fn is_directory(&self, path: &str) -> bool {
        let inside = format!("{}/", path.trim_end_matches('/'));
        let next = || self.saved.known.range(inside.clone()..).next();
        self.saved.directories.contains(path) || next().is_some_and(|next| next.starts_with(&inside))
    }

    /// Returns the error for a name that is not recorded in a directory. The name is missing only if the
    /// profile lists all names of the directory.
    fn absence(&self, directory: &str, name: &str, is_last: bool) -> OpenError {
        let is_told = self.saved.directories.contains(directory)
            && match &self.saved.unrecorded {
                Some(unrecorded) => {
                    let is_there = unrecorded.get(directory).is_some_and(|names| names.contains(name));
                    !is_there && (self.saved.complete || !is_last || host::is_core_library(name))
                }
                // Profiles without these lists record only libraries and programs.
                None => {
                    let of_programs = DEFAULT_PROGRAM_PATH.split(':').any(|path| path == directory);
                    self.saved.complete && is_last && (of_programs || name.contains(".so"))
                }
            };
        if is_told { WalkError::NotFound.into() } else { OpenError::Absent(Reason::Unrecorded) }
    }
}

/// The position of a walk in a saved host. A profile contains the targets of links from the root. It does not
/// say that a name is not a directory, only that nothing is recorded below it.
struct ProfileCursor<'p> {
    files: &'p ProfileFiles,
    /// An absolute path.
    here: String,
}

impl<'a, 'p: 'a> Cursor<'a> for ProfileCursor<'p> {
    type Text = str;
    type Stop = OpenError;

    fn enter(&mut self, name: &str, ahead: &Ahead<'a, str>) -> Result<Found<'a, str>, OpenError> {
        let files = self.files;
        let above = self.here.len();
        push_component(&mut self.here, name);
        if !files.memory.budget.spend(Effort::Search, cost_of_lookup(&self.here)) {
            return Err(OpenError::Absent(Reason::Unrecorded));
        }
        if let Some(target) = files.saved.links.get(&self.here).filter(|target| target.len() < MAXIMUM_PATH) {
            self.here.truncate(1);
            return Ok(Found::Link(Cow::Borrowed(target)));
        }
        let is_last = ahead.is_blank();
        let is_there = if is_last { files.is_known(&self.here) } else { files.is_directory(&self.here) };
        if is_there { Ok(Found::Directory) } else { Err(files.absence(&self.here[..above], name, is_last)) }
    }

    fn leave(&mut self, _: &Ahead<'a, str>) -> Result<(), OpenError> {
        self.here.truncate(self.here.rfind('/').unwrap_or(0).max(1));
        Ok(())
    }

    fn restart(&mut self, _: &str, _: &Ahead<'a, str>) -> Result<(), OpenError> {
        self.here.truncate(1);
        Ok(())
    }
}

/// Returns every path that a profile records.
fn known_paths(profile: &Profile) -> BTreeSet<String> {
    let objects = profile.libraries.iter().chain(&profile.programs).map(|object| &object.path);
    let scripts = profile.scripts.iter().map(|script| &script.path);
    let others = profile.links.keys().chain(profile.files.keys()).chain(profile.unusable.keys());
    objects.chain(scripts).chain(others).chain(&profile.directories).cloned().collect()
}

fn objects(profile: &Profile) -> HashMap<String, Opened> {
    let libraries = profile.libraries.iter().map(|object| (object, false));
    let programs = profile.programs.iter().map(|object| (object, true));
    let known = libraries.chain(programs).enumerate().filter_map(|(number, (object, names_only))| {
        let mut facts = Facts::of_specified(object)?;
        facts.names_only = names_only;
        let opened = Opened { identity: ObjectIdentity::Profile(number), facts: Arc::new(facts) };
        Some((object.path.clone(), opened))
    });
    known.collect()
}

fn scripts(profile: &Profile) -> HashMap<String, Bytes> {
    let text = |script: &crate::spec::Script| (script.path.clone(), parsed(script).text());
    profile.scripts.iter().map(text).collect()
}

fn executables(profile: &Profile) -> HashSet<String> {
    let programs = profile.programs.iter().map(|object: &Object| &object.path);
    let scripts = profile.scripts.iter().map(|script| &script.path);
    programs.chain(scripts).chain(&profile.executables).cloned().collect()
}

impl SharedFiles for ProfileFiles {
    fn shared(&self) -> Box<dyn SharedFiles> {
        Box::new(Self { saved: Arc::clone(&self.saved), memory: self.memory.shared() })
    }
}

impl Files for ProfileFiles {
    fn open(&self, path: &str) -> Result<Opened, OpenError> {
        let resolved = self.resolve(path)?;
        if let Some(reason) = self.saved.unusable.get(&resolved) {
            return Err(OpenError::recorded(reason));
        }
        match self.saved.objects.get(&resolved) {
            Some(opened) => Ok(opened.clone()),
            None if self.is_directory(&resolved) => Err(OpenError::NotRegular),
            None if self.saved.scripts.contains_key(&resolved) => Err(OpenError::NotElf),
            None => Err(OpenError::Absent(Reason::Unrecorded)),
        }
    }

    fn read(&self, path: &str) -> Result<Bytes, OpenError> {
        let resolved = self.resolve(path)?;
        let known = self.saved.files.get(&resolved).or_else(|| self.saved.scripts.get(&resolved));
        known.cloned().ok_or(OpenError::Absent(Reason::Unrecorded))
    }

    fn real_path(&self, path: &str) -> String {
        self.resolve(path).unwrap_or_else(|_| path.to_owned())
    }

    fn is_executable(&self, path: &str) -> bool {
        self.resolve(path).is_ok_and(|resolved| self.saved.executables.contains(&resolved))
    }

    fn has_directory(&self, path: &str) -> Option<bool> {
        match self.resolve(path) {
            Ok(resolved) if self.is_directory(&resolved) => Some(true),
            Ok(_) => None,
            Err(_) => (!self.is_unrecorded(path)).then_some(false),
        }
    }

    fn is_unrecorded(&self, path: &str) -> bool {
        match self.resolve(path) {
            Err(OpenError::Absent(reason)) => reason.is_unrecorded(),
            _ => false,
        }
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn dynamic_loader(&self, path: &str, _: Machine, _: Class) -> Option<Arc<DynamicLoader>> {
        if let Some(loader) = self.saved.loaders.get(path) {
            return Some(Arc::clone(loader));
        }
        let loader = self.saved.loaders.get(&self.resolve(path).ok()?)?;
        (!loader.is_musl()).then(|| Arc::new(DynamicLoader { path: path.to_owned(), ..(**loader).clone() }))
    }
}
