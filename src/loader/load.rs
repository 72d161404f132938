//! The objects of a program: breadth-first, each name once.
//!
//! Source: `_dl_map_object_deps` in glibc's `elf/dl-deps.c` (order), `_dl_map_object` and
//! `_dl_map_object_from_fd` in `elf/dl-load.c` (names and identities of what is already loaded); musl
//! `load_deps` and `load_library`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::elf::{Dependency, DependencyKind};
use crate::host::DynamicLoader;
use crate::loader::candidate::{Fit, Verdict};
use crate::loader::files::Identity;
use crate::loader::search::{Outcome, Search};
use crate::loader::{Environment, Facts, Files, Opened, Problem, binding, start, version};

/// The most objects of one program: more than the largest programs have by far. Each is asked for the
/// symbols of each other.
const MOST_OBJECTS: usize = 4096;

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
    identity: Identity,
}

/// What became of a program's start.
#[derive(Debug, Default)]
pub struct Load {
    /// The objects in the order of the scope: the program first.
    pub objects: Vec<LoadedObject>,
    /// What the loader objects to, in the order in which it would.
    pub problems: Vec<Problem>,
    /// Symbols that a library leaves to the program that loads it.
    pub left_to_program: Vec<String>,
    /// What it took: directories looked into, and objects asked for the symbols of others.
    pub(super) effort: usize,
}

impl Load {
    /// The objects by the names that a version's library name may mean them by, the first of each name.
    pub(super) fn by_name(&self) -> HashMap<&str, usize> {
        let mut known = HashMap::new();
        for (index, object) in self.objects.iter().enumerate() {
            for name in object.names.iter().chain(&object.facts.soname) {
                known.entry(name.as_str()).or_insert(index);
            }
        }
        known
    }

    /// Adds what another program that is started besides came to.
    pub(super) fn append(&mut self, other: Self) {
        let before = self.objects.len();
        for mut object in other.objects {
            object.loaded_by = object.loaded_by.map(|by| by + before);
            self.objects.push(object);
        }
        self.problems.extend(other.problems);
        self.effort += other.effort;
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

/// Loads a program or library with the given loader.
pub(super) fn load(
    program: Program,
    loader: &DynamicLoader,
    loader_file: Opened,
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    let facts = Arc::clone(&program.opened.facts);
    let kernel = environment.platform.kernel.filter(|_| !loader.knows_relr);
    let search = Search::new(files, environment, loader, Fit { program: &facts, kernel });
    let waiting = LoadedObject::of_loader(loader, loader_file);
    let mut loading =
        Loading { search, loader, waiting: Some(waiting), load: Load::default(), index: Index::default() };
    loading.add_program(program);
    loading.add_preloads();
    loading.add_dependencies();
    let places = loading.search.places_spent();
    let mut load = Load { effort: places, ..loading.load };
    if !loader.is_musl() {
        version::check(&mut load, loader);
    }
    start::check_platform(&mut load, loader.checks_isa, environment);
    let is_program = facts.is_program();
    binding::check(&mut load, loader, is_program, &files.memory().bindings);
    load
}

struct Loading<'a> {
    search: Search<'a>,
    loader: &'a DynamicLoader,
    /// The loader itself: loaded from the start, in the scope from when something asks for it.
    waiting: Option<LoadedObject>,
    load: Load,
    index: Index,
}

/// What was met so far: there may be as many objects and names as a document has room for.
#[derive(Default)]
struct Index {
    /// The objects that are loaded, by each name that a needed name may mean them by.
    names: HashMap<String, usize>,
    files: HashMap<Identity, usize>,
    /// musl's loader, which stands for several libraries.
    musl: Option<usize>,
    /// Paths and sonames that were asked for.
    asked: HashSet<String>,
    /// Names that were found wanting.
    wanting: HashSet<(std::mem::Discriminant<Problem>, String)>,
}

impl Index {
    /// Of several objects with a name, the first one loaded counts.
    fn add_name(&mut self, name: &str, object: usize) {
        match self.names.get_mut(name) {
            Some(known) => *known = object.min(*known),
            None => {
                self.names.insert(name.to_owned(), object);
            }
        }
    }
}

impl LoadedObject {
    /// The program, alone in its scope.
    pub(super) fn alone(program: Program) -> Self {
        Self {
            origin: directory_of(&program.path),
            names: program.opened.facts.soname.iter().cloned().collect(),
            in_scope: program.opened.is_in_scope(),
            path: program.path,
            shown: program.shown,
            facts: program.opened.facts,
            loaded_by: None,
            rule: Rule::Program,
            identity: program.opened.identity,
        }
    }
}

impl LoadedObject {
    fn of_loader(loader: &DynamicLoader, opened: Opened) -> Self {
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
            identity: opened.identity,
        }
    }
}

impl Loading<'_> {
    fn add_program(&mut self, program: Program) {
        let real = self.search.files().real_path(&program.path);
        let program = LoadedObject { origin: directory_of(&real), ..LoadedObject::alone(program) };
        self.admit(program);
    }

    /// Objects that `/etc/ld.so.preload` names; one that is missing is passed over (ld.so(8)).
    fn add_preloads(&mut self) {
        if self.loader.is_musl() {
            return;
        }
        let Ok(data) = self.search.files().read("/etc/ld.so.preload") else { return };
        let text = String::from_utf8_lossy(&data).into_owned();
        let uncommented = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let names =
            uncommented.flat_map(|line| line.split([' ', '\t', ':', ','])).filter(|name| !name.is_empty());
        for name in names {
            if let Outcome::Found(opened, path, _) = self.search.find(name, 0, &self.load.objects) {
                self.push(opened, path, vec![name.to_owned()], Some(0), Rule::Preload);
            }
        }
    }

    fn add_dependencies(&mut self) {
        let mut index = 0;
        while index < self.load.objects.len() {
            let facts = Arc::clone(&self.load.objects[index].facts);
            for dependency in &facts.needed {
                self.add_dependency(dependency, index);
            }
            index += 1;
        }
    }

    fn add_dependency(&mut self, dependency: &Dependency, requester: usize) {
        let object = &self.load.objects[requester];
        let name = self.search.expand(&dependency.name, object);
        if self.is_loaded(&name, requester) {
            return;
        }
        let wanted_by = self.load.objects[requester].shown.clone();
        if self.load.objects.len() >= MOST_OBJECTS {
            let reason = format!("not loaded: the program has {MOST_OBJECTS} libraries already");
            self.object_once(Problem::LibraryUnusable {
                path: name.clone(),
                library: name,
                wanted_by,
                reason,
            });
            return;
        }
        let is_optional = dependency.kind == DependencyKind::Auxiliary;
        match self.search.find(&name, requester, &self.load.objects) {
            Outcome::Found(opened, path, rule) => {
                self.push(opened, path, vec![name], Some(requester), rule);
            }
            _ if is_optional => {}
            Outcome::Stopped { path, reason } => {
                self.object_once(Problem::LibraryUnusable { library: name, path, wanted_by, reason });
            }
            Outcome::Missing { searched, rejected } => {
                self.object_once(Problem::LibraryMissing { library: name, wanted_by, searched, rejected });
            }
        }
    }

    /// Notes a problem unless the same library was already found wanting.
    fn object_once(&mut self, problem: Problem) {
        let (Problem::LibraryMissing { library, .. } | Problem::LibraryUnusable { library, .. }) = &problem
        else {
            return;
        };
        if self.index.wanting.insert((std::mem::discriminant(&problem), library.clone())) {
            self.load.problems.push(problem);
        }
    }

    /// Whether a loaded object satisfies a name without a search: by a name it was asked for before, or
    /// by its soname.
    fn is_loaded(&mut self, name: &str, requester: usize) -> bool {
        let is_musl = self.loader.is_musl();
        if self.waiting.as_ref().is_some_and(|loader| goes_by(loader, name, is_musl)) {
            self.admit_loader(requester);
        }
        let builtin = self.index.musl.filter(|_| is_musl_builtin(name));
        let Some(index) = self.index.names.get(name).copied().into_iter().chain(builtin).min() else {
            return false;
        };
        let object = &mut self.load.objects[index];
        let is_own = name == object.path || object.facts.soname.as_deref() == Some(name);
        let is_new = (is_own || builtin.is_some()) && self.index.asked.insert(name.to_owned());
        if is_new && !object.names.iter().any(|known| known == name) {
            object.names.push(name.to_owned());
        }
        true
    }

    /// Adds an object to the scope.
    fn admit(&mut self, object: LoadedObject) {
        let number = self.load.objects.len();
        for name in object.names.iter().chain([&object.path]) {
            self.index.add_name(name, number);
        }
        match &object.facts.soname {
            Some(soname) if !self.loader.is_musl() => self.index.add_name(soname, number),
            _ => {}
        }
        if self.loader.is_musl() && object.rule == Rule::Interpreter {
            self.index.musl = Some(number);
        }
        self.index.files.entry(object.identity).or_insert(number);
        self.load.objects.push(object);
    }

    /// Puts the loader itself into the scope.
    fn admit_loader(&mut self, requester: usize) {
        if let Some(loader) = self.waiting.take() {
            self.admit(LoadedObject { loaded_by: Some(requester), ..loader });
        }
    }

    fn push(
        &mut self,
        opened: Opened,
        path: String,
        names: Vec<String>,
        loaded_by: Option<usize>,
        rule: Rule,
    ) {
        if self.waiting.as_ref().is_some_and(|loader| loader.identity == opened.identity) {
            self.admit_loader(loaded_by.unwrap_or(0));
        }
        if let Some(known) = self.index.files.get(&opened.identity).copied() {
            names.iter().for_each(|name| self.index.add_name(name, known));
            self.load.objects[known].names.extend(names);
            return;
        }
        self.admit(LoadedObject {
            origin: directory_of(&path),
            in_scope: opened.is_in_scope(),
            shown: self.search.files().shown(&path),
            path,
            names,
            facts: opened.facts,
            loaded_by,
            rule,
            identity: opened.identity,
        });
    }
}

/// Whether an object that is loaded satisfies a name.
fn goes_by(object: &LoadedObject, name: &str, is_musl: bool) -> bool {
    let has_name = object.names.iter().any(|known| known == name) || object.path == name;
    match is_musl {
        // musl: the C library's names lead to the loader itself, others by the name asked for only.
        true if object.rule == Rule::Interpreter => has_name || is_musl_builtin(name),
        true => has_name,
        false => has_name || object.facts.soname.as_deref() == Some(name),
    }
}

/// The libraries that musl's loader stands for itself (`reserved` in `ldso/dynlink.c`).
fn is_musl_builtin(name: &str) -> bool {
    const RESERVED: [&str; 7] = ["c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];
    name.strip_prefix("lib").is_some_and(|rest| RESERVED.iter().any(|known| rest.starts_with(known)))
}

fn directory_of(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}

/// Opens the file of a loader, whatever kind of object it is.
pub(super) fn open_loader(files: &dyn Files, path: &str, program: &Facts) -> Result<Opened, String> {
    match (Fit { program, kernel: None }).judge(files, path) {
        Verdict::Use(opened) => Ok(opened),
        Verdict::Pass(reason) | Verdict::Stop(reason) => Err(reason),
    }
}
