//! The files of a saved host.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, Profile};
use crate::loader::files::Identity;
use crate::loader::{Facts, Files, Memory, OpenError, Opened, ParsedScript};
use crate::spec::Object;

/// How many links are followed in one path.
const MAXIMUM_LINKS: usize = 40;

/// What a search says of a file that may be on the host and is not in its profile.
pub(super) const UNRECORDED: &str = "not recorded in the host profile";

/// The files that a profile records.
pub struct ProfileFiles {
    objects: HashMap<String, Opened>,
    scripts: HashMap<String, Bytes>,
    links: BTreeMap<String, String>,
    directories: Vec<String>,
    complete: bool,
    loaders: HashMap<String, Arc<DynamicLoader>>,
    files: HashMap<String, Bytes>,
    executables: Vec<String>,
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
        let scripts = profile.scripts.iter();
        let decode = |text: &String| base64::engine::general_purpose::STANDARD.decode(text).ok();
        let files =
            profile.files.iter().filter_map(|(path, text)| Some((path.clone(), decode(text)?.into())));
        Self {
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
            loaders: profile
                .loaders
                .iter()
                .map(|loader| (loader.path.clone(), Arc::new(loader.clone())))
                .collect(),
            links: profile.links,
            directories: profile.directories.into_iter().collect(),
            complete: profile.complete,
            memory: Memory::default(),
        }
    }

    /// The path without links that an absolute path leads to.
    fn resolve(&self, path: &str) -> String {
        let mut walked: Vec<String> = Vec::new();
        let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut followed = 0;
        while let Some(component) = ahead.pop() {
            match component.as_str() {
                "" | "." => continue,
                ".." => {
                    walked.pop();
                    continue;
                }
                _ => walked.push(component),
            }
            let here = format!("/{}", walked.join("/"));
            if let Some(target) = self.links.get(&here).filter(|_| followed < MAXIMUM_LINKS) {
                followed += 1;
                walked.clear();
                ahead.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        format!("/{}", walked.join("/"))
    }

    /// What it means that a path is not in the profile.
    fn absence(&self, resolved: &str) -> OpenError {
        let is_below = |directory: &String| {
            resolved.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        match self.complete && self.directories.iter().any(is_below) {
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
        let resolved = self.resolve(path);
        let is_loader = |loader: &String| self.resolve(loader) == resolved;
        self.executables.contains(&resolved) || self.loaders.keys().any(is_loader)
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn dynamic_loader(&self, path: &str, _: Machine, _: Class) -> Option<Arc<DynamicLoader>> {
        self.loaders.get(path).cloned()
    }
}
