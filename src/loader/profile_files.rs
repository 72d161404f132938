//! The files of a saved host.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, Profile};
use crate::loader::files::{Identity, MAXIMUM_PATH, cost_of_lookup, push_component};
use crate::loader::{Effort, Facts, Files, Memory, OpenError, Opened, ParsedScript};
use crate::spec::Object;

/// How many links are followed in one path.
const MAXIMUM_LINKS: usize = 40;

/// A loader that names more directories is none that is known: loaders have two to six.
const MOST_DIRECTORIES: usize = 64;

/// What a search says of a file that may be on the host and is not in its profile.
pub(super) const UNRECORDED: &str = "not recorded in the host profile";

/// The files that a profile records.
pub struct ProfileFiles {
    objects: HashMap<String, Opened>,
    scripts: HashMap<String, Bytes>,
    links: BTreeMap<String, String>,
    directories: HashSet<String>,
    complete: bool,
    loaders: HashMap<String, Arc<DynamicLoader>>,
    files: HashMap<String, Bytes>,
    /// Paths without links.
    executables: HashSet<String>,
    memory: Memory,
}

impl ProfileFiles {
    /// The files of a profile. Objects for machines that this program does not know are left out.
    pub fn new(profile: Profile) -> Self {
        let libraries = profile.libraries.iter().map(|object| (object, false));
        let programs = profile.programs.iter().map(|object| (object, true));
        let known = libraries.chain(programs).enumerate().filter_map(|(number, (object, names_only))| {
            let mut facts = Facts::of_specified(object)?;
            facts.names_only = names_only;
            let opened = Opened { identity: Identity::Profile(number), facts: Arc::new(facts) };
            Some((object.path.clone(), opened))
        });
        let objects = known.collect();
        let executables = profile.programs.iter().map(|object: &Object| object.path.clone());
        let loaders: HashMap<_, _> = profile
            .loaders
            .iter()
            .filter(|loader| loader.default_directories.len() <= MOST_DIRECTORIES)
            .map(|loader| (loader.path.clone(), Arc::new(loader.clone())))
            .collect();
        let scripts = profile.scripts.iter();
        let decode = |text: &String| base64::engine::general_purpose::STANDARD.decode(text).ok();
        let files =
            profile.files.iter().filter_map(|(path, text)| Some((path.clone(), decode(text)?.into())));
        let mut profile_files = Self {
            objects,
            executables: executables.chain(scripts.clone().map(|script| script.path.clone())).collect(),
            scripts: scripts
                .map(|script| {
                    let interpreter = script.interpreter.clone();
                    let parsed = ParsedScript { interpreter, argument: script.argument.clone() };
                    (script.path.clone(), parsed.first_line())
                })
                .collect(),
            files: files.collect(),
            loaders,
            links: profile.links,
            directories: profile.directories.into_iter().collect(),
            complete: profile.complete,
            memory: Memory::default(),
        };
        // The kernel starts them: that they are recorded says that they may be.
        let places: Vec<String> =
            profile_files.loaders.keys().map(|loader| profile_files.resolve(loader)).collect();
        profile_files.executables.extend(places);
        profile_files
    }

    /// The path without links that an absolute path leads to.
    fn resolve(&self, path: &str) -> String {
        if path.len() >= MAXIMUM_PATH {
            return path.to_owned();
        }
        let mut here = "/".to_owned();
        let mut ahead: Vec<&str> = path.split('/').rev().collect();
        let mut followed = 0;
        while let Some(component) = ahead.pop() {
            match component {
                "" | "." => continue,
                ".." => {
                    here.truncate(here.rfind('/').unwrap_or(0).max(1));
                    continue;
                }
                name => push_component(&mut here, name),
            }
            if !self.memory.budget.spend(Effort::Search, cost_of_lookup(&here)) {
                break;
            }
            let target = self.links.get(&here).filter(|target| target.len() < MAXIMUM_PATH);
            if let Some(target) = target.filter(|_| followed < MAXIMUM_LINKS) {
                followed += 1;
                here.truncate(1);
                ahead.extend(target.split('/').rev());
            }
        }
        here
    }

    /// What it means that a path is not in the profile.
    fn absence(&self, resolved: &str) -> OpenError {
        let mut above = resolved.match_indices('/').map(|(end, _)| &resolved[..end]);
        let is_recorded = |directory: &str| {
            self.memory.budget.spend(Effort::Search, cost_of_lookup(directory))
                && self.directories.contains(directory)
        };
        match self.complete && resolved.len() < MAXIMUM_PATH && above.any(is_recorded) {
            true => OpenError::Absent("No such file or directory".to_owned()),
            false => OpenError::Absent(UNRECORDED.to_owned()),
        }
    }
}

impl Files for ProfileFiles {
    fn open(&self, path: &str) -> Result<Opened, OpenError> {
        let resolved = self.resolve(path);
        match self.objects.get(&resolved) {
            Some(opened) => Ok(opened.clone()),
            None if self.scripts.contains_key(&resolved) => Err(OpenError::NotElf),
            None => Err(self.absence(&resolved)),
        }
    }

    fn read(&self, path: &str) -> Result<Bytes, OpenError> {
        let resolved = self.resolve(path);
        let known = self.files.get(&resolved).or_else(|| self.scripts.get(&resolved));
        known.cloned().ok_or_else(|| self.absence(&resolved))
    }

    fn real_path(&self, path: &str) -> String {
        self.resolve(path)
    }

    fn is_executable(&self, path: &str) -> bool {
        self.executables.contains(&self.resolve(path))
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn dynamic_loader(&self, path: &str, _: Machine, _: Class) -> Option<Arc<DynamicLoader>> {
        self.loaders.get(path).cloned()
    }
}
