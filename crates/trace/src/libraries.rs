//! The files that were loaded at run time (shared objects, interpreters and programs), and the search for each.
//!
//! A recording contains file names but not file types, so files are classified by name. A shared object ends with
//! `.so`, or with `.so.` and a version. A shared object whose name does not begin with `lib` is a plugin, as is usual
//! for interpreters and services. Executions are reported by the kernel.

use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use super::asking::{is_library, last_part};
use super::name::Name;
use super::run_set::RunSet;
use super::survey::{Survey, Touched};

/// The role of a loaded file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It was executed.
    Program,
    /// It was executed to load a program: the dynamic loader.
    Interpreter,
    /// A shared object whose name begins with `lib`.
    Library,
    /// Any other shared object.
    Plugin,
}

/// A name that was loaded or searched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// The name that was searched for. If a link leads to the file, this is the name of the link.
    pub name: Name,
    /// The role of the file with this name.
    pub role: Role,
    /// The paths at which it was found, in the order of the first opens. Empty if it was not found.
    pub places: Vec<LoadedFile>,
    /// The number of failed lookups of its name.
    pub misses: u64,
    /// The number of directories with failed lookups.
    #[serde(rename = "folders")]
    pub directories: u64,
    /// The programs that loaded it or searched for it.
    pub programs: Vec<Name>,
    /// The ranks of the processes that did so, in a parallel job.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<u32>,
    /// The number of runs in which it was loaded or, if none loaded it, searched for.
    pub runs: usize,
}

/// A file that was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Place")]
pub struct LoadedFile {
    /// The path of the file.
    pub path: Name,
    /// How often it was opened.
    pub opened: u64,
    /// The first open, in nanoseconds since the start.
    pub first: u64,
    /// The number of runs in which it was opened.
    pub runs: usize,
}

/// The misses of a name.
#[derive(Debug, Default)]
struct NameSearch {
    misses: u64,
    directories: u64,
    by: BTreeSet<usize>,
    ranks: BTreeSet<u32>,
    runs: RunSet,
}

/// A row under construction.
struct LibraryRow {
    name: Name,
    role: Role,
    places: Vec<LoadedFile>,
    /// The runs in which one of the places was opened.
    opened_in: RunSet,
    search: NameSearch,
}

/// Returns all loaded files in the order of the first opens, followed by those that were not found.
pub fn libraries(survey: &Survey) -> Vec<Loaded> {
    let mut searches = searches(survey);
    let mut loaded: Vec<(&Name, &Touched)> =
        survey.paths.iter().filter(|(path, touched)| role(path, touched).is_some()).collect();
    loaded.sort_by_key(|(path, touched)| (touched.order, *path));
    let mut rows: Vec<LibraryRow> = Vec::new();
    let mut by_name: HashMap<Name, usize> = HashMap::new();
    for (path, touched) in loaded {
        let own = Name::from(last_part(&path.0));
        let name = touched.name.clone().unwrap_or_else(|| own.clone());
        let row = *by_name.entry(name.clone()).or_insert_with(|| {
            rows.push(LibraryRow::new(name, role(path, touched).unwrap_or(Role::Library)));
            rows.len() - 1
        });
        let row = &mut rows[row];
        for name in touched.names.iter().chain([&own]) {
            row.add_search(searches.remove(name));
        }
        row.add_place(path, touched);
    }
    let mut vain: Vec<(Name, NameSearch)> =
        searches.into_iter().filter(|(name, _)| is_library(&name.0)).collect();
    vain.sort_by(|(one, _), (other, _)| one.cmp(other));
    rows.extend(vain.into_iter().map(|(name, search)| {
        let role = role_of_library(&name.0);
        LibraryRow { search, ..LibraryRow::new(name, role) }
    }));
    rows.into_iter().map(|row| row.finished(survey)).collect()
}

impl LibraryRow {
    fn new(name: Name, role: Role) -> Self {
        let (places, opened_in, search) = (Vec::new(), RunSet::default(), NameSearch::default());
        Self { name, role, places, opened_in, search }
    }

    fn add_search(&mut self, search: Option<NameSearch>) {
        let Some(search) = search else { return };
        self.search.misses += search.misses;
        self.search.directories += search.directories;
        self.search.by.extend(search.by);
        self.search.ranks.extend(search.ranks);
    }

    fn add_place(&mut self, path: &Name, touched: &Touched) {
        let (opened, first) = (touched.opened, touched.first.unwrap_or(0));
        self.places.push(LoadedFile { path: path.clone(), opened, first, runs: touched.opened_in.len() });
        self.opened_in.extend(&touched.opened_in);
        self.search.by.extend(&touched.by);
        self.search.ranks.extend(&touched.ranks);
    }

    /// For a file that was found, only the runs that opened it count, not those that searched for it.
    fn finished(self, survey: &Survey) -> Loaded {
        let runs = if self.places.is_empty() { &self.search.runs } else { &self.opened_in };
        Loaded {
            runs: runs.len(),
            name: self.name,
            role: self.role,
            places: self.places,
            misses: self.search.misses,
            directories: self.search.directories,
            programs: self.search.by.iter().map(|place| survey.program(*place).path.clone()).collect(),
            ranks: self.search.ranks.into_iter().collect(),
        }
    }
}

/// The failed lookups, by the name that was looked up.
fn searches(survey: &Survey) -> HashMap<Name, NameSearch> {
    let mut searches: HashMap<Name, NameSearch> = HashMap::new();
    for (path, touched) in survey.paths.iter().filter(|(_, touched)| touched.missed > 0) {
        let search = searches.entry(Name::from(last_part(&path.0))).or_default();
        search.misses += touched.missed;
        search.directories += 1;
        search.by.extend(&touched.by);
        search.ranks.extend(&touched.ranks);
        search.runs.extend(&touched.missed_in);
    }
    searches
}

/// Returns the role of an opened file, or `None` if it was not loaded.
fn role(path: &Name, touched: &Touched) -> Option<Role> {
    match (is_library(&path.0), touched.executed > 0) {
        _ if touched.opened == 0 => None,
        (true, true) => Some(Role::Interpreter),
        (false, true) => Some(Role::Program),
        (true, false) => Some(role_of_library(&path.0)),
        (false, false) => None,
    }
}

fn role_of_library(path: &[u8]) -> Role {
    if last_part(path).starts_with(b"lib") { Role::Library } else { Role::Plugin }
}
