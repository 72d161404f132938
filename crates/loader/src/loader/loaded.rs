//! The results of a start: the program, the objects in its scope, and the problems.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::DynamicLoader;
use crate::loader::files::ObjectIdentity;
use crate::loader::{Edge, Elsewhere, Facts, Opened, Problem};
use compat_sys::raw;

/// A program, library or script that is started.
pub struct Start<'a> {
    /// Its absolute path.
    pub path: &'a str,
    /// Its path as it is shown to users.
    pub shown: &'a str,
}

/// The rule by which an object was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum Rule {
    /// It is the program, or the library that is checked.
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
    /// A container runtime adds it from the host.
    Injected,
}

/// One object in the program's scope.
#[derive(Clone, Debug)]
pub struct LoadedObject {
    /// Its path.
    pub path: String,
    /// Its path as users and the loader's messages show it.
    pub shown: String,
    /// The value of `$ORIGIN` in it.
    pub origin: String,
    /// The names under which the loader knows that it is loaded.
    pub names: Vec<String>,
    /// Its facts.
    pub facts: Arc<Facts>,
    /// The index of the first object that requested it.
    pub loaded_by: Option<usize>,
    /// The rule by which this file was found.
    pub rule: Rule,
    /// Whether it is part of the scope instead of the host.
    pub in_scope: bool,
    /// Its requests, in order. For the program, the preloads come first.
    pub edges: Vec<Edge>,
    /// The number of objects loaded before it.
    pub(super) order: usize,
    pub(super) identity: ObjectIdentity,
}

/// The symbols that one object leaves to the program that loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftToProgram {
    /// The object, as it is shown to users.
    pub object: String,
    /// The symbols, in the order of its symbol table.
    pub symbols: Vec<String>,
}

/// The result of a program's start.
#[derive(Debug, Default)]
pub struct Load {
    /// The objects in the order of the scope: the program first.
    pub objects: Vec<LoadedObject>,
    /// The problems, in the order in which the loader would report them.
    pub problems: Vec<Problem>,
    /// The symbols that a library, or one that it loads, leaves to the program that loads it, in the order of
    /// the objects.
    pub left_to_program: Vec<LeftToProgram>,
    /// Libraries in directories that only the loading program searches.
    pub elsewhere: Vec<Elsewhere>,
    /// The number of objects in the global scope. The others were opened later, and only they see one another.
    pub(super) global: usize,
    /// The loader ignores versions (musl).
    pub(super) ignores_versions: bool,
    /// The loader binds thread-local variables with descriptors at their first use.
    pub(super) lazy_descriptors: bool,
}

impl Load {
    /// Returns a start that fails before anything is loaded.
    pub(super) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }

    /// Returns the names of the symbols that an object needs from others. With musl's loader, they may include
    /// its own symbols.
    pub fn wanted_names(&self, object: &LoadedObject) -> Vec<String> {
        let own = if self.ignores_versions { object.facts.found_by_version_only() } else { Vec::new() };
        let all = object.facts.imports().into_iter().chain(own);
        all.map(|import| raw::string(import.name)).collect()
    }

    /// Returns the objects by the requested names, which a version's library name may refer to. The first
    /// object of each name counts (`_dl_name_match_p`).
    pub(super) fn by_name(&self) -> HashMap<&str, usize> {
        let mut known = HashMap::new();
        for (index, object) in self.objects.iter().enumerate() {
            for name in &object.names {
                known.entry(name.as_str()).or_insert(index);
            }
        }
        known
    }

    /// Returns some of the objects in glibc's relocation order: the last loaded first. Objects that another one
    /// filters are among its needs, so they are relocated before it.
    pub(super) fn relocated(&self, mut objects: Vec<usize>) -> Vec<usize> {
        objects.sort_by_key(|index| Reverse(self.objects[*index].order));
        objects
    }

    /// Returns the indices of the loaded objects among the application's objects.
    pub(super) fn in_scope(&self) -> impl Iterator<Item = usize> {
        self.objects.iter().filter_map(|object| match object.identity {
            ObjectIdentity::Scope(place) => Some(place),
            ObjectIdentity::Host(_) | ObjectIdentity::Profile(_) => None,
        })
    }

    /// Adds the result of another program that is started in addition.
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

/// The program that is loaded.
pub(super) struct Program {
    pub opened: Opened,
    /// Its path.
    pub path: String,
    /// Its path as it is shown to users.
    pub shown: String,
}

impl LoadedObject {
    /// Returns the object with new object numbers.
    pub(super) fn moved(mut self, places: &[usize]) -> Self {
        self.loaded_by = self.loaded_by.map(|by| places[by]);
        self.edges = self.edges.into_iter().map(|edge| edge.moved(|index| places[index])).collect();
        self
    }

    /// Returns the identity of its file.
    pub(super) fn identity(&self) -> ObjectIdentity {
        self.identity
    }

    /// Returns the program as the only object in its scope.
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

    /// Returns the loader itself, before any object requests it.
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

/// Returns the directory of a path.
pub(super) fn directory_of(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}
