//! Objects in a scope -> specification.
//!
//! The scope is what the application brings along: the files that were named, or everything in a
//! folder. What the scope satisfies for itself is not asked of the host; the rest is what the
//! specification wants. Objects are read, never executed.

mod closure;
mod location;
mod object;
mod scope;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use crate::loader::{Environment, HostFiles};
use crate::spec::{Specification, attribute};

pub use scope::Error;

/// What to derive a specification from.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Programs, libraries, scripts, or folders.
    pub paths: Vec<PathBuf>,
    /// Free attributes.
    pub attributes: BTreeMap<String, String>,
    /// Directories that the application's start puts into `LD_LIBRARY_PATH`.
    pub library_path: Vec<String>,
}

/// A specification and what was noticed on the way.
#[derive(Debug)]
pub struct Generated {
    /// The specification.
    pub specification: Specification,
    /// What the user should know: needed libraries that are not here, files that were passed over.
    pub notes: Vec<String>,
}

/// Derives the specification of what `options` names, as found on the host that `files` and
/// `environment` describe.
///
/// # Errors
///
/// Where a named file does not exist, cannot be read, or is neither an ELF object nor a script, or a
/// folder holds nothing of the kind.
pub fn generate(options: &Options, files: &HostFiles, environment: &Environment) -> Result<Generated, Error> {
    let scope = scope::read(&options.paths)?;
    let mut specification = Specification::new();
    specification.objects = scope.members.iter().map(object::specify).collect();
    specification.scripts.clone_from(&scope.scripts);
    specification.links.clone_from(&scope.links);
    specification.library_path.clone_from(&options.library_path);
    specification.location = location::where_it_matters(&scope);
    specification.subjects.clone_from(&scope.subjects);

    let closure = closure::find(&scope, &mut specification, files, environment);
    object::keep_referenced_definitions(&mut specification.objects, &closure.referenced);
    specification.closure = closure.entries;
    specification.attributes = attributes(options, &scope, &closure.names);
    let mut notes = scope.notes;
    notes.extend(closure.notes);
    Ok(Generated { specification, notes })
}

/// The user's attributes and those of compat-lib: the executable's name, and every library of the
/// closure by soname, in the order in which the loader maps them.
fn attributes(options: &Options, scope: &scope::Scope, names: &[String]) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    if let Some(name) = scope.executable_name() {
        attributes.insert(attribute::EXECUTABLE_NAME.to_owned(), name.to_owned());
    }
    let mut seen = HashSet::new();
    let distinct = names.iter().filter(|name| seen.insert(name.as_str()));
    for (number, name) in distinct.enumerate() {
        attributes.insert(format!("{}{number}", attribute::LIBRARY_NAME_PREFIX), name.clone());
    }
    attributes.extend(options.attributes.clone());
    attributes
}
