//! The other names in the directories of a profile, so that a missing file is known to be missing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Recorder;
use crate::host::{Profile, is_core_library};
use compat_sys::raw;

/// The maximum number of names that are listed for one directory. A larger directory is not listed, so no file is
/// known to be missing in it.
const MOST_NAMES: usize = 1 << 16;

impl Recorder<'_> {
    /// Lists the directories and their parents. For the parents, only the names are recorded.
    pub(super) fn add_listings(&mut self) {
        let passed = std::mem::take(&mut self.passed);
        self.profile.directories.extend(passed.into_iter().filter(|path| !path.is_empty()));
        let above: BTreeSet<String> = self.profile.directories.iter().flat_map(|path| above(path)).collect();
        self.profile.directories.extend(above);
        let recorded = recorded(&self.profile);
        let mut unrecorded = BTreeMap::new();
        let mut unknown = Vec::new();
        for directory in &self.profile.directories {
            match self.unrecorded_names(directory, &recorded) {
                Some(names) if names.is_empty() => {}
                Some(names) => {
                    unrecorded.insert(directory.clone(), names);
                }
                None => unknown.push(directory.clone()),
            }
        }
        unknown.iter().for_each(|directory| {
            self.profile.directories.remove(directory);
        });
        self.profile.unrecorded = Some(unrecorded);
    }

    /// Returns the names in a directory that are not recorded elsewhere. For a minimal profile, only names that
    /// readers look up. Returns `None` if the directory cannot be listed.
    fn unrecorded_names(&self, directory: &str, recorded: &HashSet<&str>) -> Option<Vec<String>> {
        let root = self.files.root();
        let names = root.listing(&raw::path(directory)).filter(|names| names.len() <= MOST_NAMES)?;
        let base = directory.trim_end_matches('/');
        let is_open = |name: &String| {
            let path = format!("{base}/{name}");
            if recorded.contains(path.as_str()) {
                return false;
            }
            // A dangling link counts as a missing file.
            let metadata = root.metadata(&raw::path(&path));
            let is_wanted =
                || metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir) || is_core_library(name);
            let leads_nowhere = matches!(metadata, Err(crate::host::WalkError::NotFound));
            !leads_nowhere && (!self.options.minimal || is_wanted())
        };
        Some(names.into_iter().filter(is_open).collect())
    }
}

/// Returns the directories above a path, the root directory first.
fn above(path: &str) -> Vec<String> {
    let above = path.match_indices('/').map(|(at, _)| path[..at.max(1)].to_owned());
    above.filter(|above| above != path).collect()
}

/// Returns every path that a profile records, and the directories above them.
fn recorded(profile: &Profile) -> HashSet<&str> {
    let objects = profile.libraries.iter().chain(&profile.programs).map(|object| object.path.as_str());
    let scripts = profile.scripts.iter().map(|script| script.path.as_str());
    let maps = profile.links.keys().chain(profile.files.keys()).chain(profile.unusable.keys());
    let paths = objects.chain(scripts).chain(maps.map(String::as_str));
    let paths = paths.chain(profile.directories.iter().map(String::as_str));
    paths.flat_map(|path| path.match_indices('/').skip(1).map(|(at, _)| &path[..at]).chain([path])).collect()
}
