//! Objects in a scope -> specification.
//!
//! The scope contains the files of the application: the named files, or all files of a directory. The
//! specification requires from the host only libraries that the scope lacks. Objects are read, never executed.

mod alternative;
mod closure;
mod location;
mod member;
pub mod object;
mod profile;
pub mod recorded;
mod scope;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::host::Starter;
use crate::loader::{Application, Context};
use crate::spec::{Detail, Specification, Symbols, attribute};
use compat_sys::raw;
use compat_trace::Runs;

pub use profile::{ProfileOptions, profile};
pub use scope::Error;

/// The input of a derivation.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Programs, libraries, scripts, or directories.
    pub paths: Vec<PathBuf>,
    /// The user's attributes.
    pub attributes: BTreeMap<String, String>,
    /// The directories in `LD_LIBRARY_PATH` when the application starts.
    pub library_path: Vec<String>,
    /// Whether versions and symbols are left out.
    pub names_only: bool,
    /// The directory of the root file system that contains the paths, without links. The application has its path
    /// inside that root.
    pub root: Option<PathBuf>,
    /// Whether this process starts the programs, on this machine. If not, a user other than their owners starts
    /// them.
    pub started_here: bool,
    /// Recorded runs. Their libraries are added. Without paths, the recorded programs are the subjects.
    pub runs: Option<Runs>,
}

/// An application as read from its files.
#[derive(Debug)]
pub struct Read {
    /// The application.
    pub application: Application,
    /// Notes about files that were skipped.
    pub notes: Vec<String>,
    executable_name: Option<String>,
    /// The directory of the scope.
    directory: PathBuf,
    root: Option<PathBuf>,
}

impl Read {
    /// Records the location of the application even if no file in it depends on the location, because the
    /// environment can depend on it.
    pub fn settle(&mut self) {
        let place = place_inside(&self.directory, self.root.as_deref());
        self.application.location.get_or_insert(place);
    }
}

/// Returns a directory as a path inside the root file system that contains it.
fn place_inside(directory: &Path, root: Option<&Path>) -> String {
    let inside = root.and_then(|root| directory.strip_prefix(root).ok());
    let place = inside.map_or_else(|| directory.to_owned(), |inside| Path::new("/").join(inside));
    raw::of_path(place)
}

/// A specification and the notes about it.
#[derive(Debug)]
pub struct Generated {
    /// The specification.
    pub specification: Specification,
    /// Notes for the user: missing libraries and skipped files.
    pub notes: Vec<String>,
}

/// Reads the application that `options` names: its files, and the subjects among them.
///
/// # Errors
///
/// If a named file does not exist, cannot be read, or is neither an ELF object nor a script, or if a directory
/// contains neither.
pub fn read(options: &Options) -> Result<Read, Error> {
    let starter = options.started_here.then(Starter::of_this_process);
    let mut scope = match &options.runs {
        Some(runs) if options.paths.is_empty() => scope::read_executed(runs)?,
        _ => scope::read(&options.paths, options.root.as_deref(), starter)?,
    };
    scope.application.library_path.clone_from(&options.library_path);
    let root = options.root.clone();
    if location::does_matter(&scope) {
        scope.application.location = Some(place_inside(&scope.directory, root.as_deref()));
    }
    let executable_name = scope.executable_name().map(str::to_owned);
    let (application, notes, directory) = (scope.application, scope.notes, scope.directory);
    Ok(Read { application, notes, executable_name, directory, root })
}

/// Derives the specification of the application that `options` names, with the host of a context.
///
/// # Errors
///
/// As [`read`].
pub fn generate(options: &Options, host: Context<'_>) -> Result<Generated, Error> {
    let mut read = read(options)?;
    let mut closure = closure::find(&mut read.application, host);
    let application = &read.application;
    let find = |runs| recorded::find_bare(runs, application, &read.directory, host);
    let found = options.runs.as_ref().map(find).unwrap_or_default();
    closure.referenced.extend(found.referenced());
    read.notes.extend(closure.notes);
    read.notes.extend(found.notes(options.runs.as_ref()));
    let mut specification = Specification::new();
    let objects = application.objects.iter();
    specification.objects = objects.map(|(path, facts)| object::specify(path, facts)).collect();
    let facts_of = |path: &str| application.object(path).map(|facts| &**facts);
    closure.referenced.extend(object::add_own_of_indirect(&mut specification.objects, facts_of));
    // On another host, a recorded library can refer to other symbols of the program that loads it.
    if !found.has_outside() {
        object::keep_referenced_definitions(&mut specification.objects, &closure.referenced);
    }
    specification.scripts.clone_from(&application.scripts);
    specification.links.clone_from(&application.links);
    specification.unusable.clone_from(&application.unusable);
    specification.library_path.clone_from(&application.library_path);
    specification.location.clone_from(&application.location);
    specification.subjects.clone_from(&application.subjects);
    specification.alternatives.clone_from(&application.alternatives);
    specification.attributes = attributes(&options.attributes, read.executable_name, &closure.names);
    specification.closure = closure.entries;
    specification.recorded = options.runs.as_ref().map(|_| found.recorded);
    if options.names_only {
        leave_names(&mut specification);
    }
    Ok(Generated { specification, notes: read.notes })
}

/// Removes versions and symbols.
pub fn leave_names(specification: &mut Specification) {
    specification.detail = Some(Detail::Names);
    for object in &mut specification.objects {
        object.wants.clear();
        object.unversioned = Symbols::default();
        object.own = Symbols::default();
        object.provides = None;
    }
}

/// Returns the user's attributes and those of compat-lib: the executable's name, and every library of the closure
/// by soname, in load order.
pub fn attributes(
    own: &BTreeMap<String, String>,
    executable: Option<String>,
    names: &[String],
) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    if let Some(name) = executable {
        attributes.insert(attribute::EXECUTABLE_NAME.to_owned(), name);
    }
    let mut seen = HashSet::new();
    let distinct = names.iter().filter(|name| seen.insert(name.as_str()));
    for (number, name) in distinct.enumerate() {
        attributes.insert(format!("{}{number}", attribute::LIBRARY_NAME_PREFIX), name.clone());
    }
    attributes.extend(own.clone());
    attributes
}
