//! Libraries of a directory that the search of a file does not reach. Either the program that loads the file
//! has already loaded them (Java's virtual machine), or its caller sets their directories (`LD_LIBRARY_PATH`).
//!
//! This applies only to libraries and to programs that other programs start. A program that users start must
//! find its libraries itself. The same is true for everything in an image, because its start is known.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::loader::{
    Application, Context, Environment, Facts, Load, LoadedObject, Problem, ScopeContext, ScopeFiles,
};

/// Directories for programs that other programs start.
const OF_OTHERS: [&str; 5] = ["lib", "lib32", "lib64", "libx32", "libexec"];

/// The maximum number of rounds: a library found elsewhere may need another one that is elsewhere.
const MOST_ROUNDS: usize = 8;

/// A library in a directory that only its program searches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The requested name.
    pub library: String,
    /// The file in the directory.
    pub path: String,
}

/// The libraries of an application by their names.
pub(super) struct Libraries<'a> {
    application: &'a Application,
    by_name: HashMap<&'a str, Vec<(&'a str, &'a Arc<Facts>)>>,
    for_people: OnceCell<ForPeople>,
}

impl<'a> Libraries<'a> {
    pub(super) fn of(application: &'a Application) -> Self {
        let mut by_name: HashMap<&str, Vec<_>> = HashMap::new();
        for (path, facts) in application.objects.iter().filter(|(_, facts)| !facts.is_program()) {
            // The search uses the names of files.
            let name = path.rsplit('/').next().unwrap_or_default();
            by_name.entry(name).or_default().push((path.as_str(), facts));
        }
        Self { application, by_name, for_people: OnceCell::new() }
    }

    /// Starts a subject again with the directories of its missing libraries, until no more are found.
    pub(super) fn find(
        &self,
        subject: &str,
        first: Load,
        context: ScopeContext<'_>,
        start: impl Fn(&Environment) -> Load,
    ) -> Load {
        let Context { files, environment } = context;
        if missing_names(&first).next().is_none() || !self.is_for_others(subject, &first, files) {
            return first;
        }
        let (mut again, mut found): (Option<Load>, _) = (None, BTreeMap::new());
        for _ in 0..MOST_ROUNDS {
            let before = found.len();
            found.extend(self.missing(again.as_ref().unwrap_or(&first)));
            if found.len() == before {
                break;
            }
            let directory =
                |path: &&str| files.path_of(path.rsplit_once('/').map_or("", |(directory, _)| directory));
            // In the order of the missing libraries, so that the names of directories decide nothing.
            let mut list: Vec<String> = Vec::new();
            for directory in found.values().map(directory) {
                if !list.contains(&directory) {
                    list.push(directory);
                }
            }
            list.extend(environment.library_path.clone());
            let load = start(&Environment { library_path: Some(list.join(":")), ..environment.clone() });
            again = Some(with_problems_of(&first, load));
        }
        let mut load = again.unwrap_or(first);
        let is_found = |library: &str| !missing_names(&load).any(|name| name == library);
        let found = found.into_iter().filter(|(library, _)| is_found(library));
        let elsewhere: Vec<Elsewhere> =
            found.map(|(library, path)| Elsewhere { library, path: path.to_owned() }).collect();
        load.elsewhere = elsewhere;
        load
    }

    /// Returns whether another program loads or starts a subject.
    fn is_for_others(&self, subject: &str, load: &Load, files: &ScopeFiles<'_>) -> bool {
        if self.application.is_image {
            return false;
        }
        let is_library = load.objects.first().is_some_and(|object| !object.facts.is_program());
        let for_people = || self.for_people.get_or_init(|| ForPeople::of(self.application, files));
        is_library || (leads_through_others(subject) && !for_people().has(subject))
    }

    /// Returns the missing libraries that the application contains for this machine. If several files match,
    /// none is used, because the right one is unknown.
    fn missing(&self, load: &Load) -> Vec<(String, &'a str)> {
        let Some(first) = load.objects.first() else { return Vec::new() };
        let fits = |facts: &Facts| (facts.machine, facts.class) == (first.facts.machine, first.facts.class);
        let of = |name: &str| {
            let mut files = self.by_name.get(name)?.iter().filter(|(_, facts)| fits(facts));
            files.next().filter(|_| files.next().is_none()).map(|(path, _)| *path)
        };
        missing_names(load).filter_map(|name| Some((name.to_owned(), of(name)?))).collect()
    }
}

fn missing_names(load: &Load) -> impl Iterator<Item = &str> {
    load.problems.iter().filter_map(|problem| match problem {
        Problem::LibraryMissing { library, .. } => Some(library.as_str()),
        _ => None,
    })
}

/// The targets of the links with which users start programs, as paths of the scope.
#[derive(Default)]
struct ForPeople {
    files: HashSet<String>,
    directories: HashSet<String>,
}

impl ForPeople {
    fn of(application: &Application, files: &ScopeFiles<'_>) -> Self {
        let led = application.links.keys().filter_map(|path| Some((path.as_str(), files.inside(path)?)));
        let mut left: Vec<(&str, String)> = led.collect();
        let mut found = Self::default();
        // A link may be in a directory that only another link makes reachable for users.
        for _ in 0..MOST_ROUNDS {
            let (outside, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(path, _)| found.has(path));
            left = others;
            if outside.is_empty() {
                break;
            }
            for (path, target) in outside {
                let name = path.rsplit('/').next().unwrap_or_default();
                if !OF_OTHERS.contains(&name) {
                    found.directories.insert(target.clone());
                }
                found.files.insert(target);
            }
        }
        found
    }

    /// Returns whether users start the program at a path: the path, or a way to it through links, avoids the
    /// directories of programs that others start.
    fn has(&self, path: &str) -> bool {
        let mut ends = path.match_indices('/').map(|(at, _)| path.split_at(at));
        self.files.contains(path)
            || !leads_through_others(path)
            || ends.any(|(above, rest)| self.directories.contains(above) && !leads_through_others(rest))
    }
}

/// Combines a second start with the problems of the first that remain, and adds the new problems of the
/// libraries that were found. Other libraries of the same directories may replace libraries of the first start:
/// those neither solve nor add problems.
fn with_problems_of(first: &Load, mut again: Load) -> Load {
    let is_end = |problem: &Problem| matches!(problem, Problem::EffortExceeded { .. });
    if again.problems.iter().any(is_end) {
        return again;
    }
    let news = news(first, &again);
    let lacks: HashSet<&str> = missing_names(&again).collect();
    let found: HashSet<&str> = missing_names(first).filter(|name| !lacks.contains(name)).collect();
    let own: HashSet<&Problem> = again.problems.iter().collect();
    let stays = |problem: &&Problem| match problem {
        Problem::LibraryMissing { library, .. } => !found.contains(library.as_str()),
        Problem::DlopenMissing { need, .. } => !need.sonames.iter().any(|name| found.contains(name.as_str())),
        // A library that was found may load the missing one, and the object may then load.
        Problem::VersionedLibraryNotLoaded { .. } | Problem::OtherLibc { .. } => own.contains(problem),
        _ => true,
    };
    again.problems = first.problems.iter().filter(stays).chain(news).cloned().collect();
    again
}

/// Returns the problems that only the second start has.
fn news<'a>(first: &'a Load, again: &'a Load) -> Vec<&'a Problem> {
    let known: HashSet<&Problem> = first.problems.iter().collect();
    let wanting: HashSet<&str> = first.problems.iter().filter_map(Problem::library).collect();
    let before: HashSet<&str> = first.objects.iter().map(|object| object.shown.as_str()).collect();
    let names: HashSet<&str> =
        first.objects.iter().flat_map(|object| &object.names).map(String::as_str).collect();
    let takes_a_place = |object: &&LoadedObject| {
        !before.contains(object.shown.as_str())
            && object.names.iter().any(|name| names.contains(name.as_str()))
    };
    let others: HashSet<&str> =
        again.objects.iter().filter(takes_a_place).map(|object| object.shown.as_str()).collect();
    let is_new = |problem: &&Problem| {
        let about = [problem.file(), problem.object()];
        let is_searched_again = matches!(problem, Problem::DlopenMissing { wanted_by, .. }
            if before.contains(wanted_by.as_str()));
        !known.contains(problem)
            && !is_searched_again
            && problem.library().is_none_or(|library| !wanting.contains(library))
            && !about.into_iter().flatten().any(|path| others.contains(path))
    };
    again.problems.iter().filter(is_new).collect()
}

/// Returns whether a path contains a directory for programs that others start.
fn leads_through_others(path: &str) -> bool {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    directory.split('/').any(|name| OF_OTHERS.contains(&name))
}
