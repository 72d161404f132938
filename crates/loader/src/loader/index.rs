//! An index of the loaded objects by all their identities. A document may contain very many objects and names.

use std::collections::{HashMap, HashSet};

use crate::loader::files::ObjectIdentity;
use crate::loader::{LoadedObject, Problem, Rule};

/// The objects so far. If several objects have the same name, the first one loaded counts.
#[derive(Default)]
pub(super) struct Index {
    /// By the requested names.
    asked: HashMap<String, usize>,
    paths: HashMap<String, usize>,
    /// By soname. Empty for musl, whose loader ignores sonames.
    sonames: HashMap<String, usize>,
    /// musl's loader, which replaces several libraries.
    musl: Option<usize>,
    files: HashMap<ObjectIdentity, usize>,
    /// The names that were already reported, with missing and unusable ones apart.
    wanting: HashSet<(std::mem::Discriminant<Problem>, String)>,
}

impl Index {
    /// Adds an object that becomes number `place` of the scope.
    pub(super) fn add(&mut self, object: &LoadedObject, place: usize, is_musl: bool) {
        object.names.iter().for_each(|name| self.add_name(name, place));
        self.paths.entry(object.path.clone()).or_insert(place);
        if let Some(soname) = object.facts.soname.as_ref().filter(|_| !is_musl) {
            self.sonames.entry(soname.clone()).or_insert(place);
        }
        if is_musl && object.rule == Rule::Interpreter {
            self.musl = Some(place);
        }
        self.files.entry(object.identity()).or_insert(place);
    }

    /// Adds a name under which an object was requested.
    pub(super) fn add_name(&mut self, name: &str, place: usize) {
        let known = self.asked.entry(name.to_owned()).or_insert(place);
        *known = place.min(*known);
    }

    /// Returns the object that satisfies a name, in agreement with [`goes_by`].
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let named = [&self.asked, &self.paths, &self.sonames].map(|names| names.get(name).copied());
        let builtin = self.musl.filter(|_| is_musl_builtin(name));
        named.into_iter().flatten().chain(builtin).min()
    }

    /// Returns whether the object that [`Index::find`] returned for a name was requested by that name before.
    pub(super) fn was_asked(&self, name: &str, place: usize) -> bool {
        self.asked.get(name) == Some(&place)
    }

    /// Returns whether a name is the path of the object that [`Index::find`] returned for it.
    pub(super) fn is_path(&self, name: &str, place: usize) -> bool {
        self.paths.get(name) == Some(&place)
    }

    /// Applies new object numbers.
    pub(super) fn rearrange(&mut self, places: &[usize]) {
        let named = [&mut self.asked, &mut self.paths, &mut self.sonames];
        let named = named.into_iter().flat_map(|names| names.values_mut());
        named.chain(self.files.values_mut()).chain(&mut self.musl).for_each(|place| *place = places[*place]);
    }

    /// Returns the object that is the same file.
    pub(super) fn file(&self, identity: ObjectIdentity) -> Option<usize> {
        self.files.get(&identity).copied()
    }

    /// Records that a library is missing or unusable, and returns whether that is new.
    pub(super) fn is_newly_wanting(&mut self, problem: &Problem) -> bool {
        match problem {
            Problem::LibraryMissing { library, .. }
            | Problem::HostLibraryMissing { library, .. }
            | Problem::LibraryUncertain { library, .. }
            | Problem::LibraryUnusable { library, .. } => {
                self.wanting.insert((std::mem::discriminant(problem), library.clone()))
            }
            _ => true,
        }
    }
}

/// Returns whether one object satisfies a name.
pub(super) fn goes_by(object: &LoadedObject, name: &str, is_musl: bool) -> bool {
    let has_name = object.names.iter().any(|known| known == name) || object.path == name;
    match is_musl {
        // musl: the C library's names lead to the loader itself, other names only if the same name was
        // requested.
        true if object.rule == Rule::Interpreter => has_name || is_musl_builtin(name),
        true => has_name,
        false => has_name || object.facts.soname.as_deref() == Some(name),
    }
}

/// The libraries that musl's loader replaces itself (`reserved` in `ldso/dynlink.c`).
fn is_musl_builtin(name: &str) -> bool {
    const RESERVED: [&str; 7] = ["c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];
    name.strip_prefix("lib").is_some_and(|rest| RESERVED.iter().any(|known| rest.starts_with(known)))
}
