//! What is started and loaded: the program, the objects in its scope, and what became of its start.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::DynamicLoader;
use crate::loader::files::ObjectIdentity;
use crate::loader::{Edge, Elsewhere, Facts, Opened, Problem};
use compat_sys::raw;

/// A program or library, or a script, and how it is started.
pub struct Start<'a> {
    /// Its absolute path.
    pub path: &'a str,
    /// Its path as people see it.
    pub shown: &'a str,
}

/// Why an object is where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum Rule {
    /// It is the program, or the library in question.
    Program,
    /// The program names it as its loader.
    Interpreter,
    /// `/etc/ld.so.preload` names it.
    Preload,
    /// The needed name is a path.
    Path,
    /// The RPATH of an object.
    Rpath {
        /// The object.
        object: String,
    },
    /// `LD_LIBRARY_PATH`.
    LibraryPath,
    /// The RUNPATH of an object.
    Runpath {
        /// The object.
        object: String,
    },
    /// `ld.so.cache`.
    Cache,
    /// A directory that the loader searches last.
    DefaultDirectory,
    /// A container runtime brings it from the host.
    Injected,
}

/// One object in the program's scope.
#[derive(Clone, Debug)]
pub struct LoadedObject {
    /// Its path.
    pub path: String,
    /// Its path as people and the loader's messages show it.
    pub shown: String,
    /// What `$ORIGIN` stands for in it.
    pub origin: String,
    /// The names under which it is known to be loaded.
    pub names: Vec<String>,
    /// What it says.
    pub facts: Arc<Facts>,
    /// The object that first asked for it, by its index.
    pub loaded_by: Option<usize>,
    /// Why it is this file.
    pub rule: Rule,
    /// Whether it is part of the scope rather than of the host.
    pub in_scope: bool,
    /// What it asks for, in order; of the program, the preloads first.
    pub edges: Vec<Edge>,
    /// How many were loaded before it.
    pub(super) order: usize,
    pub(super) identity: ObjectIdentity,
}

/// What one object leaves to the program that loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftToProgram {
    /// The object, as people see it.
    pub object: String,
    /// The symbols, in the order of its symbol table.
    pub symbols: Vec<String>,
}

/// What became of a program's start.
#[derive(Debug, Default)]
pub struct Load {
    /// The objects in the order of the scope: the program first.
    pub objects: Vec<LoadedObject>,
    /// What the loader objects to, in the order in which it would.
    pub problems: Vec<Problem>,
    /// Symbols that a library, or one that it loads, leaves to the program that loads it; in the order of the
    /// objects.
    pub left_to_program: Vec<LeftToProgram>,
    /// What was found where only the program that loads it looks for it.
    pub elsewhere: Vec<Elsewhere>,
    /// How many objects are in the global scope; the rest was opened later, and only those see it.
    pub(super) global: usize,
    /// The loader takes no notice of versions (musl).
    pub(super) ignores_versions: bool,
    /// The loader binds thread-local variables that are reached by descriptors at their first use.
    pub(super) lazy_descriptors: bool,
}

impl Load {
    /// The start ends before anything is loaded.
    pub(super) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }

    /// The names of what an object wants from others: with musl's loader that may be its own, too.
    pub fn wanted_names(&self, object: &LoadedObject) -> Vec<String> {
        let own = if self.ignores_versions { object.facts.found_by_version_only() } else { Vec::new() };
        let all = object.facts.imports().into_iter().chain(own);
        all.map(|import| raw::string(import.name)).collect()
    }

    /// The objects by the names that were asked for, which a version's library name may mean them by; the
    /// first of each name (`_dl_name_match_p`).
    pub(super) fn by_name(&self) -> HashMap<&str, usize> {
        let mut known = HashMap::new();
        for (index, object) in self.objects.iter().enumerate() {
            for name in &object.names {
                known.entry(name.as_str()).or_insert(index);
            }
        }
        known
    }

    /// Some of the objects in the order in which glibc relocates them: the last loaded first. Those that another one
    /// filters are among what it needs, and are relocated before it.
    pub(super) fn relocated(&self, mut objects: Vec<usize>) -> Vec<usize> {
        objects.sort_by_key(|index| Reverse(self.objects[*index].order));
        objects
    }

    /// The places, among the application's objects, of those that were loaded.
    pub(super) fn in_scope(&self) -> impl Iterator<Item = usize> {
        self.objects.iter().filter_map(|object| match object.identity {
            ObjectIdentity::Scope(place) => Some(place),
            ObjectIdentity::Host(_) | ObjectIdentity::Profile(_) => None,
        })
    }

    /// Adds what another program that is started besides came to.
    pub(super) fn append(&mut self, other: Self) {
        let before = self.objects.len();
        for mut object in other.objects {
            object.loaded_by = object.loaded_by.map(|by| by + before);
            object.edges = object.edges.into_iter().map(|edge| edge.moved(|index| index + before)).collect();
            self.objects.push(object);
        }
        self.problems.extend(other.problems);
        self.ignores_versions |= other.ignores_versions;
        self.lazy_descriptors |= other.lazy_descriptors;
    }
}

/// The program to be loaded.
pub(super) struct Program {
    pub opened: Opened,
    /// Its path.
    pub path: String,
    /// Its path as people see it.
    pub shown: String,
}

impl LoadedObject {
    /// The same where the objects got other numbers.
    pub(super) fn moved(mut self, places: &[usize]) -> Self {
        self.loaded_by = self.loaded_by.map(|by| places[by]);
        self.edges = self.edges.into_iter().map(|edge| edge.moved(|index| places[index])).collect();
        self
    }

    /// Which file it is.
    pub(super) fn identity(&self) -> ObjectIdentity {
        self.identity
    }

    /// The program, alone in its scope.
    pub(super) fn alone(program: Program) -> Self {
        Self {
            origin: directory_of(&program.path),
            names: Vec::new(),
            in_scope: program.opened.is_in_scope(),
            path: program.path,
            shown: program.shown,
            facts: program.opened.facts,
            loaded_by: None,
            rule: Rule::Program,
            edges: Vec::new(),
            order: 0,
            identity: program.opened.identity,
        }
    }

    /// The loader itself, which nothing has asked for yet.
    pub(super) fn of_loader(loader: &DynamicLoader, opened: Opened) -> Self {
        let names = std::iter::once(loader.path.clone()).chain(opened.facts.soname.clone());
        Self {
            path: loader.path.clone(),
            shown: loader.path.clone(),
            origin: directory_of(&loader.path),
            names: names.collect(),
            facts: opened.facts,
            loaded_by: None,
            rule: Rule::Interpreter,
            in_scope: false,
            edges: Vec::new(),
            order: 0,
            identity: opened.identity,
        }
    }
}

/// The directory of a path.
pub(super) fn directory_of(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}
